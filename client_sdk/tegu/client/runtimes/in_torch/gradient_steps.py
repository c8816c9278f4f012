"""Gradient steps on a module in torch, with any optimiser and device that torch has."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from tegu.client.runtimes.in_torch.errors import explained
from tegu.core.bundle.manifest import Knobs, Manifest
from tegu.core.data.batch import Array, Batch, NumpyBatch
from tegu.core.data.tree import Tree
from tegu.core.errors import RuntimeFailure
from tegu.learners.inner_loop.optimisers import optimiser_class
from tegu.learners.modules.functional import Applied, call
from tegu.learners.modules.losses import find_loss, masked_mean
from tegu.learners.parameters.step_sizes import factor_of, learned_knobs, without_learned
from tegu.learners.parameters.table_rows import whole_parameters

__all__ = ["Device", "GradientRunner"]

Device = Literal["cpu", "cuda", "mps"]

_RIGHT_MODULE = (
    "pass the module that the bundle was made from, or its learner, such as Run.learner; the parameters of a module "
    "that simulate standardised begin with 'model.', and standardise=False avoids that"
)


class GradientRunner:
    """Adapts a module by gradient steps on the mean loss of the support; see `TorchRuntime` for the arguments."""

    def __init__(
        self,
        model: object,
        manifest: Manifest,
        loss: object,
        device: Device,
        optimiser: str,
        options: object,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise RuntimeFailure(f"the model is a {type(model).__name__}: expected a torch.nn.Module, or a Learner")
        if not (loss is None or isinstance(loss, str) or callable(loss)):
            raise RuntimeFailure(f"loss is {loss!r}: expected a name, or a callable (output, y) -> [rows]")
        _check_device(device)
        self._device = torch.device(device)
        self._model = copy.deepcopy(model).eval().to(self._device)
        self._shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
        self._fast = manifest.adapted_parameters
        unknown = sorted(set(self._fast) - set(self._shapes))
        if unknown:
            raise RuntimeFailure(
                f"the bundle adapts {unknown[0]!r}, and the module has {', '.join(self._shapes)}: {_RIGHT_MODULE}"
            )
        self._loss = find_loss(loss, manifest.spec)
        self._new_optimiser = _optimiser_factory(optimiser, options, [self._shapes[name] for name in self._fast])

    def __repr__(self) -> str:
        return f"{type(self._model).__name__}, device={str(self._device)!r}, adapts={list(self._fast)}"

    def adapt(self, meta: Tree, support: NumpyBatch, knobs: Knobs, noise: Array) -> Tree:
        """The fast parameters after `knobs["steps"]` steps; see `Runtime.adapt`. It draws no noise."""
        del noise
        self._check_meta(meta)
        missing = sorted({"steps", "lr"} - set(knobs))
        if missing:
            raise RuntimeFailure(f"knobs {missing} are missing from {dict(knobs)}: TorchRuntime needs steps and lr")
        with explained("adapt"):
            parameters = self._tensors(meta)
            fast = {name: parameters[name].requires_grad_() for name in self._fast}
            batch = Batch(*(self._tensor(part) for part in support))
            rows = float(support.mask.sum())
            prior = float(learned_knobs(parameters, {"prior": 0.0, **knobs})["prior"])
            scale = rows / max(rows + prior, 1.0)
            self._descend(parameters, fast, batch, int(knobs["steps"]), knobs["lr"] * scale)
            return {name: value.detach().cpu().numpy() for name, value in fast.items()}

    def predict(self, meta: Tree, state: Tree, x: Array) -> Array:
        """See `Runtime.predict`. The state may come from the graphs."""
        self._check_meta({**meta, **whole_parameters(state)})
        with explained("predict"), torch.no_grad():
            output: Array = call(self._model, self._tensors({**meta, **state}), self._tensor(x)).cpu().numpy()
            return output

    def _descend(
        self, parameters: dict[str, Tensor], fast: dict[str, Tensor], batch: Batch[Tensor], steps: int, lr: float
    ) -> None:
        if not steps or not lr:
            return  # most optimisers refuse a step size of 0
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
                    f"bundle: {_RIGHT_MODULE}"
                )

    def _tensors(self, tree: Tree) -> dict[str, Tensor]:
        return {name: self._tensor(value) for name, value in tree.items()}

    def _tensor(self, array: Array) -> Tensor:
        # A copy, because steps are taken in place and a bundle's arrays are read-only.
        return torch.tensor(array, device=self._device)


def _check_device(device: object) -> None:
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not isinstance(device, str) or not available.get(device, False):
        usable = ", ".join(name for name, usable in available.items() if usable)
        raise RuntimeFailure(
            f"device {device!r} is not available: use one of {usable}, or install a torch built for {device}"
        )


def _optimiser_factory(
    name: str, options: object, shapes: Sequence[tuple[int, ...]]
) -> Callable[..., torch.optim.Optimizer]:
    if not isinstance(options, Mapping):
        raise RuntimeFailure(f"options is {options!r}: expected a mapping, such as {{'momentum': 0.9}}")
    factory: Callable[..., torch.optim.Optimizer] = functools.partial(optimiser_class(name), **options)
    try:
        tried = [torch.zeros(shape, requires_grad=True) for shape in shapes]
        optimiser = factory(tried, lr=0.1)
        for parameter in tried:
            parameter.grad = torch.ones_like(parameter)
        optimiser.step()
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise RuntimeFailure(
            f"{name} refuses the options {dict(options)}, or parameters of the shapes {sorted(set(shapes))} ({error}): "
            "correct the options, or choose another optimiser"
        ) from error
    return factory


def _described(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else f"of shape {list(shape)}"
