"""Pieces along an axis under vmap have torch's values, and gradients of first and second order."""

from __future__ import annotations

import pytest
import torch
from torch.func import grad, vmap

from tegu.learners.operators.exportable import PlainOperators

X = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
SHARED = torch.ones(1, 5, 4)

PIECES = {
    "cat": lambda x: torch.cat([x, 2 * x[:1], SHARED], 0),
    "cat_last": lambda x: torch.cat((x, x * x), -1),
    "cat_expanded": lambda x: torch.cat([SHARED[0, 0].expand(3, 1, 4), x], dim=1),
    "cat_dtypes": lambda x: torch.cat([x, torch.ones(3, 5, 1, dtype=torch.int64)], 2),
    "cat_empty": lambda x: torch.cat([torch.zeros(0), x]),
    "chunk": lambda x: x.chunk(3, 1)[1] * x.chunk(3, dim=1)[0],
    "split": lambda x: x.split([1, 3], -1)[1],
    "split_equal": lambda x: torch.split(x, 2, dim=1)[2],
    "narrow": lambda x: x.narrow(1, 1, 3),
    "narrow_from_the_end": lambda x: torch.narrow(x, -1, -2, 2),
    "slice": lambda x: x[:, 1:3],
    "steps": lambda x: x[:, 1::2, ::3],
    "mixed": lambda x: x[..., None, -1, :-1],
    "numbers": lambda x: x[0, :, 1],
    "nothing": lambda x: x[:, 3:3].sum() + x,
    "beyond": lambda x: x[:, 2:99],
    "list": lambda x: x[:, [0, 2]],
}


@pytest.mark.parametrize("name", PIECES)
def test_pieces(name):
    function = PIECES[name]

    def gradient(x):
        return grad(lambda own: (function(own) * function(own).sin()).sum())(x)

    def second(x):
        return grad(lambda own: gradient(own).square().sum())(x)

    for derived in (function, gradient, second):
        expected = torch.stack([derived(x) for x in X])
        with PlainOperators():
            found = vmap(derived)(X)
        torch.testing.assert_close(found, expected)
