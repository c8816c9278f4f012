"""Made-up inputs for a learner's functions, to trace and to check graphs with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tegu.compile.tracing.naming import flat_batch, knob_tensors, named
from tegu.core.bundle.manifest import with_steps
from tegu.core.data.batch import Array, Batch
from tegu.core.data.scaling import Scaling
from tegu.core.data.spec import Field
from tegu.learners.learner import Learner, TorchBatch

__all__ = ["Sizes", "example_batch", "example_inputs", "example_users"]

_UNBOUNDED_IDS = 8
_MOVE, _CONSTANT_SIZE = 0.3, 0.3  # all of a bias is often 0, all of a norm's weight 1


class Sizes(NamedTuple):
    """Rows of the support and of the query (`x` has as many), rows of padding in the support, and users."""

    support: int
    query: int
    padding: int = 0
    users: int = 1


def example_inputs(learner: Learner, sizes: Sizes, seed: int) -> dict[str, Tensor]:
    """All inputs of `functions(learner)`, one user's."""
    rng = np.random.default_rng(seed)
    shared = _shared(learner, rng)
    return shared | _one_user(learner, shared, sizes, rng)


def example_users(learner: Learner, sizes: Sizes, seed: int) -> dict[str, Tensor]:
    """The inputs of several users, stacked, and those of the cohort's update: `blocks` `[blocks, users]` and `clip`."""
    rng = np.random.default_rng(seed)
    shared = _shared(learner, rng)
    users = [_one_user(learner, shared, sizes, rng) for _ in range(sizes.users)]
    stacked = {name: torch.stack([user[name] for user in users]) for name in users[0]}
    blocks = torch.from_numpy(rng.uniform(0.5, 2, (sizes.users // 2 + 2, sizes.users)).astype(np.float32))
    return {**shared, **stacked, "blocks": blocks, "clip": torch.tensor(0.05)}


def example_batch(learner: Learner, rows: int, rng: np.random.Generator, padding: int = 0) -> TorchBatch:
    """Random rows as the learner takes them, the last `padding` of them masked."""
    mask = np.ones(rows, np.float32)
    mask[rows - padding :] = 0
    fields = zip((learner.spec.x, learner.spec.y), learner.execution.example_scaling, strict=True)
    x, y = (_rows(field, rows, rng, standard) for field, standard in fields)
    return Batch(x, y, torch.from_numpy(mask))


def _rows(field: Field, rows: int, rng: np.random.Generator, standard: Scaling | None) -> Tensor:
    if field.dtype == "int64":
        return torch.from_numpy(rng.integers(field.size or _UNBOUNDED_IDS, size=(rows, *field.shape)))
    drawn = _normal((rows, *field.shape), rng)
    return drawn if standard is None else drawn * torch.tensor(standard.std) + torch.tensor(standard.mean)


def _normal(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(np.asarray(rng.standard_normal(shape), np.float32))


def _shared(learner: Learner, rng: np.random.Generator) -> dict[str, Tensor]:
    meta = {name: _moved(array, rng) for name, array in learner.init(0).items()}
    return named("meta", meta) | named("knob", knob_tensors(learner.knobs))


def _moved(array: Array, rng: np.random.Generator) -> Tensor:
    """Initial parameters moved off their zeros, where a wrong gradient could hide.

    Little for their size: large steps on a wild point would magnify rounding until right graphs look wrong.
    """
    size = float(array.std()) or _CONSTANT_SIZE
    return torch.from_numpy(array) + _MOVE * size * _normal(array.shape, rng)


def _one_user(learner: Learner, shared: dict[str, Tensor], sizes: Sizes, rng: np.random.Generator) -> dict[str, Tensor]:
    meta = {name.removeprefix("meta."): value for name, value in shared.items() if name.startswith("meta.")}
    noise = {"noise": _normal((learner.noise,), rng)} if learner.noise else {}
    support = example_batch(learner, sizes.support, rng, sizes.padding)
    once = knob_tensors(with_steps(learner.knobs, 1))  # any state will do
    state = learner.adapt(meta, support, once, noise.get("noise", torch.zeros(0)))
    return {
        **flat_batch("support", support),
        **flat_batch("query", example_batch(learner, sizes.query, rng)),
        **named("state", state),
        "x": example_batch(learner, sizes.query, rng).x,
        **noise,
    }
