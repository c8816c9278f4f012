"""Adaptation in torch, with any optimiser and device that torch has. Requires torch."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tegu.core.bundle.manifest import Knobs, Manifest
from tegu.core.data.batch import Array, Batch, NumpyBatch
from tegu.core.data.tree import Tree
from tegu.core.errors import RuntimeFailure
from tegu.core.sampling.keyed_random import NO_NOISE
from tegu.learners.inner_loop.optimisers import optimiser_class
from tegu.learners.modules.functional import Applied, call
from tegu.learners.modules.losses import OutputLoss, find_loss, masked_mean
from tegu.learners.parameters.step_sizes import factor_of, learned_knobs, without_learned
from tegu.learners.parameters.table_rows import whole_parameters

__all__ = ["Device", "TorchRuntime"]

Device = Literal["cpu", "cuda", "mps"]


class TorchRuntime:
    """Adapts a module by gradient steps on the mean loss of the support. It does not use the bundle's graphs.

    It follows the learners' inner loop: with n rows the step size is `lr * n / (n + prior)`, multiplied by the step
    sizes that the bundle has learned. With plain SGD the results equal those of the bundle's graphs. The module is
    copied and runs in evaluation mode.

    Args:
        model: the module that the bundle was made from.
        manifest: of the bundle.
        loss: a name, a callable `(output, y) -> [rows]`, or None for the usual loss of the kind of problem.
        device: to compute on.
        optimiser: name of an optimiser in torch.optim or torch-optimizer.
        options: arguments of the optimiser except the learning rate, which is the knob `lr`.

    Raises:
        RuntimeFailure: the device is not available, the optimiser refuses the options, or a parameter that adapts
            is absent from the module.
        UnknownNameError: no such optimiser or loss.
        MissingExtraError: torch-optimizer is not installed.
    """

    def __init__(
        self,
        model: nn.Module,
        manifest: Manifest,
        *,
        loss: str | OutputLoss | None = None,
        device: Device = "cpu",
        optimiser: str = "SGD",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        _check_device(device)
        self._device = torch.device(device)
        self._model = copy.deepcopy(model).eval().to(self._device)
        self._shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
        self._fast = manifest.adapted_parameters
        unknown = sorted(set(self._fast) - set(self._shapes))
        if unknown:
            raise RuntimeFailure(
                f"the bundle adapts {unknown[0]!r}, and the module has {', '.join(self._shapes)}: "
                "pass the module that the bundle was made from"
            )
        self._loss = find_loss(loss, manifest.spec)
        self._new_optimiser = _optimiser_factory(optimiser, options or {})

    def __repr__(self) -> str:
        return f"TorchRuntime({type(self._model).__name__}, device={str(self._device)!r}, adapts={list(self._fast)})"

    def adapt(self, meta: Tree, support: NumpyBatch, knobs: Knobs, noise: Array = NO_NOISE) -> Tree:
        """The fast parameters after `knobs["steps"]` steps; see `Runtime.adapt`. It draws no noise."""
        del noise
        self._check_meta(meta)
        missing = sorted({"steps", "lr"} - set(knobs))
        if missing:
            raise RuntimeFailure(f"knobs {missing} are missing from {dict(knobs)}: TorchRuntime needs steps and lr")
        with _explained("adapt"):
            parameters = self._tensors(meta)
            fast = {name: parameters[name].requires_grad_() for name in self._fast}
            batch = Batch(*(self._tensor(part) for part in support))
            rows = float(support.mask.sum())
            prior = float(learned_knobs(parameters, {"prior": 0.0, **knobs})["prior"])
            scale = rows / max(rows + prior, 1.0)
            self._descend(parameters, fast, batch, int(knobs["steps"]), knobs["lr"] * scale)
            return {name: value.detach().cpu().numpy() for name, value in fast.items()}

    def predict(self, meta: Tree, state: Tree, x: Array) -> Array:
        """Outputs for the rows of `x`; see `Runtime.predict`. The state may come from the graphs."""
        self._check_meta({**meta, **whole_parameters(state)})
        with _explained("predict"), torch.no_grad():
            output: Array = call(self._model, self._tensors({**meta, **state}), self._tensor(x)).cpu().numpy()
            return output

    def _descend(
        self, parameters: dict[str, Tensor], fast: dict[str, Tensor], batch: Batch[Tensor], steps: int, lr: float
    ) -> None:
        optimiser = self._new_optimiser(list(fast.values()), lr=lr)
        learned = {name: factor for name in fast if (factor := factor_of(parameters, name)) is not None}
        for _ in range(steps):
            before = {name: fast[name].detach().clone() for name in learned}
            loss = masked_mean(self._loss, Applied(self._model, parameters), batch)
            gradients = torch.autograd.grad(loss, list(fast.values()), allow_unused=True)
            for parameter, gradient in zip(fast.values(), gradients, strict=True):
                parameter.grad = gradient
            optimiser.step()
            with torch.no_grad():
                for name, factor in learned.items():  # scale the step: optimisers have no step size per entry
                    fast[name].copy_(torch.lerp(before[name], fast[name], factor))

    def _check_meta(self, tree: Tree) -> None:
        tree = without_learned(tree)
        for name in sorted({*tree, *self._shapes}):
            found, expected = tree[name].shape if name in tree else None, self._shapes.get(name)
            if found != expected:
                raise RuntimeFailure(
                    f"parameter {name!r} is {_described(expected)} in the module and {_described(found)} in the "
                    "bundle: pass the module that the bundle was made from"
                )

    def _tensors(self, tree: Tree) -> dict[str, Tensor]:
        return {name: self._tensor(value) for name, value in tree.items()}

    def _tensor(self, array: Array) -> Tensor:
        # A copy, because steps are taken in place and a bundle's arrays are read-only.
        return torch.tensor(array, device=self._device)


def _check_device(device: str) -> None:
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(device, False):
        usable = ", ".join(name for name, usable in available.items() if usable)
        raise RuntimeFailure(
            f"device {device!r} is not available: use one of {usable}, or install a torch built for {device}"
        )


def _optimiser_factory(name: str, options: Mapping[str, Any]) -> Callable[..., torch.optim.Optimizer]:
    cls: Callable[..., torch.optim.Optimizer] = optimiser_class(name)
    factory = functools.partial(cls, **options)
    try:
        factory([torch.zeros(1, requires_grad=True)], lr=0.1)
    except (TypeError, ValueError, AssertionError) as error:
        raise RuntimeFailure(f"{name} refuses the options {dict(options)} ({error}): correct them") from error
    return factory


@contextmanager
def _explained(function: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, IndexError, TypeError) as error:
        raise RuntimeFailure(
            f"torch cannot {function} ({error}): check the module, the rows and the optimiser"
        ) from error


def _described(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else f"of shape {list(shape)}"
