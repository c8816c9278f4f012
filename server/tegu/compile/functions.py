"""A learner's functions from named tensors to named tensors, as graphs see them: for one user, and for many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor
from torch.func import vmap

from tegu.compile.named_tensors import Function, Named
from tegu.compile.tracing.naming import named, pick, pick_batch
from tegu.core.data.batch import Batch
from tegu.learners.learner import Iterated, Learner, TorchBatch, TorchTree
from tegu.learners.parameters.table_rows import fixed_entries, whole_parameters, whole_update

__all__ = [
    "BEGIN",
    "STEP",
    "Functions",
    "batched",
    "block_sums",
    "episode",
    "functions",
    "one_by_one",
    "touched_update",
]

Functions: TypeAlias = Mapping[str, Function]
BEGIN, STEP = "adapt begin", "adapt step"


def functions(learner: Learner) -> dict[str, Function]:
    """The learner for one user, by graph.

    `adapt` gives `state.<name>`, `predict` `output`, `update` `update.<name>`. Of an iterated `adapt` there are also
    the pieces: BEGIN gives `begin.<name>`, STEP takes `carry.<name>` to `next.<name>`.
    """

    def adapt(values: Named) -> Named:
        meta, support, knobs = pick("meta", values), pick_batch("support", values), pick("knob", values)
        return named("state", learner.adapt(meta, support, knobs, _noise(values)))

    def predict(values: Named) -> Named:
        return {"output": learner.predict(pick("meta", values), pick("state", values), values["x"])}

    def update(values: Named) -> Named:
        return named("update", whole_update(pick("meta", values), touched_update(learner, values)))

    pieces = _pieces(learner.adapt) if isinstance(learner.adapt, Iterated) else {}
    return {"adapt": adapt, "predict": predict, "update": update, **pieces}


def touched_update(learner: Learner, values: Named) -> TorchTree:
    """The learner's update for one user as it gives it, tables perhaps by rows."""
    return learner.update(*episode(values))


def episode(values: Named) -> tuple[TorchTree, TorchBatch, TorchBatch, Tensor]:
    """Meta, support, query and noise; without a query, one of no rows."""
    support = pick_batch("support", values)
    rows = support.mask.dim() - 1  # the axis
    query = pick_batch("query", values) if "query.x" in values else Batch(*(p.narrow(rows, 0, 0) for p in support))
    return pick("meta", values), support, query, _noise(values)


def _pieces(adapt: Iterated) -> dict[str, Function]:
    def begin(values: Named) -> Named:
        return _own("begin", adapt.begin(pick("meta", values), pick_batch("support", values)))

    def step(values: Named) -> Named:
        meta, carry, support = pick("meta", values), pick("carry", values), pick_batch("support", values)
        return _own("next", adapt.step(meta, carry, support, pick("knob", values), _noise(values)))

    return {BEGIN: begin, STEP: step}


def _own(prefix: str, results: TorchTree) -> Named:
    # A graph's output may not be its input, which much of a carry is.
    return named(prefix, {name: value.clone() for name, value in results.items()})


def _noise(values: Named) -> Tensor:
    return values.get("noise", torch.zeros(0))


def batched(function: Function) -> Function:
    """`function` for many users in one call: users lead whatever is a user's, and every result."""

    def over_users(values: Named) -> Named:
        own, shared = _owners(values)
        result: Named = vmap(lambda each: function({**shared, **each}))(own)
        return result

    return over_users


def one_by_one(function: Function) -> Function:
    """As `batched`, user after user."""

    def over_users(values: Named) -> Named:
        own, shared = _owners(values)
        users = range(len(next(iter(own.values()))))
        results = [function({**shared, **{name: value[user] for name, value in own.items()}}) for user in users]
        return {name: torch.stack([result[name] for result in results]) for name in results[0]}

    return over_users


def block_sums(updates: Function) -> Function:
    """Sums over blocks of users of clipped updates; each user's whole update is clipped to the norm `clip`.

    Takes what `updates` takes, `blocks` `[blocks, users]` (how much a user counts in a block) and `clip`. Tables by
    rows are not summed: each user's rows, clipped and counted, stay beside their ids.
    """

    def total(values: Named) -> Named:
        found = dict(updates(values))
        ids, whole = fixed_entries(found), whole_parameters(found)
        moved = {name: value for name, value in found.items() if name not in ids}
        weights = values["blocks"] * _shrinkage(list(moved.values()), values["clip"])
        summed = {name: torch.tensordot(weights, value, 1) for name, value in whole.items()}
        rows = {name: _scaled(value, weights.sum(0)) for name, value in moved.items() if name not in whole}
        return _own("update", {**summed, **rows, **ids})

    return total


def _scaled(value: Tensor, factor: Tensor) -> Tensor:
    return value * factor.reshape(-1, *[1] * (value.dim() - 1))


def _shrinkage(updates: list[Tensor], limit: Tensor) -> Tensor:
    # Repeats of an id add up in a table, but all of them save one are zero.
    squares = torch.stack([value.unsqueeze(-1).square().flatten(1).sum(1) for value in updates]).sum(0)
    return (limit / squares.sqrt().clamp(min=1e-12)).clamp(max=1.0)


def _owners(values: Named) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What is a user's, and what all users share."""
    theirs = ("support", "query", "state", "carry", "x", "noise")
    own = {name: value for name, value in values.items() if name.split(".", maxsplit=1)[0] in theirs}
    return own, {name: value for name, value in values.items() if name not in own}
