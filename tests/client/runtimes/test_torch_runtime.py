"""The torch runtime against the graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.client.graphs import ITEMS, linear_bundle, linear_rows, ranking_bundle
from torch import nn

from tegu.client import OnnxRuntime, Personalizer
from tegu.client.runtimes.torch_runtime import TorchRuntime
from tegu.core.data.batch import Batch, full_batch
from tegu.core.data.confidence import confidence
from tegu.core.errors import RuntimeFailure, UnknownNameError

BUNDLE = linear_bundle()
X, Y = linear_rows(6)
SUPPORT = full_batch(X, Y)
KNOBS = {"steps": 5.0, "lr": 0.1}


class _Scores(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Parameter(torch.zeros(ITEMS, 4))
        self.user = nn.Parameter(torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.items[x] @ self.user


def _runtime(**options: Any) -> TorchRuntime:
    return TorchRuntime(nn.Linear(3, 1), BUNDLE.manifest, **options)


def _same(a: Any, b: Any) -> None:
    assert sorted(a) == sorted(b)
    for name in a:
        assert a[name].dtype == b[name].dtype == np.float32
        np.testing.assert_allclose(a[name], b[name], atol=1e-5)


@pytest.mark.parametrize("steps", [0, 1, 25])
def test_sgd_agrees_with_the_graphs(steps: int) -> None:
    torch_runtime, onnx_runtime = _runtime(), OnnxRuntime(BUNDLE.graphs)
    padded = Batch(np.concatenate([X, X + 9]), np.concatenate([Y, Y - 9]), np.repeat([1, 0], 6).astype(np.float32))
    for support in (SUPPORT, padded):
        states = [r.adapt(BUNDLE.meta, support, {**KNOBS, "steps": steps}) for r in (torch_runtime, onnx_runtime)]
        _same(*states)
        outputs = [r.predict(BUNDLE.meta, states[0], X) for r in (torch_runtime, onnx_runtime)]
        np.testing.assert_allclose(*outputs, atol=1e-5)


def test_ranking_agrees_with_the_graphs_and_leaves_the_rest_as_it_was() -> None:
    bundle = ranking_bundle()
    runtime = TorchRuntime(_Scores(), bundle.manifest)
    items, weights = np.array([1, 4, 4]), np.array([1, 2, 0.5], np.float32)
    given = (runtime, weights), (OnnxRuntime(bundle.graphs), confidence(weights))  # this graph knows no confidence
    states = [r.adapt(bundle.meta, full_batch(items, each), {"steps": 10, "lr": 0.5}) for r, each in given]
    _same(*states)
    assert list(states[0]) == ["user"]
    assert runtime.predict(bundle.meta, states[0], np.arange(ITEMS)).shape == (ITEMS,)


def test_a_personalizer_runs_on_it() -> None:
    with Personalizer.open(BUNDLE, runtime=_runtime()) as p, Personalizer.open(BUNDLE) as q:
        for one in (p, q):
            one.observe(X, Y)
            one.adapt()
        np.testing.assert_allclose(p.predict(X), q.predict(X), atol=1e-5)
        p.upgrade(linear_bundle(1))


def test_prior_shortens_the_steps_as_the_learners_do() -> None:
    shortened = _runtime().adapt(BUNDLE.meta, SUPPORT, {**KNOBS, "prior": 18.0})
    _same(shortened, _runtime().adapt(BUNDLE.meta, SUPPORT, {**KNOBS, "lr": 0.1 * 6 / 24}))


@pytest.mark.parametrize(("optimiser", "options"), [("Adam", {}), ("SGD", {"momentum": 0.9}), ("lamb", {})])
def test_any_optimiser_will_do(optimiser: str, options: dict[str, float]) -> None:
    runtime = _runtime(optimiser=optimiser, options=options)
    knobs = {"steps": 100, "lr": 0.05}
    state = runtime.adapt(BUNDLE.meta, SUPPORT, knobs)
    errors = [np.abs(runtime.predict(BUNDLE.meta, s, X) - Y).mean() for s in (BUNDLE.meta, state)]
    assert errors[1] < 0.5 * errors[0]
    again = runtime.adapt(BUNDLE.meta, SUPPORT, knobs)
    for name in state:
        np.testing.assert_array_equal(state[name], again[name])


def test_nothing_that_is_passed_in_changes() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 1)).train()
    bundle = replace(
        BUNDLE,
        manifest=replace(BUNDLE.manifest, adapted_parameters=("1.bias",)),
        meta={f"1.{name}": value for name, value in BUNDLE.meta.items()},
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    meta = {name: value.copy() for name, value in bundle.meta.items()}
    for value in bundle.meta.values():
        value.flags.writeable = False
    runtime = TorchRuntime(model, bundle.manifest)
    first, second = (runtime.adapt(bundle.meta, SUPPORT, KNOBS) for _ in range(2))
    assert list(first) == ["1.bias"]
    np.testing.assert_array_equal(first["1.bias"], second["1.bias"])
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for name, value in meta.items():
        np.testing.assert_array_equal(bundle.meta[name], value)


def _reshaped() -> dict[str, np.ndarray]:
    return {**BUNDLE.meta, "weight": np.zeros((1, 4), np.float32)}


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (_reshaped(), r"'weight' is of shape \[1, 3\] in the module and of shape \[1, 4\]"),
        ({"weight": BUNDLE.meta["weight"]}, "'bias' is of shape .* in the module and absent in the bundle"),
        ({**BUNDLE.meta, "another": np.zeros(1)}, "'another' is absent in the module"),
    ],
)
def test_a_module_of_another_model_is_refused(meta: Any, message: str) -> None:
    with pytest.raises(RuntimeFailure, match=message):
        _runtime().adapt(meta, SUPPORT, KNOBS)
    with pytest.raises(RuntimeFailure, match=message):
        _runtime().predict(meta, {}, X)


def test_fast_parameters_must_be_in_the_module() -> None:
    with pytest.raises(RuntimeFailure, match="the bundle adapts 'head'"):
        TorchRuntime(nn.Linear(3, 1), replace(BUNDLE.manifest, adapted_parameters=("bias", "head")))


@pytest.mark.parametrize("device", ["cuda", "mps", "abacus"])
def test_a_device_that_is_not_there(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(RuntimeFailure, match=f"'{device}' is not available: use one of cpu"):
        _runtime(device=device)


@pytest.mark.parametrize("options", [{"momentun": 0.9}, {"momentum": -1}])
def test_options_that_do_not_suit_the_optimiser(options: dict[str, float]) -> None:
    with pytest.raises(RuntimeFailure, match="SGD refuses the options"):
        _runtime(options=options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: _runtime(optimiser="SDG"), UnknownNameError, "Did you mean 'SGD'"),
        (lambda: _runtime(loss="huber"), UnknownNameError, "no loss is called 'huber'"),
        (lambda: _runtime().adapt(BUNDLE.meta, SUPPORT, {"steps": 1}), RuntimeFailure, r"knobs \['lr'\] are missing"),
        (lambda: _runtime().predict(BUNDLE.meta, {}, X[:, :2]), RuntimeFailure, "torch cannot predict"),
    ],
)
def test_other_mistakes(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
