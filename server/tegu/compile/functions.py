"""A learner's functions as graphs see them, from named tensors to named tensors, for one user and for many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor
from torch.func import vmap

from tegu.compile.named_tensors import Function, Named
from tegu.compile.tracing.naming import batch_under_prefix, under_prefix, with_prefix
from tegu.core.data.batch import Batch
from tegu.learners.learner import Iterated, Learner, TorchBatch, TorchTree
from tegu.learners.parameters.table_rows import fixed_entries, whole_parameters, whole_update

__all__ = [
    "BEGIN",
    "STEP",
    "Functions",
    "batched",
    "block_sums",
    "functions",
    "one_by_one",
    "step_identity",
    "touched_update",
    "update_arguments",
]

Functions: TypeAlias = Mapping[str, Function]
BEGIN, STEP = "adapt begin", "adapt step"


def functions(learner: Learner) -> dict[str, Function]:
    """The learner's functions for one user, by graph.

    `adapt` gives `state.<name>`, `predict` gives `output`, and `update` gives `update.<name>`. An `Iterated` adapt adds
    its two pieces: BEGIN gives `begin.<name>`, and STEP maps `carry.<name>` to `next.<name>`.
    """

    def adapt(values: Named) -> Named:
        meta, support, knobs = (
            under_prefix("meta", values),
            batch_under_prefix("support", values),
            under_prefix("knob", values),
        )
        return with_prefix("state", learner.adapt(meta, support, knobs, _noise(values)))

    def predict(values: Named) -> Named:
        return {"output": learner.predict(under_prefix("meta", values), under_prefix("state", values), values["x"])}

    def update(values: Named) -> Named:
        return with_prefix("update", whole_update(under_prefix("meta", values), touched_update(learner, values)))

    pieces = _pieces(learner.adapt) if isinstance(learner.adapt, Iterated) else {}
    return {"adapt": adapt, "predict": predict, "update": update, **pieces}


def touched_update(learner: Learner, values: Named) -> TorchTree:
    """The learner's update for one user. A table may come as `<name>/rows` and `<name>/ids` of the rows it touched."""
    return learner.update(*update_arguments(values))


def update_arguments(values: Named) -> tuple[TorchTree, TorchBatch, TorchBatch, Tensor]:
    """The arguments of `Learner.update`: meta, support, query and noise. A missing query becomes one without rows."""
    support = batch_under_prefix("support", values)
    row_axis = support.mask.dim() - 1
    if "query.x" in values:
        query = batch_under_prefix("query", values)
    else:
        query = Batch(*(field.narrow(row_axis, 0, 0) for field in support))
    return under_prefix("meta", values), support, query, _noise(values)


def step_identity(learner: Learner) -> str:
    """`Iterated.step_identity` of the learner's adapt; empty if it has no step."""
    return learner.adapt.step_identity if isinstance(learner.adapt, Iterated) else ""


def _pieces(adapt: Iterated) -> dict[str, Function]:
    def begin(values: Named) -> Named:
        return _cloned("begin", adapt.begin(under_prefix("meta", values), batch_under_prefix("support", values)))

    def step(values: Named) -> Named:
        meta, carry, support = (
            under_prefix("meta", values),
            under_prefix("carry", values),
            batch_under_prefix("support", values),
        )
        return _cloned("next", adapt.step(meta, carry, support, under_prefix("knob", values), _noise(values)))

    return {BEGIN: begin, STEP: step}


def _cloned(prefix: str, results: TorchTree) -> Named:
    # A graph's output must not be one of its inputs, and a step hands much of the carry on unchanged.
    return with_prefix(prefix, {name: value.clone() for name, value in results.items()})


def _noise(values: Named) -> Tensor:
    return values.get("noise", torch.zeros(0))


def batched(function: Function) -> Function:
    """`function` for many users in one call. Each user's inputs and all results have a leading axis of users."""

    def over_users(values: Named) -> Named:
        own, shared = _split_by_user(values)
        result: Named = vmap(lambda each: function({**shared, **each}))(own)
        return result

    return over_users


def one_by_one(function: Function) -> Function:
    """As `batched`, but computed user by user."""

    def over_users(values: Named) -> Named:
        own, shared = _split_by_user(values)
        users = range(len(next(iter(own.values()))))
        results = [function({**shared, **{name: value[user] for name, value in own.items()}}) for user in users]
        return {name: torch.stack([result[name] for result in results]) for name in results[0]}

    return over_users


def block_sums(updates: Function) -> Function:
    """Weighted sums of clipped updates over blocks of users.

    The function takes the inputs of `updates`, the weights `blocks` `[blocks, users]`, and `clip`, the largest norm of
    a user's whole update. It gives `update.<name>` `[blocks, ...]`. A table sent by rows is not summed: each user's
    rows are clipped and weighted, and stay beside their ids.
    """

    def total(values: Named) -> Named:
        found = dict(updates(values))
        ids, whole = fixed_entries(found), whole_parameters(found)
        moved = {name: value for name, value in found.items() if name not in ids}
        weights = values["blocks"] * _clip_factors(list(moved.values()), values["clip"])
        summed = {name: torch.tensordot(weights, value, 1) for name, value in whole.items()}
        rows = {name: _times_per_user(value, weights.sum(0)) for name, value in moved.items() if name not in whole}
        return _cloned("update", {**summed, **rows, **ids})

    return total


def _times_per_user(value: Tensor, factor: Tensor) -> Tensor:
    return value * factor.reshape(-1, *[1] * (value.dim() - 1))


def _clip_factors(updates: list[Tensor], limit: Tensor) -> Tensor:
    """Factors `[users]` that bring each user's norm to at most `limit`."""
    # Rows of one id add up in a table. All but one of them are zero, so the norm of the rows is the table's norm.
    squares = torch.stack([value.unsqueeze(-1).square().flatten(1).sum(1) for value in updates]).sum(0)
    return (limit / squares.sqrt().clamp(min=1e-12)).clamp(max=1.0)


def _split_by_user(values: Named) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs that each user has, and inputs that all users share."""
    per_user = ("support", "query", "state", "carry", "x", "noise")
    own = {name: value for name, value in values.items() if name.split(".", maxsplit=1)[0] in per_user}
    return own, {name: value for name, value in values.items() if name not in own}
