"""A small network and steps on it, in plain torch, to compare learners with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from tests.learners.toys import mlp
from torch import Tensor, nn

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.learners.learner import Learner, TorchBatch, TorchTree

KINDS = {
    "classification": Spec.classification((4,), 3),
    "multilabel": Spec.multilabel((4,), 3),
    "regression": Spec.regression((4,), 3),
}
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "classification": F.cross_entropy,
    "multilabel": F.binary_cross_entropy_with_logits,
    "regression": F.mse_loss,
}


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return mlp()


def rows_of(kind: str, count: int, seed: int, dtype: torch.dtype = torch.float32) -> TorchBatch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=generator, dtype=dtype)
    drawn = torch.randint(3, (count,), generator=generator)
    if kind == "classification":
        return Batch(x, drawn, torch.ones(count, dtype=dtype))
    several = torch.rand(count, 3, generator=generator, dtype=dtype)
    y = several.gt(0.5).to(dtype) if kind == "multilabel" else 2 * several
    return Batch(x, y, torch.ones(count, dtype=dtype))


def forward(parameters: TorchTree, x: Tensor) -> Tensor:
    """What `network` computes."""
    hidden = torch.tanh(x @ parameters["0.weight"].T + parameters["0.bias"])
    return hidden @ parameters["2.weight"].T + parameters["2.bias"]


def loss_of(kind: str, parameters: TorchTree, batch: TorchBatch) -> Tensor:
    return LOSSES[kind](forward(parameters, batch.x), batch.y)


def slopes(loss: Tensor, parameters: TorchTree, names: Sequence[str], *, create_graph: bool = True) -> TorchTree:
    found = torch.autograd.grad(loss, [parameters[name] for name in names], create_graph=create_graph)
    return dict(zip(names, found, strict=True))


def variables(learner: Learner, dtype: torch.dtype = torch.float32) -> TorchTree:
    """The learner's first meta, a little away from where it starts, as leaves of a graph."""
    generator = torch.Generator().manual_seed(7)
    return {
        name: (torch.from_numpy(value).to(dtype) + 0.05 * torch.randn(value.shape, generator=generator, dtype=dtype))
        .detach()
        .requires_grad_()
        for name, value in learner.init(0).items()
    }


def plain(meta: TorchTree) -> TorchTree:
    return {name: value.detach() for name, value in meta.items()}


def assert_sums(learner: Learner, meta: TorchTree, kind: str) -> None:
    """The summed update of two users, one with padding, is the sum of their updates."""
    summed = learner.execution.summed_update
    assert summed is not None
    pairs = [(rows_of(kind, 5, seed), rows_of(kind, 4, seed + 9)) for seed in (1, 2)]
    noise = torch.randn(2, learner.noise, generator=torch.Generator().manual_seed(3))
    cut = [pairs[0], tuple(Batch(*(part[:-1] for part in side)) for side in pairs[1])]
    each = [learner.update(meta, *pair, own) for pair, own in zip(cut, noise, strict=True)]
    padded = [
        pairs[0],
        tuple(side._replace(mask=side.mask.index_fill(0, torch.tensor(len(side.mask) - 1), 0)) for side in pairs[1]),
    ]
    supports, queries = (Batch(*map(torch.stack, zip(*side, strict=True))) for side in zip(*padded, strict=True))
    total = summed.compute(meta, supports, queries, noise)
    for name, value in total.items():
        torch.testing.assert_close(value, each[0][name] + each[1][name], rtol=1e-4, atol=1e-6, msg=name)
