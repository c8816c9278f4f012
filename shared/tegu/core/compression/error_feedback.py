"""A tree as one array of few bytes, and what was lost in it, to be made up for next time.

Rounding errors of one round are added to the next round's update before that is rounded ("error feedback": Seide et
al. 2014, "1-Bit Stochastic Gradient Descent"; Karimireddy et al. 2019, arXiv:1901.09847), so that they do not pile up.
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
    """All entries of a tree, by name, one after the other; see `tegu.core.compression.precision.encode`."""

    codes: Array
    scales: Array


def pack(tree: Tree, precision: Precision) -> Packed:
    """A tree of float32 arrays, packed."""
    flat = [np.ravel(tree[name]) for name in sorted(tree)]
    return Packed(*encode(np.concatenate([*flat, np.empty(0, np.float32)]), precision))


def unpack(packed: Packed, like: Tree) -> Tree:
    """The packed tree, as nearly as it can be had.

    Args:
        packed: of a tree of the layout of `like`.
        like: any tree of that layout.

    Raises:
        DataError: another number of entries, or codes and scales that do not belong together.
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
    """What to send for `update`, and the residual to keep for the next one.

    Args:
        update: float32.
        residual: of the update before; None for the first.
        precision: to send in.
    """
    wanted = update if residual is None else add(update, residual)
    sent = pack(wanted, precision)
    return sent, subtract(wanted, unpack(sent, wanted))
