"""Learners' own functions in torch, against the bundle's graphs and against numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tegu.client import OnnxRuntime, Personalizer
from tegu.client.runtimes.torch_runtime import TorchRuntime
from tegu.compile import make_bundle
from tegu.core.bundle.file import Bundle
from tegu.core.data.batch import full_batch
from tegu.core.data.scaling import Scaling
from tegu.core.data.spec import Spec
from tegu.core.errors import RuntimeFailure
from tegu.learners import Learner, reptile, residual_correction
from tegu.learners.modules.standardised import Standardised

SPEC = Spec.regression((3,))
RNG = np.random.default_rng(0)
X = RNG.normal(5, 2, size=(9, 3)).astype(np.float32)
Y = (X @ [[1.0], [-2.0], [0.5]] * 10 + 100).astype(np.float32)
SCALED = (Scaling(np.full(3, 5, np.float32), np.full(3, 2, np.float32)), Scaling(np.float32([90]), np.float32([40])))


def _module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1))


@pytest.fixture(scope="module")
def standardised() -> tuple[Learner, Bundle]:
    """As the default of `simulate` makes it."""
    learner = residual_correction(Standardised(_module(), *SCALED), SPEC)
    return learner, make_bundle(learner, learner.init(0))


def _outputs(bundle: Bundle, runtime: TorchRuntime | None) -> tuple[np.ndarray, np.ndarray]:
    with Personalizer.open(bundle, runtime=runtime) as p:
        before = p.predict(X)
        p.observe(X[:6], Y[:6])
        p.adapt()
        return before, p.predict(X)


@pytest.mark.parametrize("as_module", [False, True])
def test_the_default_of_simulate_runs_in_torch_as_in_its_graphs(
    standardised: tuple[Learner, Bundle], as_module: bool
) -> None:
    learner, bundle = standardised
    runtime = TorchRuntime(Standardised(_module(), *SCALED) if as_module else learner, bundle.manifest)
    found, expected = _outputs(bundle, runtime), _outputs(bundle, None)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)
    assert np.abs(expected[1] - expected[0]).max() > 1  # adapting does something


def test_a_state_of_the_graphs_is_read_in_torch_and_the_other_way(standardised: tuple[Learner, Bundle]) -> None:
    learner, bundle = standardised
    runtimes = (TorchRuntime(learner, bundle.manifest), OnnxRuntime(bundle.graphs))
    states = [each.adapt(bundle.meta, full_batch(X, Y), bundle.manifest.knobs) for each in runtimes]
    outputs = [each.predict(bundle.meta, state, X) for each in runtimes for state in states]
    for output in outputs[1:]:
        np.testing.assert_allclose(output, outputs[0], rtol=1e-4, atol=1e-3)


def test_unnormalised_features_are_ridge_regression_on_the_last_layer() -> None:
    learner = residual_correction(_module(), SPEC, normalise_features=False)
    bundle = make_bundle(learner, learner.init(0), dict.fromkeys(("adapt", "predict", "update"), b"unused"))
    knobs = {**bundle.manifest.knobs, "mix": 1.0, "ridge": 0.3, "weight": 1.0}
    module = _module()
    with torch.no_grad():
        features = module[:2](torch.tensor(X)).double().numpy()  # type: ignore[index] # of a Sequential
        base = module(torch.tensor(X)).double().numpy()
    kernel = features @ features.T
    expected = base + kernel @ np.linalg.solve(kernel + 0.3 * np.eye(9), Y - base)
    for model in (learner, _module()):
        runtime = TorchRuntime(model, bundle.manifest)
        state = runtime.adapt(bundle.meta, full_batch(X, Y), knobs)
        np.testing.assert_allclose(runtime.predict(bundle.meta, state, X), expected, rtol=1e-3, atol=1e-2)


def test_a_learner_of_gradient_steps_runs_with_its_own_inner_optimiser() -> None:
    learner = reptile(_module(), SPEC, inner="adam", steps=4, lr=0.05)
    bundle = make_bundle(learner, learner.init(0), dict.fromkeys(("adapt", "predict", "update"), b"unused"))
    found = _outputs(bundle, TorchRuntime(learner, bundle.manifest))[1]
    model = _module()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05, eps=1e-4)
    for _ in range(4):
        optimiser.zero_grad()
        nn.functional.mse_loss(model(torch.tensor(X[:6])), torch.tensor(Y[:6])).backward()
        optimiser.step()
    np.testing.assert_allclose(found, model(torch.tensor(X)).detach().numpy(), rtol=1e-4, atol=1e-4)


def test_a_plain_module_of_a_standardised_bundle_is_told_what_to_pass(standardised: tuple[Learner, Bundle]) -> None:
    bundle = standardised[1]
    runtime = TorchRuntime(_module(), bundle.manifest)
    with pytest.raises(RuntimeFailure, match=r"'0\.bias' is of shape \[6\] in the learner and absent in the bundle"):
        runtime.predict(bundle.meta, {}, X)


@pytest.mark.parametrize(
    "choice", [{"optimiser": "Adam"}, {"options": {"momentum": 0.9}}, {"loss": "squared_error"}, {"device": "cuda"}]
)
def test_a_choice_that_has_no_effect_is_refused(standardised: tuple[Learner, Bundle], choice: dict[str, str]) -> None:
    learner, bundle = standardised
    for model in (learner, _module()):
        with pytest.raises(RuntimeFailure, match=rf"takes no gradient steps here, but {next(iter(choice))} is given"):
            TorchRuntime(model, bundle.manifest, **choice)  # type: ignore[arg-type]
    like = reptile(_module(), SPEC)
    bundle = make_bundle(like, like.init(0), dict.fromkeys(("adapt", "predict", "update"), b"unused"))
    with pytest.raises(RuntimeFailure, match=r"is fixed in how it adapts.*pass the module in place of the learner"):
        TorchRuntime(like, bundle.manifest, **choice)  # type: ignore[arg-type]


def test_other_learners_are_refused(standardised: tuple[Learner, Bundle]) -> None:
    learner, bundle = standardised
    with pytest.raises(RuntimeFailure, match=r"the learner is reptile for .*pass the learner that the bundle was made"):
        TorchRuntime(reptile(_module(), SPEC), bundle.manifest)
    with pytest.raises(RuntimeFailure, match="a module alone does not determine: pass the learner"):
        TorchRuntime(_module(), replace(bundle.manifest, learner="mixture"))
    wider = residual_correction(nn.Sequential(nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, 1)), SPEC)
    with pytest.raises(RuntimeFailure, match="pass the learner that the bundle was made from"):
        TorchRuntime(wider, bundle.manifest).predict(bundle.meta, {}, X)
    assert "residual_correction" in repr(TorchRuntime(learner, bundle.manifest))
