"""Which embedding tables a loss reads by look-up alone, and which of their rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.learners.learner import TorchBatch, TorchTree
from tegu.learners.modules.checks import example_rows
from tegu.learners.modules.functional import Applied
from tegu.learners.modules.losses import Loss
from tegu.learners.modules.parameter_reads import ParameterReads
from tegu.learners.operators.exportable import Lookup, from_table

__all__ = ["find_lookups", "looked_up"]

_WORTH = 32  # entries of a table for each look-up of an interaction: a smaller table is cheaper whole
_ROWS = 3


def find_lookups(
    model: nn.Module, loss: Loss, parameters: TorchTree, batch: TorchBatch, read: Lookup = from_table
) -> dict[str, list[Tensor]]:
    """The ids that the loss of `batch` looks up in each table, look-up by look-up.

    Args:
        model: the module.
        loss: as the inner loop takes it.
        parameters: of the model.
        batch: the rows.
        read: gives a table's rows.
    """
    names = {id(value): name for name, value in parameters.items()}
    found: dict[str, list[Tensor]] = {}

    def noting(ids: Tensor, table: Tensor) -> Tensor:
        if id(table) in names:
            found.setdefault(names[id(table)], []).append(ids)
        return read(ids, table)

    loss(Applied(model, parameters, noting), batch, None)
    return found


def looked_up(model: nn.Module, loss: Loss, spec: Spec, names: Sequence[str]) -> tuple[str, ...]:
    """Those of the parameters `names` that are tables better moved row by row.

    The loss reads them by `torch.nn.functional.embedding` alone, by ids that depend on its rows and on no parameter,
    and they are large for that.

    Args:
        model: the module.
        loss: as the inner loop takes it.
        spec: what the model takes and gives.
        names: of parameters.
    """
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    if not any(len(value) >= _WORTH for value in parameters.values() if value.dim() > 1):
        return ()
    batch = Batch(example_rows(spec.x, _ROWS), example_rows(spec.y, _ROWS), torch.ones(_ROWS))
    found, others = _watched(model, loss, parameters, batch)
    opposite, _ = _watched(model, loss, {name: -value for name, value in parameters.items()}, batch)
    fewer, _ = _watched(model, loss, parameters, Batch(*(part[:-1] for part in batch)))

    def by_row(name: str) -> bool:
        ids, others_ids, fewer_ids = (run.get(name, []) for run in (found, opposite, fewer))
        each = sum(one.numel() for one in ids) / _ROWS
        return (
            name not in others
            and 0 < each * _WORTH <= len(parameters[name])
            and sum(one.numel() for one in fewer_ids) == each * (_ROWS - 1)
            and len(ids) == len(others_ids)
            and all(torch.equal(*both) for both in zip(ids, others_ids, strict=True))
        )

    return tuple(name for name in names if by_row(name))


def _watched(
    model: nn.Module, loss: Loss, parameters: TorchTree, batch: TorchBatch
) -> tuple[dict[str, list[Tensor]], set[str]]:
    """`find_lookups`, and the names of the parameters that were used in another way."""
    same = {id(value): value.clone() for value in parameters.values()}  # to read without being watched
    uses = ParameterReads(parameters)
    with torch.no_grad(), uses:
        found = find_lookups(model, loss, parameters, batch, lambda ids, table: same.get(id(table), table)[ids])
    return found, uses.names
