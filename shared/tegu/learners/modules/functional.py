"""A `torch.nn.Module` as a pure function of its parameters."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.learners.learner import TorchTree
from tegu.learners.operators.exportable import Lookup, PlainOperators, from_table
from tegu.learners.parameters.dual_linear import dual_outputs, without_dual_state
from tegu.learners.parameters.substitute import substituted
from tegu.learners.parameters.table_rows import look_up, whole_parameters

__all__ = ["Applied", "adapted_parameter_names", "call", "initial_parameters"]


def call(model: nn.Module, parameters: TorchTree, x: Tensor, lookup: Lookup | None = None) -> Tensor:
    """The model's output for `x` with these parameters.

    Args:
        model: the module.
        parameters: all of them; of a table some rows may stand beside it, as `parameters.table_rows` has it, and beside
            a linear layer's weight what the layer gives, as `tegu.learners.parameters.dual_linear` has it.
        x: its input.
        lookup: what embeddings get for ids and a table; what `parameters` says, by default.
    """
    with PlainOperators(lookup or look_up(parameters), dual_outputs(parameters)):
        output: Tensor = substituted(model, without_dual_state(whole_parameters(parameters)))(x)
    return output


@dataclass(frozen=True)
class Applied:
    """A model with its parameters, as a function of its input; for `parameters` and `lookup` see `call`."""

    model: nn.Module
    parameters: TorchTree
    lookup: Lookup | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """The model's output for `x`."""
        return call(self.model, self.parameters, x, self.lookup)

    def catalogue(self, items: int) -> Tensor:
        """Scores `[items]` of all items, without looking up tables row by row."""
        ids = torch.arange(items, device=next(iter(self.parameters.values())).device)

        def rows(wanted: Tensor, table: Tensor) -> Tensor:
            return table if wanted is ids and len(ids) == len(table) else from_table(wanted, table)

        with PlainOperators(rows):
            scores: Tensor = substituted(self.model, self.parameters)(ids)
        return scores


def adapted_parameter_names(model: nn.Module, fast: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the parameters that adapt: all by default, or those that match one of the patterns in `fast`.

    Args:
        model: the module.
        fast: names or shell patterns (`"head.*"`); a module's name stands for all its parameters.

    Raises:
        DataError: a pattern that matches no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    if fast is None:
        return tuple(names)
    chosen: set[str] = set()
    for pattern in fast:
        matched = {n for n in names if fnmatch.fnmatchcase(n, pattern) or n.startswith(f"{pattern}.")}
        if not matched:
            raise DataError(f"adapted_parameters={pattern!r} matches no parameter: expected one of {', '.join(names)}")
        chosen |= matched
    return tuple(name for name in names if name in chosen)


def _reset(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()


def initial_parameters(model: nn.Module, seed: int) -> Tree:
    """Parameters drawn anew from `seed` by each module's own `reset_parameters`; those without one are kept.

    Children come before their parents, so that a module can overrule what its parts do by themselves.

    The global random state is left as it was.
    """
    fresh = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh.apply(_reset)
    return {name: parameter.detach().numpy().copy() for name, parameter in fresh.named_parameters()}
