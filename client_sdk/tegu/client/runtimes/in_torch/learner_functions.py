"""A learner's own functions in torch, one user at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tegu.client.runtimes.in_torch.errors import explained
from tegu.core.bundle.manifest import Knobs, Manifest
from tegu.core.data.batch import Array, Batch, NumpyBatch
from tegu.core.data.tree import Tree
from tegu.core.errors import RuntimeFailure
from tegu.learners.algorithms.residual_correction import residual_correction
from tegu.learners.learner import Learner

__all__ = ["LearnerRunner", "needs_its_learner", "rebuilt_learner"]

_RESIDUAL_CORRECTION = "residual_correction"


class LearnerRunner:
    """Runs a learner's `adapt` and `predict`.

    Args:
        learner: what the bundle was made from.
        manifest: of the bundle.

    Raises:
        RuntimeFailure: the bundle was made from another learner.
    """

    def __init__(self, learner: Learner, manifest: Manifest) -> None:
        if (learner.name, learner.spec) != (manifest.learner, manifest.spec):
            raise RuntimeFailure(
                f"the learner is {learner.name} for {learner.spec}, and the bundle's {manifest.learner} for "
                f"{manifest.spec}: pass the learner that the bundle was made from"
            )
        self._learner = learner
        self._names = {name: array.shape for name, array in learner.init(0).items()}

    def __repr__(self) -> str:
        return f"{self._learner!r}"

    def adapt(self, meta: Tree, support: NumpyBatch, knobs: Knobs, noise: Array) -> Tree:
        """See `Runtime.adapt`."""
        self._check(meta)
        own = {name: torch.tensor(value) for name, value in knobs.items()}
        with explained("adapt"), torch.no_grad():
            batch = Batch(*(_tensor(part) for part in support))
            state = self._learner.adapt(_tensors(meta), batch, own, _tensor(noise))
            return {name: value.numpy() for name, value in state.items()}

    def predict(self, meta: Tree, state: Tree, x: Array) -> Array:
        """See `Runtime.predict`."""
        self._check(meta)
        with explained("predict"), torch.no_grad():
            output: Array = self._learner.predict(_tensors(meta), _tensors(state), _tensor(x)).numpy()
            return output

    def _check(self, meta: Tree) -> None:
        for name in sorted({*meta, *self._names}):
            found = meta[name].shape if name in meta else None
            if found != self._names.get(name):
                raise RuntimeFailure(
                    f"parameter {name!r} is {_shown(self._names.get(name))} in the learner and {_shown(found)} in the "
                    "bundle: pass the learner that the bundle was made from, such as Run.learner; where simulate "
                    "standardised the module, the parameters begin with 'model.', and standardise=False avoids that"
                )


def needs_its_learner(manifest: Manifest) -> bool:
    """Whether a bundle adapts in another way than by gradient steps on a module's parameters."""
    return not manifest.adapted_parameters or manifest.guarded


def rebuilt_learner(model: nn.Module, manifest: Manifest) -> Learner:
    """The learner of a bundle that does not adapt by gradient steps, from its module.

    Raises:
        RuntimeFailure: the module alone does not determine it.
    """
    if manifest.learner != _RESIDUAL_CORRECTION:
        raise RuntimeFailure(
            f"the bundle's learner is {manifest.learner}, which a module alone does not determine: pass the learner, "
            "such as Run.learner; or train with reptile(...), whose bundles adapt by gradient steps"
        )
    # Without normalised features, every candidate has the same kernel.
    normalised = not manifest.candidates or any(knobs["mix"] < 1 for knobs in manifest.candidates)
    level, ordered = ("level" in manifest.knobs), ("half_life" in manifest.knobs)
    return residual_correction(model, manifest.spec, normalise_features=normalised, level=level, ordered=ordered)


def _tensors(tree: Tree) -> dict[str, Tensor]:
    return {name: _tensor(value) for name, value in tree.items()}


def _tensor(array: Array) -> Tensor:
    return torch.tensor(array)  # a copy, because a bundle's arrays are read-only


def _shown(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else f"of shape {list(shape)}"
