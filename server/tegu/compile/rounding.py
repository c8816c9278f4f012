"""How far rounding to float32 moves the results of a function, measured on the function itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tegu.compile.named_tensors import Function
from tegu.core.data.batch import Array

__all__ = ["Rounding", "measure_rounding"]

_DRAWS = 4
_UNIT = 2.0**-23  # float32's distance from 1 to the next number


class Rounding(NamedTuple):
    """Results without rounding, and how far rounding moves them.

    Attributes:
        exact: the results in float64, by name; those in float32 where the function accepts no float64.
        moved: the largest difference of an entry from `exact`, by name, among results in float32 for the inputs
            themselves and for inputs that differ from them in their last digits.
    """

    exact: Mapping[str, Array]
    moved: Mapping[str, float]


def measure_rounding(function: Function, case: Mapping[str, Tensor], units: int = 1, draws: int = _DRAWS) -> Rounding:
    """Measure on one case.

    One result in float32 says little: it may be exact by luck where two large numbers cancel, and it takes one side of
    a tie. Inputs changed in their last digits show both.

    Args:
        function: what is measured.
        case: its inputs by name.
        units: how far an input is changed at most, in units of float32's last digit.
        draws: number of changed inputs.
    """
    changed = (_changed(case, seed, units) for seed in range(draws))
    results = [_computed(function, case), *(_computed(function, each) for each in changed)]
    exact = _in_float64(function, case) or results[0]
    moved = {name: max(_largest(result[name] - value) for result in results) for name, value in exact.items()}
    return Rounding(exact, moved)


def _computed(function: Function, case: Mapping[str, Tensor]) -> dict[str, Array]:
    return {name: tensor.detach().numpy() for name, tensor in function(case).items()}


def _changed(case: Mapping[str, Tensor], seed: int, units: int) -> dict[str, Tensor]:
    """The case with real numbers changed in their last digits. Whole numbers stay: they may be ids, labels or masks."""
    generator = torch.Generator().manual_seed(seed)

    def changed(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        factors = 1 + units * _UNIT * (2 * torch.rand(tensor.shape, generator=generator) - 1)
        return torch.where(tensor == tensor.round(), tensor, tensor * factors)

    return {name: changed(tensor) for name, tensor in case.items()}


def _in_float64(function: Function, case: Mapping[str, Tensor]) -> dict[str, Array] | None:
    """The function's results in double precision. None means that the model accepts only float32."""
    precise = {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in case.items()}
    try:
        return _computed(function, precise)
    except Exception:  # torch raises many exception types when dtypes are mixed
        return None


def _largest(difference: Array) -> float:
    return float(np.max(np.abs(difference), initial=0.0))
