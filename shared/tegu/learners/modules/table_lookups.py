"""Finding the embedding tables that a loss reads by look-up only, and the rows that it looks up."""

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

__all__ = ["find_lookups", "find_row_tables"]

_MIN_ENTRIES_PER_LOOKUP = 32  # table entries per look-up of an interaction; smaller tables are cheaper whole
_ROWS = 3


def find_lookups(
    model: nn.Module, loss: Loss, parameters: TorchTree, batch: TorchBatch, read: Lookup = from_table
) -> dict[str, list[Tensor]]:
    """The ids that the loss of `batch` looks up in each table, one tensor per look-up, in order.

    Args:
        model: the module.
        loss: the loss per row.
        parameters: parameters of the module.
        batch: the rows.
        read: returns rows of a table, (ids, table) -> rows.
    """
    names = {id(value): name for name, value in parameters.items()}
    found: dict[str, list[Tensor]] = {}

    def record_ids(ids: Tensor, table: Tensor) -> Tensor:
        if id(table) in names:
            found.setdefault(names[id(table)], []).append(ids)
        return read(ids, table)

    loss(Applied(model, parameters, record_ids), batch, None)
    return found


def find_row_tables(model: nn.Module, loss: Loss, spec: Spec, names: Sequence[str]) -> tuple[str, ...]:
    """The tables among the parameters `names` that are cheaper to adapt by rows.

    The loss reads such a table only through `torch.nn.functional.embedding`. The ids depend on the rows and on no
    parameter. The table has at least 32 entries per look-up of a row.

    Args:
        model: the module.
        loss: the loss per row.
        spec: the model's inputs and outputs.
        names: names of parameters.
    """
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    if not any(len(value) >= _MIN_ENTRIES_PER_LOOKUP for value in parameters.values() if value.dim() > 1):
        return ()
    batch = Batch(example_rows(spec.x, _ROWS), example_rows(spec.y, _ROWS), torch.ones(_ROWS))
    found, others = _record_reads(model, loss, parameters, batch)
    negated, _ = _record_reads(model, loss, {name: -value for name, value in parameters.items()}, batch)
    fewer, _ = _record_reads(model, loss, parameters, Batch(*(part[:-1] for part in batch)))

    def is_row_table(name: str) -> bool:
        ids, others_ids, fewer_ids = (run.get(name, []) for run in (found, negated, fewer))
        lookups = sum(one.numel() for one in ids) / _ROWS
        return (
            name not in others
            and 0 < lookups * _MIN_ENTRIES_PER_LOOKUP <= len(parameters[name])
            and sum(one.numel() for one in fewer_ids) == lookups * (_ROWS - 1)
            and len(ids) == len(others_ids)
            and all(torch.equal(*both) for both in zip(ids, others_ids, strict=True))
        )

    return tuple(name for name in names if is_row_table(name))


def _record_reads(
    model: nn.Module, loss: Loss, parameters: TorchTree, batch: TorchBatch
) -> tuple[dict[str, list[Tensor]], set[str]]:
    """The result of `find_lookups`, and the names of the parameters that were used in another way."""
    copies = {id(value): value.clone() for value in parameters.values()}  # reading a copy is not recorded
    reads = ParameterReads(parameters)
    with torch.no_grad(), reads:
        found = find_lookups(model, loss, parameters, batch, lambda ids, table: copies.get(id(table), table)[ids])
    return found, reads.names
