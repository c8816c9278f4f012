"""Random inputs that fit a learner's functions, to trace and to check graphs with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tegu.compile.tracing.naming import flat_batch, knob_tensors, with_prefix
from tegu.core.bundle.manifest import with_steps
from tegu.core.data.batch import Array, Batch
from tegu.core.data.scaling import Scaling
from tegu.core.data.spec import Field
from tegu.learners.learner import Learner, TorchBatch

__all__ = ["Sizes", "example_batch", "example_inputs", "example_users"]

_UNBOUNDED_IDS = 8
_PERTURBATION = 0.3  # relative to the spread of a parameter's entries
_CONSTANT_SCALE = 0.3  # for a parameter without spread: a bias is often all 0, a norm's weight all 1


class Sizes(NamedTuple):
    """Numbers of rows and users.

    Attributes:
        support: rows of the support, padding included.
        query: rows of the query, and of `x`.
        padding: masked rows at the end of the support.
        users: users.
    """

    support: int
    query: int
    padding: int = 0
    users: int = 1


def example_inputs(learner: Learner, sizes: Sizes, seed: int) -> dict[str, Tensor]:
    """All inputs of `functions(learner)` by name, for one user."""
    rng = np.random.default_rng(seed)
    shared = _shared_inputs(learner, rng)
    return shared | _one_user(learner, shared, sizes, rng)


def example_users(learner: Learner, sizes: Sizes, seed: int) -> dict[str, Tensor]:
    """The inputs of several users by name, stacked along a leading axis.

    The inputs of the cohort's update are included: `blocks` `[blocks, users]` and `clip` `[]`, both float32.
    """
    rng = np.random.default_rng(seed)
    shared = _shared_inputs(learner, rng)
    users = [_one_user(learner, shared, sizes, rng) for _ in range(sizes.users)]
    stacked = {name: torch.stack([user[name] for user in users]) for name in users[0]}
    blocks = torch.from_numpy(rng.uniform(0.5, 2, (sizes.users // 2 + 2, sizes.users)).astype(np.float32))
    return {**shared, **stacked, "blocks": blocks, "clip": torch.tensor(0.05)}


def example_batch(learner: Learner, rows: int, rng: np.random.Generator, padding: int = 0) -> TorchBatch:
    """Random rows that fit the learner's spec and scaling; the last `padding` rows are masked."""
    mask = np.ones(rows, np.float32)
    mask[rows - padding :] = 0
    fields = zip((learner.spec.x, learner.spec.y), learner.execution.example_scaling, strict=True)
    x, y = (_rows(field, rows, rng, scaling) for field, scaling in fields)
    return Batch(x, y, torch.from_numpy(mask))


def _rows(field: Field, rows: int, rng: np.random.Generator, scaling: Scaling | None) -> Tensor:
    if field.dtype == "int64":
        return torch.from_numpy(rng.integers(field.size or _UNBOUNDED_IDS, size=(rows, *field.shape)))
    drawn = _normal((rows, *field.shape), rng)
    scaled = drawn if scaling is None else drawn * torch.tensor(scaling.std) + torch.tensor(scaling.mean)
    for position, size in field.ids:
        scaled[:, position] = torch.from_numpy(rng.integers(size, size=rows)).float()
    return scaled


def _normal(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(np.asarray(rng.standard_normal(shape), np.float32))


def _shared_inputs(learner: Learner, rng: np.random.Generator) -> dict[str, Tensor]:
    fixed = learner.fixed_parameters  # graphs never see other values of these
    meta = {
        name: torch.from_numpy(array) if name in fixed else _perturbed(array, rng)
        for name, array in learner.init(0).items()
    }
    return with_prefix("meta", meta) | with_prefix("knob", knob_tensors(learner.knobs))


def _perturbed(array: Array, rng: np.random.Generator) -> Tensor:
    """Initial parameters plus noise, since zeros can hide a wrong gradient.

    The noise is small compared with the parameters. Large noise would magnify rounding until correct graphs fail.
    """
    scale = float(array.std()) or _CONSTANT_SCALE
    return torch.from_numpy(array) + _PERTURBATION * scale * _normal(array.shape, rng)


def _one_user(learner: Learner, shared: dict[str, Tensor], sizes: Sizes, rng: np.random.Generator) -> dict[str, Tensor]:
    meta = {name.removeprefix("meta."): value for name, value in shared.items() if name.startswith("meta.")}
    noise = {"noise": _normal((learner.noise,), rng)} if learner.noise else {}
    support = example_batch(learner, sizes.support, rng, sizes.padding)
    one_step = knob_tensors(with_steps(learner.knobs, 1))  # any state serves as an example
    state = learner.adapt(meta, support, one_step, noise.get("noise", torch.zeros(0)))
    return {
        **flat_batch("support", support),
        **flat_batch("query", example_batch(learner, sizes.query, rng)),
        **with_prefix("state", state),
        "x": example_batch(learner, sizes.query, rng).x,
        **noise,
    }
