"""Names of graph inputs and outputs: `meta.<name>`, `state.<name>`, `support.x`, `knob.lr`, `update.<name>`, ..."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

from tegu.core.bundle.manifest import STEPS
from tegu.core.data.batch import Batch
from tegu.learners.learner import TorchBatch

__all__ = ["batch_under_prefix", "flat_batch", "knob_tensors", "under_prefix", "with_prefix"]

T = TypeVar("T")


def with_prefix(prefix: str, values: Mapping[str, T]) -> dict[str, T]:
    """The entries with `<prefix>.` before their names."""
    return {f"{prefix}.{name}": value for name, value in values.items()}


def under_prefix(prefix: str, values: Mapping[str, T]) -> dict[str, T]:
    """The entries whose names begin with `<prefix>.`, named without it."""
    return {name[len(prefix) + 1 :]: value for name, value in values.items() if name.startswith(f"{prefix}.")}


def flat_batch(prefix: str, batch: TorchBatch) -> dict[str, Tensor]:
    """A batch as tensors named `<prefix>.x`, `<prefix>.y` and `<prefix>.mask`."""
    return with_prefix(prefix, batch._asdict())


def batch_under_prefix(prefix: str, values: Mapping[str, Tensor]) -> TorchBatch:
    """The batch that `flat_batch` named with this prefix."""
    return Batch(values[f"{prefix}.x"], values[f"{prefix}.y"], values[f"{prefix}.mask"])


def knob_tensors(knobs: Mapping[str, float]) -> dict[str, Tensor]:
    """Knobs as graph inputs `[]`: `steps` is int64, all others are float32."""
    return {
        name: torch.tensor(value, dtype=torch.int64 if name == STEPS else torch.float32)
        for name, value in knobs.items()
    }
