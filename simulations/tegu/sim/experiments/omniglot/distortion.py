"""Slightly distorted copies of drawings: turned, scaled, sheared and shifted a little, each by numbers of its own.

A hundred characters train where the papers have 1,200. Distorted copies are other hands that draw the same character.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses

from tegu.core.data.batch import Array
from tegu.core.sampling.keyed_random import keyed_rng

__all__ = ["distorted"]

_TURN, _SCALE, _SHEAR = np.pi / 18, 0.15, 0.2  # largest angle in radians, change in size and shear
_SHIFT = 0.1  # largest, of half a side


def distorted(x: Array, seed: int) -> Array:
    """A distorted copy of each drawing.

    Args:
        x: float32 `[drawings, 1, side, side]`, 0 where nothing is drawn.
        seed: of all draws.

    Returns:
        Float32 of the same shape.
    """
    rng, rows = keyed_rng("omniglot distortion", seed), len(x)
    angle, shear = rng.uniform(-_TURN, _TURN, rows), rng.uniform(-_SHEAR, _SHEAR, rows)
    wide, high = rng.uniform(1 - _SCALE, 1 + _SCALE, (2, rows))
    maps = np.zeros((rows, 2, 3), np.float32)
    maps[:, 0, 0], maps[:, 0, 1] = wide * np.cos(angle), shear - high * np.sin(angle)
    maps[:, 1, 0], maps[:, 1, 1] = wide * np.sin(angle), high * np.cos(angle)
    maps[:, :, 2] = rng.uniform(-_SHIFT, _SHIFT, (rows, 2))
    grid = F.affine_grid(torch.from_numpy(maps), list(x.shape), align_corners=False)
    found: Array = F.grid_sample(torch.from_numpy(np.ascontiguousarray(x)), grid, align_corners=False).numpy()
    return found
