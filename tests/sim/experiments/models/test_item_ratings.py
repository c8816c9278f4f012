"""The model follows its formula, and the inputs of its last layer give the documented kernel."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from tegu.core.data.spec import Spec
from tegu.learners.algorithms.reptile import reptile
from tegu.sim.experiments.models.item_ratings import ItemRatings


def test_the_model_follows_its_formula() -> None:
    model = ItemRatings(6, 3, level=3.5, bias=0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    items = torch.tensor([4, 0, 4, 5])
    effect, features = model.effect.weight.detach().numpy(), model.features.weight.detach().numpy()
    taste, offset = model.taste.weight.detach().numpy()[0], model.taste.bias.item()
    expected = [[3.5 + effect[i, 0] + 0.5 * taste[0] + features[i] @ taste[1:] + offset] for i in items.tolist()]
    np.testing.assert_allclose(model(items).detach().numpy(), np.asarray(expected), atol=1e-5)


def test_the_last_layer_reads_the_bias_and_the_features() -> None:
    model = ItemRatings(6, 3, level=3.5, bias=0.5)
    seen: list[torch.Tensor] = []
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    last.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    items = torch.tensor([1, 5])
    model(items)
    features = model.features.weight[items]
    assert torch.allclose(seen[0] @ seen[0].T, 0.25 + features @ features.T)


def test_items_have_the_features_of_their_kinds_too() -> None:
    kinds = np.asarray([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    model = ItemRatings(3, 4, level=3.5, bias=0.5, known=kinds)
    with torch.no_grad():
        model.taste.weight.normal_()
    with_kinds = model(torch.arange(3)).detach().numpy()
    own, of_kinds, taste = (
        each.detach().numpy() for each in (model.features.weight, model.of_kinds, model.taste.weight[0])
    )
    expected = 3.5 + 0.5 * taste[0] + (own + kinds @ of_kinds) @ taste[1:]
    np.testing.assert_allclose(with_kinds[:, 0], expected, atol=1e-5)
    assert np.abs(kinds @ of_kinds).max() > 0.05


def test_every_user_starts_at_the_level() -> None:
    model = ItemRatings(6, 3, level=3.0, bias=0.5)
    learner = reptile(model, Spec.regression((), items=6), adapted_parameters=["taste.weight"], init="fresh")
    meta = {name: torch.as_tensor(value) for name, value in learner.init(1).items()}
    assert meta["features.weight"].std() > 0
    assert torch.equal(
        learner.predict(meta, {"taste.weight": meta["taste.weight"]}, torch.arange(6)), torch.full((6, 1), 3.0)
    )
