"""Adaptation in torch, with any optimiser and device that torch has. Requires torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from tegu.client.runtimes.in_torch.gradient_steps import Device, GradientRunner
from tegu.client.runtimes.in_torch.learner_functions import LearnerRunner, needs_its_learner, rebuilt_learner
from tegu.core.bundle.manifest import Knobs, Manifest
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.tree import Tree
from tegu.core.errors import RuntimeFailure
from tegu.core.sampling.keyed_random import NO_NOISE
from tegu.learners.learner import Learner
from tegu.learners.modules.losses import OutputLoss

__all__ = ["Device", "TorchRuntime"]


class TorchRuntime:
    """Runs a bundle in torch, without its graphs: any learner as it is, or a module with another optimiser or device.

    A learner's own functions give the results of the bundle's graphs. So does a module that adapts by gradient steps
    with plain SGD: with n rows the step size is `lr * n / (n + prior)`, multiplied by the step sizes that the bundle
    has learned. The module is copied and runs in evaluation mode.

    Args:
        model: the learner that the bundle was made from (`Run.learner`), or its module. A module that
            `tegu.sim.simulate` standardised has other parameter names than the one it was given: pass the learner.
        manifest: of the bundle.
        loss: of a module that takes gradient steps: a name, a callable `(output, y) -> [rows]`, or None for the usual
            loss of the kind of problem.
        device: to compute on. A learner computes on the CPU.
        optimiser: for a module that takes gradient steps, a name among `tegu.learners.optimiser_names()`; None for SGD.
        options: arguments of the optimiser except the learning rate, which is the knob `lr`.

    Raises:
        RuntimeFailure: the device is not available, the optimiser refuses the options or the shapes of the parameters,
            a parameter that adapts is absent from the module, or the learner takes no gradient steps and an optimiser
            was given.
        DataError: the optimiser needs more than a gradient.
        UnknownNameError: no such optimiser or loss.
        MissingExtraError: torch-optimizer is not installed.
    """

    def __init__(
        self,
        model: nn.Module | Learner,
        manifest: Manifest,
        *,
        loss: str | OutputLoss | None = None,
        device: Device = "cpu",
        optimiser: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(manifest, Manifest):
            raise RuntimeFailure(f"manifest is a {type(manifest).__name__}: expected a bundle's, bundle.manifest")
        self._runner: GradientRunner | LearnerRunner
        if isinstance(model, Learner) or needs_its_learner(manifest):
            _check_takes_no_choice(model, manifest, optimiser, options, loss, device)
            learner = model if isinstance(model, Learner) else rebuilt_learner(model, manifest)
            self._runner = LearnerRunner(learner, manifest)
        else:
            self._runner = GradientRunner(model, manifest, loss, device, optimiser or "SGD", options or {})

    def __repr__(self) -> str:
        return f"TorchRuntime({self._runner!r})"

    def adapt(self, meta: Tree, support: NumpyBatch, knobs: Knobs, noise: Array = NO_NOISE) -> Tree:
        """The personal state; see `Runtime.adapt`. A module draws no noise."""
        return self._runner.adapt(meta, support, knobs, noise)

    def predict(self, meta: Tree, state: Tree, x: Array) -> Array:
        """Outputs for the rows of `x`; see `Runtime.predict`. The state may come from the graphs."""
        return self._runner.predict(meta, state, x)


def _check_takes_no_choice(
    model: nn.Module | Learner,
    manifest: Manifest,
    optimiser: str | None,
    options: Mapping[str, Any] | None,
    loss: str | OutputLoss | None,
    device: str,
) -> None:
    choices = {"optimiser": optimiser, "options": options, "loss": loss}
    given = [name for name, value in choices.items() if value is not None]
    given += [] if device == "cpu" else ["device"]
    if not given:
        return
    if needs_its_learner(manifest):
        why = "takes no gradient steps here"
        fix = "leave them out, or train with reptile(...), whose bundles adapt by gradient steps"
    else:
        why, fix = "is fixed in how it adapts", "leave them out, or pass the module in place of the learner"
    name = model.name if isinstance(model, Learner) else manifest.learner
    raise RuntimeFailure(f"the learner {name} {why}, but {' and '.join(given)} is given: {fix}")
