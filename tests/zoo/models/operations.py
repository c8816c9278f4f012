"""Tensor operations in a forward, between two linear layers."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from tests.zoo.entry import NUMBERS, SEQUENCE, Entry, module
from torch import Tensor, nn


def _between(name: str, function: Callable[[Tensor], Tensor], width: int = 6, refused: str | None = None) -> Entry:
    """`function` maps `[rows, 6]` to `[rows, width]`."""
    return Entry(
        name,
        lambda: module(
            lambda self, x: self.head(function(self.body(x))), body=nn.Linear(4, 6), head=nn.Linear(width, 3)
        ),
        NUMBERS,
        refused=refused,
    )


def _steps(name: str, function: Callable[[Tensor], Tensor], width: int = 4, refused: str | None = None) -> Entry:
    """`function` maps `[rows, 5, 4]` to `[rows, width]`."""
    return Entry(
        name,
        lambda: module(
            lambda self, x: self.head(function(x * self.scale)),
            scale=nn.Parameter(torch.randn(5, 4)),
            head=nn.Linear(width, 3),
        ),
        SEQUENCE,
        refused=refused,
    )


def _set_column(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, 0] = torch.sin(2 * x[:, 1])
    return torch.tanh(x)


def _set_block(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, 1:4] = x[:, :3]
    y[:, 4:] += x[:, 2:4]
    return y


def _in_place(x: Tensor) -> Tensor:
    x = x * 1.0
    x += 1
    x *= 0.5
    return x.tanh_()


def _masked(x: Tensor) -> Tensor:
    x = x.clone()
    x[x < 0] = 0.1
    return x


def _scattered(x: Tensor) -> Tensor:
    index = torch.tensor([0, 1, 0, 2, 1, 2]).expand(x.shape)
    return x.new_zeros((x.shape[0], 3)).scatter_add(1, index, x)


def _statistics(x: Tensor) -> Tensor:
    return torch.stack([x.mean(1), x.std(1), x.var(1, correction=0), x.norm(dim=1), x.amax(1), x.amin(1)], 1)


OPERATIONS = [
    _between("x[:, 0] = ...", _set_column),
    _between("blocks set in place", _set_block),
    _between("x += 1", _in_place),
    _between("x[x < 0] = ...", _masked),
    _between("masked_fill", lambda x: x.masked_fill(x > 0.5, 0.5)),
    _between("where", lambda x: torch.where(x > 0, x.square(), 0.1 * x)),
    _between("clamp", lambda x: x.clamp(-0.5, 0.8)),
    _between("maximum and minimum", lambda x: torch.maximum(x, x.flip(1)) - torch.minimum(x, x * x)),
    _between("cumsum", lambda x: torch.tanh(x.cumsum(1))),
    _between("cumprod", lambda x: x.cumprod(1)),
    _between("logcumsumexp", lambda x: torch.logcumsumexp(x, 1)),
    _between("einsum", lambda x: torch.einsum("bi,bj->bij", x[:, :3], x[:, 3:]).flatten(1), 9),
    _between("gather", lambda x: x.gather(1, x.argsort(1)[:, :3]), 3),
    _between("scatter_add", _scattered, 3),
    _between("topk", lambda x: x.topk(3, 1).values, 3),
    _between("sort", lambda x: x.sort(1).values),
    _between("argmax", lambda x: x * F.one_hot(x.argmax(1), 6)),
    _between("max along an axis", lambda x: torch.cat([x.max(1, keepdim=True).values, x], 1), 7),
    _between("median", lambda x: torch.cat([x.median(1, keepdim=True).values, x], 1), 7),
    _between("index_select", lambda x: x.index_select(1, torch.tensor([5, 0, 2])), 3),
    _between("indices of a list", lambda x: x[:, [0, 2, 2, 5]], 4),
    _between("slices with a step", lambda x: torch.cat([x[:, ::2], x[:, 1::2] ** 2], 1)),
    _between("roll and flip", lambda x: torch.tanh(x.roll(2, 1)) + x.flip(1)),
    _between(
        "chunk, split, unbind, stack",
        lambda x: torch.stack([*x.chunk(2, 1)[0].unbind(1), *x.split([4, 2], 1)[1].unbind(1)], 1).tanh(),
        5,
    ),
    _between("repeat, expand, tile", lambda x: x.repeat(1, 2).sin() + x.unsqueeze(1).expand(-1, 2, -1).flatten(1), 12),
    _between("statistics", _statistics),
    _between("logsumexp", lambda x: torch.cat([x.logsumexp(1, keepdim=True), x], 1), 7),
    _between("prod", lambda x: torch.cat([x.prod(1, keepdim=True), x], 1), 7),
    _between("powers and roots", lambda x: (x.abs() + 0.1) ** 1.5 + torch.sqrt(x.square() + 1) + x.pow(3)),
    _between("exp, log, expm1, log1p", lambda x: torch.exp(-x.square()) + torch.log1p(x.square()) + torch.expm1(x / 3)),
    _between("sin, cos, tan, atan", lambda x: torch.sin(x) + torch.cos(x) + torch.tan(x / 4) + torch.atan(x)),
    _between(
        "sinh, cosh, asinh, atan2",
        lambda x: torch.sinh(x) + torch.cosh(x) + torch.asinh(x) + torch.atan2(x, x.square() + 1),
    ),
    _between("erf, lgamma-free logit", lambda x: torch.erf(x) + torch.logit(torch.sigmoid(x), 1e-6)),
    _between("sign, floor, round, fmod", lambda x: x * (x.sign() + x.floor() + x.round()) + torch.fmod(x, 0.7)),
    _between("nan_to_num and lerp", lambda x: torch.lerp(torch.nan_to_num(x), x.square(), 0.3)),
    _between("bucketize", lambda x: x * torch.bucketize(x, torch.tensor([-0.5, 0.0, 0.5]))),
    _between("tril", lambda x: torch.tril(x.unsqueeze(2) * x.unsqueeze(1)).flatten(1), 36),
    _between("diagonal", lambda x: torch.diagonal(x.unsqueeze(2) * x.unsqueeze(1), dim1=1, dim2=2).tanh()),
    _between("cross", lambda x: torch.linalg.cross(x[:, :3], x[:, 3:]), 3),
    _between("squeeze of everything", lambda x: x.unsqueeze(1).squeeze()),
    _steps("bmm", lambda x: torch.bmm(x.transpose(1, 2), x).tanh().flatten(1), 16),
    _steps("tensordot and movedim", lambda x: torch.tensordot(x.movedim(1, 2), x.new_ones(5) / 5, 1)),
    _steps("differences of steps", lambda x: (x[:, 1:] - x[:, :-1]).abs().mean(1)),
    _steps("torch.diff", lambda x: torch.diff(x, dim=1).square().mean(1)),
    _steps("unfold of steps", lambda x: x.unfold(1, 3, 1).amax(-1).mean(1)),
    _steps("cumulative maximum", lambda x: torch.cummax(x, 1).values.mean(1)),
    _steps("fft", lambda x: torch.fft.rfft(x, dim=1).abs().mean(1), refused="complex"),
    _between("complex numbers", lambda x: torch.complex(x[:, :3], x[:, 3:]).abs(), 3, refused="complex"),
    _between(
        "sparse matrix", lambda x: torch.sparse.mm(torch.eye(6, dtype=x.dtype).to_sparse(), x.T).T, refused="sparse"
    ),
    _between("linalg.inv", lambda x: x @ torch.linalg.inv(torch.eye(6, dtype=x.dtype) * 2 + 0.1)),
    _between("linalg.solve", lambda x: torch.linalg.solve(torch.eye(6, dtype=x.dtype) * 2 + 0.1, x.T).T),
    _between("data-dependent branch", lambda x: x if x.sum() > 0 else -x, refused="depends on the data"),
]
