"""Running statistics estimated again, compared with torch's own BatchNorm in training mode."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import pytest
import torch
from tests.learners.toys import NO_NOISE, SPEC, meta_of, rows
from torch import Tensor, nn

from tegu.compile import compile_learner
from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.learners.algorithms.running_statistics import running_statistics, with_running_statistics
from tegu.learners.learner import Learner, TorchBatch

PICTURES = Spec.classification((2, 4, 4), 3)


def vectors() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3), nn.BatchNorm1d(3))


def pictures() -> nn.Module:
    body = [nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, affine=False), nn.ReLU(), nn.Conv2d(4, 4, 2), nn.BatchNorm2d(4)]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(4, 3))


def trained_on(learner: Learner, users: list[TorchBatch], rounds: int) -> dict[str, np.ndarray]:
    """SGD with step size 1 on the mean of the users' updates; each user's rows are cut in support and query."""
    meta = meta_of(learner)
    for _ in range(rounds):
        updates = [
            learner.update(meta, Batch(*(part[:3] for part in user)), Batch(*(part[3:] for part in user)), NO_NOISE)
            for user in users
        ]
        meta |= {name: meta[name] - sum(each[name] for each in updates) / len(users) for name in updates[0]}
    return {name: value.detach().numpy() for name, value in meta.items()}


def torch_statistics(model: nn.Module, x: Tensor) -> nn.Module:
    """The model after one pass over all rows in training mode, with variances not corrected for the number of rows."""
    own = copy.deepcopy(model)
    norms = [module for module in own.modules() if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))]
    counts: list[int] = []
    for norm in norms:
        norm.momentum = 1.0
        norm.register_forward_pre_hook(lambda module, inputs: counts.append(inputs[0].numel() // module.num_features))
    own.train()(x)
    for norm, count in zip(norms, counts, strict=True):
        assert norm.running_var is not None
        norm.running_var *= (count - 1) / count
    return own.eval()


@pytest.mark.parametrize(("build", "spec"), [(vectors, SPEC), (pictures, PICTURES)])
def test_two_rounds_a_layer_give_the_statistics_that_torch_finds(build: Callable[[], nn.Module], spec: Spec) -> None:
    torch.manual_seed(0)
    model = build()
    x = 3 + 2 * torch.randn(40, *spec.x.shape)
    users = [Batch(part, torch.zeros(8, dtype=torch.int64), torch.ones(8)) for part in x.split(8)]
    learner = running_statistics(model, spec)
    assert learner.recommended is not None
    assert learner.recommended.rounds == 4
    found = with_running_statistics(model, trained_on(learner, users, 4)).eval()
    expected = torch_statistics(model, x)
    for (name, own), other in zip(found.named_buffers(), expected.buffers(), strict=True):
        if "running" in name:
            assert torch.allclose(own, other, rtol=1e-4, atol=1e-5), name
    assert torch.allclose(found(x), expected(x), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(found(x), model.eval()(x), rtol=1e-1, atol=1e-1)


def test_padding_does_not_count_and_weights_stay_as_given() -> None:
    torch.manual_seed(0)
    model = vectors()
    learner = running_statistics(model, SPEC)
    padded, own = rows(6, padding=3), rows(6)
    meta = meta_of(learner)
    with_padding, without = (learner.update(meta, each, rows(0), NO_NOISE) for each in (padded, own))
    assert set(without) == {f"{layer}.{name}" for layer in (1, 4) for name in ("running_mean", "running_var")}
    assert all(torch.allclose(with_padding[name], without[name], atol=1e-6) for name in without)
    assert set(learner.fixed_parameters) == {name for name, _ in model.named_parameters()}


def test_a_device_computes_the_same_update_by_a_graph() -> None:
    torch.manual_seed(0)
    learner = running_statistics(pictures(), PICTURES)
    session = ort.InferenceSession(compile_learner(learner)["update"], providers=["CPUExecutionProvider"])
    x = torch.randn(7, *PICTURES.x.shape)
    batch = Batch(x, torch.zeros(7, dtype=torch.int64), torch.ones(7))
    support, query = (Batch(*(part[where] for part in batch)) for where in (slice(4), slice(4, None)))
    meta = meta_of(learner)
    values = {f"meta.{name}": value.numpy() for name, value in meta.items()}
    for prefix, part in (("support", support), ("query", query)):
        values |= {f"{prefix}.{name}": value.numpy() for name, value in part._asdict().items()}
    named = {each.name: values[each.name] for each in session.get_inputs()}
    outputs = dict(zip([each.name for each in session.get_outputs()], session.run(None, named), strict=True))
    for name, value in learner.update(meta, support, query, NO_NOISE).items():
        assert np.allclose(outputs[f"update.{name}"], value, atol=1e-5)


def test_a_module_without_such_layers_is_refused() -> None:
    with pytest.raises(DataError, match="Sequential has no BatchNorm layer with running statistics"):
        running_statistics(nn.Sequential(nn.Linear(4, 3)), SPEC)
    with pytest.raises(DataError, match=r"have no '1\.running_mean'"):
        with_running_statistics(vectors(), {})
