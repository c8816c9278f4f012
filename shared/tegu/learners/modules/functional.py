"""A `torch.nn.Module` as a pure function of its parameters."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tegu.learners.learner import TorchTree
from tegu.learners.operators.exportable import Lookup, PlainOperators, from_table
from tegu.learners.parameters.dual_linear import dual_outputs, without_dual_state
from tegu.learners.parameters.substitute import substituted
from tegu.learners.parameters.table_rows import look_up, whole_parameters

__all__ = ["Applied", "Given", "call"]


def call(model: nn.Module, parameters: TorchTree, x: Tensor, lookup: Lookup | None = None) -> Tensor:
    """The model's output for `x` with these parameters.

    Args:
        model: the module.
        parameters: all parameters of the module. Changed rows may accompany a table (see `parameters.table_rows`), and
            a layer's output may accompany its weight (see `parameters.dual_linear`).
        x: the model's input `[rows, ...]`.
        lookup: the function that returns rows for embeddings, (ids, table) -> rows. None uses `parameters`.
    """
    with PlainOperators(lookup or look_up(parameters), dual_outputs(parameters)):
        output: Tensor = substituted(model, without_dual_state(whole_parameters(parameters)))(x)
    return output


@dataclass(frozen=True, repr=False)
class Applied:
    """A model with its parameters, as a function of its input; see `call` for `parameters` and `lookup`."""

    model: nn.Module
    parameters: TorchTree
    lookup: Lookup | None = None

    def __repr__(self) -> str:
        return f"Applied({type(self.model).__name__}, {len(self.parameters)} parameters)"

    def __call__(self, x: Tensor) -> Tensor:
        """The model's output for `x`."""
        return call(self.model, self.parameters, x, self.lookup)

    def catalogue(self, items: int) -> Tensor:
        """Scores `[items]` of all items, computed from whole tables rather than row by row."""
        ids = torch.arange(items, device=next(iter(self.parameters.values())).device)

        def rows(requested: Tensor, table: Tensor) -> Tensor:
            return table if requested is ids and len(ids) == len(table) else from_table(requested, table)

        with PlainOperators(rows):
            scores: Tensor = substituted(self.model, self.parameters)(ids)
        return scores


@dataclass(frozen=True, repr=False)
class Given(Applied):
    """Outputs that were computed before, in the model's place."""

    output: Tensor = field(kw_only=True)

    def __call__(self, x: Tensor) -> Tensor:
        """The outputs, whatever `x` is."""
        del x
        return self.output
