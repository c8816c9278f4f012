"""Sums of updates over blocks of users where none is clipped: nobody's own update need be written out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import vmap

from tegu.learners.learner import TorchTree
from tegu.learners.spans import spans_in, without_spans
from tegu.server.compile.capture import Function, Named
from tegu.server.compile.naming import named

__all__ = ["arranged", "free_sums", "one_user_after_the_other"]

_THEIRS = ("support.", "query.")


def free_sums(update: Callable[[Named], TorchTree]) -> Function:
    """Sums `[blocks, ...]` of what `update` gives for users `[blocks, users, ...]`.

    A block that is not full has users without a real row; their updates are zero.

    Args:
        update: one user's; weights may be given by spans, whose products then add up as one product a block.
    """

    def total(values: Named) -> Named:
        own, shared = _owners(values)
        blocks = next(iter(own.values())).shape[0]
        flat = {name: value.flatten(0, 1) for name, value in own.items()}
        found: TorchTree = vmap(lambda each: update({**shared, **each}))(flat)
        sums = {name: _in_blocks(value, blocks).sum(1) for name, value in without_spans(found).items()}
        for name, (inputs, pulls) in spans_in(found).items():
            sums[name] = _side_by_side(pulls, blocks).transpose(1, 2) @ _side_by_side(inputs, blocks)
        return named("update", {name: value.clone() for name, value in sums.items()})

    return total


def arranged(values: Named, users: int) -> dict[str, Tensor]:
    """Inputs of many users, with so many to a block."""
    return {
        name: value.reshape(-1, users, *value.shape[1:]) if name.startswith(_THEIRS) else value
        for name, value in values.items()
    }


def one_user_after_the_other(update: Function) -> Function:
    """As `free_sums`, in the plainest way: `update` gives `update.<name>`, whole."""

    def total(values: Named) -> Named:
        own, shared = _owners(values)
        blocks, users = next(iter(own.values())).shape[:2]
        each = [
            [update({**shared, **{name: value[block, user] for name, value in own.items()}}) for user in range(users)]
            for block in range(blocks)
        ]
        return {
            name: torch.stack([torch.stack([one[name] for one in row]).sum(0) for row in each]) for name in each[0][0]
        }

    return total


def _owners(values: Named) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    own = {name: value for name, value in values.items() if name.startswith(_THEIRS)}
    return own, {name: value for name, value in values.items() if name not in own}


def _in_blocks(value: Tensor, blocks: int) -> Tensor:
    return value.reshape(blocks, -1, *value.shape[1:])


def _side_by_side(value: Tensor, blocks: int) -> Tensor:
    """The rows of all users of a block: `[users, rows, ...]` -> `[blocks, users * rows, ...]`."""
    return value.reshape(blocks, -1, *value.shape[2:])
