"""Updates packed into few bytes, with error feedback.

The rounding errors of one round are added to the next round's update before it is rounded, so they do not accumulate
(Seide et al. 2014, "1-Bit Stochastic Gradient Descent"; Karimireddy et al. 2019, arXiv:1901.09847).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tegu.core.compression.precision import Precision, decode, encode
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree, add, subtract
from tegu.core.errors import DataError

__all__ = ["Packed", "pack", "pack_with_feedback", "unpack"]


class Packed(NamedTuple):
    """All arrays of a tree, sorted by name and concatenated; see `tegu.core.compression.precision.encode`."""

    codes: Array
    scales: Array


def pack(tree: Tree, precision: Precision) -> Packed:
    """Pack a tree of float32 arrays."""
    flat = [np.ravel(tree[name]) for name in sorted(tree)]
    return Packed(*encode(np.concatenate([*flat, np.empty(0, np.float32)]), precision))


def unpack(packed: Packed, like: Tree) -> Tree:
    """Unpack a tree, up to rounding.

    Args:
        packed: a packed tree with the layout of `like`.
        like: any tree with that layout.

    Raises:
        DataError: the number of entries differs, or codes and scales do not belong together.
    """
    sizes = {name: like[name].size for name in sorted(like)}
    if packed.codes.shape != (sum(sizes.values()),):
        raise DataError(
            f"the packed tree has shape {packed.codes.shape}: expected {sum(sizes.values())} entries; "
            "both sides must have the same model"
        )
    pieces = np.split(decode(*packed), np.cumsum(list(sizes.values()))[:-1])
    return {name: piece.reshape(like[name].shape) for name, piece in zip(sizes, pieces, strict=True)}


def pack_with_feedback(update: Tree, residual: Tree | None, precision: Precision) -> tuple[Packed, Tree]:
    """Pack an update plus the residual of the previous one.

    Args:
        update: float32.
        residual: returned for the previous update; None for the first.
        precision: to pack in.

    Returns:
        The packed update to send, and the residual to add to the next update.
    """
    exact = update if residual is None else add(update, residual)
    sent = pack(exact, precision)
    return sent, subtract(exact, unpack(sent, exact))
