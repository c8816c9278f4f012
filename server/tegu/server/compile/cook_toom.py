"""Minimal filtering in one dimension: the matrices of Winograd's algorithms, exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple, TypeAlias

from tegu.core.errors import CompileError

__all__ = ["Filtering", "Matrix", "minimal_filtering"]

Matrix: TypeAlias = list[list[Fraction]]

# Few and small, so that their powers keep float32's rounding small; infinity comes last.
_POINTS = (0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2))


class Filtering(NamedTuple):
    """Correlation by as few products as there are data: `y = output.T @ ((kernel @ g) * (data @ d))`.

    Attributes:
        data: `[size, size]`, integers.
        kernel: `[size, taps]`.
        output: `[size, outputs]`.
    """

    data: Matrix
    kernel: Matrix
    output: Matrix


def minimal_filtering(outputs: int, taps: int) -> Filtering:
    """`outputs` sums of `taps` neighbours from `size = outputs + taps - 1` data (Cook and Toom, transposed).

    Polynomials multiply point by point: a kernel's with an output's, each evaluated at `size` points. Interpolating
    gives the product's coefficients, and interpolation transposed turns data into what the products take.

    Raises:
        CompileError: more data than there are points.
    """
    size = outputs + taps - 1
    if size > len(_POINTS) + 1:
        raise CompileError(
            f"{outputs} outputs of {taps} taps need {size} points: expected at most {len(_POINTS) + 1}, so take fewer "
            "outputs"
        )
    data = _transposed(_inverse(_powers(size, size)))
    scales = [Fraction(math.lcm(*(entry.denominator for entry in row))) for row in data]
    kernel = _powers(size, taps)
    return Filtering(
        [[entry * scale for entry in row] for row, scale in zip(data, scales, strict=True)],
        [[entry / scale for entry in row] for row, scale in zip(kernel, scales, strict=True)],
        _powers(size, outputs),
    )


def _powers(points: int, terms: int) -> Matrix:
    """What takes a polynomial of so many terms to its values; at infinity that is its last coefficient."""
    finite = [[Fraction(point) ** power for power in range(terms)] for point in _POINTS[: points - 1]]
    return [*finite, [Fraction(power == terms - 1) for power in range(terms)]]


def _transposed(matrix: Sequence[Sequence[Fraction]]) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


def _inverse(matrix: Matrix) -> Matrix:
    """By elimination; `matrix` has an inverse."""
    size = len(matrix)
    rows = [[*row, *(Fraction(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(i for i in range(column, size) if rows[i][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        head = [entry / rows[column][column] for entry in rows[column]]
        rows = [
            head if i == column else [a - row[column] * b for a, b in zip(row, head, strict=True)]
            for i, row in enumerate(rows)
        ]
    return [row[size:] for row in rows]
