"""Made-up rows of any spec, and a made-up point in parameter space, to trace and check graphs with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tegu.core.batch import Array, Batch
from tegu.core.spec import Field, Spec
from tegu.learners.learner import Learner, TorchBatch, TorchTree

__all__ = ["example_batch", "example_meta"]

_UNBOUNDED_IDS = 8


def _example_field(field: Field, rows: int, rng: np.random.Generator) -> Array:
    if field.dtype == "int64":
        return rng.integers(field.size or _UNBOUNDED_IDS, size=(rows, *field.shape))
    return rng.standard_normal((rows, *field.shape)).astype(np.float32)


def example_batch(spec: Spec, rows: int, rng: np.random.Generator, padding: int = 0) -> TorchBatch:
    """Random rows that fit `spec`, the last `padding` of them masked."""
    mask = np.ones(rows, np.float32)
    mask[rows - padding :] = 0
    return Batch(
        torch.from_numpy(_example_field(spec.x, rows, rng)),
        torch.from_numpy(_example_field(spec.y, rows, rng)),
        torch.from_numpy(mask),
    )


def example_meta(learner: Learner, rng: np.random.Generator) -> TorchTree:
    """The learner's initial parameters moved off their zeros, where a wrong gradient could hide."""

    def moved(array: Array) -> Tensor:
        return torch.from_numpy(array + 0.1 * rng.standard_normal(array.shape).astype(np.float32))

    return {name: moved(array) for name, array in learner.init(0).items()}
