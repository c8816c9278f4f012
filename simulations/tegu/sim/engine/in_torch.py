"""Backends: the learner's functions in torch, batched by `torch.func.vmap` or user by user, without compilation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tegu.compile.functions import batched, block_sums, functions, touched_update
from tegu.compile.summed_updates import sum_at_once
from tegu.compile.tracing.naming import flat_batch, knob_tensors, under_prefix, with_prefix
from tegu.core.bundle.manifest import Knobs
from tegu.core.data.batch import Array, Batch, NumpyBatch
from tegu.core.data.tree import Tree
from tegu.learners.learner import Learner
from tegu.sim.engine.backend import UpdateSummation
from tegu.sim.engine.blocks import block_membership
from tegu.sim.engine.one_by_one import each_state, stack_states, sum_in_blocks

__all__ = ["IMAGE_AXES", "TorchBatched", "TorchLooped", "tensors_of"]

IMAGE_AXES = 4  # of a batch of images, and of a convolution's weights

_Function = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


@dataclass(frozen=True)
class TorchBatched:
    """Runs a batch of users in one call; see `Backend`.

    Attributes:
        learner: the learner.
        name: of the engine.
        channels_last: whether updates that are summed at once take parameters with four axes laid out as torch's
            convolutions are fastest. No user has parameters of its own in them.
    """

    learner: Learner
    name: str = "torch-vmap"
    by_user: bool = False
    channels_last: bool = False

    def summed_update(self, rows: int) -> UpdateSummation | None:
        """See `Backend`."""
        summed = self.learner.execution.summed_update
        if summed is None or rows > summed.max_rows:
            return None
        summation = sum_at_once(summed)
        return lambda meta, *users: _call(
            summation, "update", with_prefix("meta", tensors_of(meta, self.channels_last)) | _users(*users)
        )

    def block_sums(
        self, meta: Tree, support: NumpyBatch, query: NumpyBatch, noise: Array, block: int, limit: float
    ) -> Tree:
        """See `Backend`."""
        inputs = _users(support, query, noise) | with_prefix("meta", _tensors(meta))
        blocks = block_membership(len(support.mask), block)
        inputs |= {"blocks": torch.from_numpy(blocks), "clip": torch.tensor(limit)}
        updates = batched(lambda values: touched_update(self.learner, values))
        return _call(block_sums(updates), "update", inputs)

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs, noise: Array) -> Tree:
        """See `Backend`."""
        shared = with_prefix("meta", _tensors(meta)) | with_prefix("knob", knob_tensors(knobs))
        inputs = _rows("support", supports) | _noise(noise) | shared
        return _call(batched(functions(self.learner)["adapt"]), "state", inputs)

    def predict(self, meta: Tree, states: Tree, x: Array) -> Array:
        """See `Backend`."""
        inputs = with_prefix("meta", _tensors(meta)) | with_prefix("state", _tensors(states)) | {"x": torch.tensor(x)}
        return batched(functions(self.learner)["predict"])(inputs)["output"].detach().numpy()


@dataclass(frozen=True)
class TorchLooped:
    """Runs users one after the other, each without padding; see `Backend`."""

    learner: Learner
    name: str = "torch-loop"
    by_user: bool = True

    def summed_update(self, rows: int) -> None:
        """None: one user at a time has nothing to share."""

    def block_sums(
        self, meta: Tree, support: NumpyBatch, query: NumpyBatch, noise: Array, block: int, limit: float
    ) -> Tree:
        """See `Backend`."""
        shared, update = with_prefix("meta", _tensors(meta)), functions(self.learner)["update"]

        def user_update(own_support: NumpyBatch, own_query: NumpyBatch, own_noise: Array) -> Tree:
            return _call(update, "update", shared | _users(own_support, own_query, own_noise))

        return sum_in_blocks(user_update, support, query, noise, block, limit)

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs, noise: Array) -> Tree:
        """See `Backend`."""
        shared = with_prefix("meta", _tensors(meta)) | with_prefix("knob", knob_tensors(knobs))
        users = (NumpyBatch(*arrays) for arrays in zip(*supports, strict=True))
        adapt, pairs = functions(self.learner)["adapt"], zip(users, noise, strict=True)
        return stack_states(
            [_call(adapt, "state", shared | _rows("support", rows) | _noise(own)) for rows, own in pairs]
        )

    def predict(self, meta: Tree, states: Tree, x: Array) -> Array:
        """See `Backend`."""
        shared, predict = with_prefix("meta", _tensors(meta)), functions(self.learner)["predict"]
        outputs = [
            predict(shared | with_prefix("state", _tensors(state)) | {"x": torch.tensor(inputs)})["output"]
            .detach()
            .numpy()
            for state, inputs in zip(each_state(states, len(x)), x, strict=True)
        ]
        return np.stack(outputs)


def tensors_of(meta: Tree, channels_last: bool) -> dict[str, Tensor]:
    """The parameters in torch. Their layout changes no result but for rounding.

    `contiguous` would leave those of a single channel as they are, and `to` does not.
    """
    found, last = _tensors(meta), torch.channels_last
    if not channels_last:
        return found
    return {name: each.to(memory_format=last) if each.dim() == IMAGE_AXES else each for name, each in found.items()}


def _call(function: _Function, prefix: str, inputs: Mapping[str, Tensor]) -> Tree:
    return {name: value.detach().numpy() for name, value in under_prefix(prefix, function(inputs)).items()}


def _tensors(tree: Tree) -> dict[str, Tensor]:
    return {name: torch.tensor(value) for name, value in tree.items()}  # a copy, since received arrays are read-only


def _users(support: NumpyBatch, query: NumpyBatch, noise: Array) -> dict[str, Tensor]:
    return _rows("support", support) | _rows("query", query) | _noise(noise)


def _noise(noise: Array) -> dict[str, Tensor]:
    return {"noise": torch.from_numpy(noise)} if noise.shape[-1] else {}


def _rows(prefix: str, batch: NumpyBatch) -> dict[str, Tensor]:
    return flat_batch(prefix, Batch(*map(torch.tensor, batch)))
