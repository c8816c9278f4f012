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


def adapted_parameter_names(model: nn.Module, patterns: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the parameters that adapt: those that match one of `patterns`, in the order of the module.

    Args:
        model: the module.
        patterns: names or shell patterns (`"head.*"`); a module's name matches all its parameters. None means
            all.

    Raises:
        DataError: a pattern matches no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    if patterns is None:
        return tuple(names)
    chosen: set[str] = set()
    for pattern in patterns:
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
    """Initial parameters, drawn from `seed` by each module's `reset_parameters`; float32 numpy arrays.

    Parameters of modules without that method keep their values. Children are reset before their parents, so that a
    module can override the initialisation of its parts. The global random state does not change.
    """
    fresh = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh.apply(_reset)
    return {name: parameter.detach().numpy().copy() for name, parameter in fresh.named_parameters()}
