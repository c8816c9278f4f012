"""Minimal filtering in one dimension: the matrices of Winograd's algorithms, in exact fractions."""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import NamedTuple, TypeAlias

__all__ = ["OUTPUTS", "Filtering", "Matrix", "minimal_filtering", "transposed"]

Matrix: TypeAlias = tuple[tuple[Fraction, ...], ...]


class Filtering(NamedTuple):
    """Correlation with few products: `y[i] = sum of g[t] * d[i + t]` is `output.T @ ((kernel @ g) * (data @ d))`.

    Attributes:
        data: `[products, outputs + taps - 1]`.
        kernel: `[products, taps]`.
        output: `[products, outputs]`.
    """

    data: Matrix
    kernel: Matrix
    output: Matrix


class _Points(NamedTuple):
    """Where polynomials are evaluated: at infinity, at real points and at complex points, one of each conjugate pair.

    With real points only, rounding errors grow fast with their number. On the unit circle they do not, but a product of
    complex numbers takes three real products. These sets were found by search: for their number of products they have
    the smallest rounding error among short fractions. In float32, two tiles of 7 outputs and 5 taps are 8 times as
    exact as four tiles of 4 outputs at 0, 1, -1, 2, -2, 1/2, -1/2 and infinity. Over two axes they take two thirds of
    the products.
    """

    real: tuple[Fraction, ...]
    complex: tuple[tuple[Fraction, Fraction], ...] = ()


def _both_signs(*points: Fraction) -> tuple[Fraction, ...]:
    return tuple(sign * point for point in points for sign in (1, -1))


_ZERO, _I = Fraction(0), (Fraction(0), Fraction(1))
_POINTS = {  # by the number of data of a tile
    6: _Points((_ZERO, *_both_signs(Fraction(2, 3), Fraction(3, 2)))),
    8: _Points((_ZERO, *_both_signs(Fraction(5, 7), Fraction(7, 5))), (_I,)),
    9: _Points(_both_signs(Fraction(1, 3), Fraction(7, 8), Fraction(8, 5)), (_I,)),
    11: _Points(
        _both_signs(Fraction(3, 8), Fraction(8, 9), Fraction(3, 2)),
        tuple((real, Fraction(12, 13)) for real in _both_signs(Fraction(5, 13))),
    ),
}
OUTPUTS = {3: (4, 7), 5: (4, 7)}  # outputs of a tile, by the number of taps


@functools.cache
def minimal_filtering(outputs: int, taps: int) -> Filtering:
    """The matrices for one of the pairs in `OUTPUTS`.

    A product of two polynomials, with the kernel's and the output's coefficients, is computed point by point and then
    interpolated. Correlation is the transpose of this algorithm: interpolation, transposed, transforms the data.

    Args:
        outputs: outputs of a tile.
        taps: entries of the kernel.
    """
    size = outputs + taps - 1
    points = _POINTS[size]
    interpolation = transposed(_inverse(_values(points, size)))
    count = len(points.real)
    data = list(interpolation[:count])
    for real, imaginary in zip(interpolation[count:-1:2], interpolation[count + 1 : -1 : 2], strict=True):
        # The three products are of real parts, of imaginary parts and of sums: (a + ib)(c + id) is
        # ac - bd + i((a + b)(c + d) - ac - bd).
        pairs = list(zip(real, imaginary, strict=True))
        data += [tuple(r - i for r, i in pairs), tuple(-r - i for r, i in pairs), imaginary]
    return Filtering((*data, interpolation[-1]), _factors(points, taps), _factors(points, outputs))


def transposed(matrix: Matrix) -> Matrix:
    """The matrix with rows and columns swapped."""
    return tuple(zip(*matrix, strict=True))


def _values(points: _Points, terms: int) -> Matrix:
    """From a polynomial's coefficients to its values. A complex value is two rows; at infinity it is the last term."""
    complexes = [part for point in points.complex for part in transposed(_complex_powers(*point, terms))]
    reals = [tuple(point**power for power in range(terms)) for point in points.real]
    return (*reals, *complexes, tuple(Fraction(power == terms - 1) for power in range(terms)))


def _factors(points: _Points, terms: int) -> Matrix:
    """`_values` with a third row after the two of each complex value: their sum."""
    values, count = _values(points, terms), len(points.real)
    parts = list[tuple[Fraction, ...]]()
    for real, imaginary in zip(values[count:-1:2], values[count + 1 : -1 : 2], strict=True):
        parts += [real, imaginary, tuple(r + i for r, i in zip(real, imaginary, strict=True))]
    return (*values[:count], *parts, values[-1])


def _complex_powers(real: Fraction, imaginary: Fraction, count: int) -> Matrix:
    powers = [(Fraction(1), Fraction(0))]
    for _ in range(count - 1):
        r, i = powers[-1]
        powers.append((r * real - i * imaginary, r * imaginary + i * real))
    return tuple(powers)


def _inverse(matrix: Matrix) -> Matrix:
    """The inverse of a regular matrix, by Gauss-Jordan elimination."""
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
    return tuple(tuple(row[size:]) for row in rows)
