"""T-Net and MT-Net against layers written out in plain torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.learners.algorithms.plain_networks import (
    KINDS,
    LOSSES,
    assert_sums,
    network,
    plain,
    rows_of,
    slopes,
    variables,
)
from tests.learners.toys import NO_NOISE, assert_trees_close
from torch import nn

from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.learners import t_net

STEPS, LR = 3, 0.3


def transformed(tree, x):
    """T (W x + b) layer by layer."""
    hidden = torch.tanh((x @ tree["0.weight"].T + tree["0.bias"]) @ tree["0.weight/transform"].T)
    return (hidden @ tree["2.weight"].T + tree["2.bias"]) @ tree["2.weight/transform"].T


def masks(meta, noise):
    """The share of each unit's gradient that is used, by name of the parameter."""
    uniform = torch.distributions.Normal(0, 1).cdf(noise)
    logistic = torch.log(uniform) - torch.log1p(-uniform)
    first, second = (
        torch.sigmoid(meta[f"{n}.weight/zeta"] + part) for n, part in ((0, logistic[:5]), (2, logistic[5:]))
    )
    return {"0.weight": first[:, None], "0.bias": first, "2.weight": second[:, None], "2.bias": second}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", [False, True], ids=["t-net", "mt-net"])
def test_transforms_are_learned_and_the_rest_adapts(kind, mask):
    learner = t_net(network(), KINDS[kind], steps=STEPS, lr=LR, mask=mask)
    assert learner.noise == (8 if mask else 0)
    noise = torch.randn(learner.noise, generator=torch.Generator().manual_seed(4))
    meta, support, query = variables(learner), rows_of(kind, 5, 1), rows_of(kind, 4, 2)
    used = masks(meta, noise) if mask else dict.fromkeys(learner.adapted_parameters, 1)
    tree = dict(meta)
    for _ in range(STEPS):
        gradient = slopes(LOSSES[kind](transformed(tree, support.x), support.y), tree, learner.adapted_parameters)
        tree |= {name: tree[name] - LR * used[name] * gradient[name] for name in gradient}
    expected = slopes(LOSSES[kind](transformed(tree, query.x), query.y), meta, list(meta))
    assert all(value.abs().max() > 1e-4 for value in expected.values()), "everything must be learned"
    assert_trees_close(learner.update(plain(meta), support, query, noise), expected)
    state = learner.adapt(plain(meta), support, learner.knobs, noise)
    assert_trees_close(state, {name: tree[name].detach() for name in learner.adapted_parameters})
    torch.testing.assert_close(learner.predict(plain(meta), state, query.x), transformed(plain(tree), query.x))


@pytest.mark.parametrize("mask", [False, True], ids=["t-net", "mt-net"])
def test_the_update_of_many_users_is_the_sum(mask):
    learner = t_net(network(), KINDS["classification"], lr=LR, mask=mask)
    assert_sums(learner, plain(variables(learner)), "classification")


def test_the_transform_of_a_convolution_is_a_convolution_of_size_1():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 2))
    learner = t_net(model, Spec.classification((2, 4, 4), 2), adapted_parameters=["0"])
    assert sorted(set(learner.init(0)) - {name for name, _ in model.named_parameters()}) == ["0.weight/transform"]
    meta = plain(variables(learner))
    state = {name: meta[name] for name in learner.adapted_parameters}
    x = torch.randn(5, 2, 4, 4)
    hidden = F.conv2d(x, meta["0.weight"], meta["0.bias"], padding=1)
    mixed = F.conv2d(hidden, meta["0.weight/transform"][:, :, None, None])
    expected = torch.relu(mixed).flatten(1) @ meta["3.weight"].T + meta["3.bias"]
    torch.testing.assert_close(learner.predict(meta, state, x), expected)


def test_it_starts_as_the_module_itself():
    model = network()
    learner = t_net(model, KINDS["classification"])
    batch = rows_of("classification", 5, 1)
    meta = {name: torch.from_numpy(value) for name, value in learner.init(0).items()}
    state = learner.adapt(meta, batch, learner.unadapted, NO_NOISE)
    torch.testing.assert_close(learner.predict(meta, state, batch.x), model(batch.x))


def test_a_module_without_a_layer_to_transform_is_refused():
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4, 3))

        def forward(self, x):
            return x @ self.scale

    with pytest.raises(DataError, match=r"nothing to transform.*meta_sgd"):
        t_net(Scale(), KINDS["classification"])
