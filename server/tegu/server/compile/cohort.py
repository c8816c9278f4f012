"""The graphs batched over users (leading axis), for simulation. Never part of a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.func import vmap

from tegu.core.errors import CompileError
from tegu.learners.learner import Iterated, Learner, TorchBatch, TorchTree
from tegu.server.compile.check import check_graph
from tegu.server.compile.examples import example_batch, example_meta
from tegu.server.compile.loop import loop_model
from tegu.server.compile.naming import flat_batch, knob_tensors, named, pick, pick_batch
from tegu.server.compile.trace import Function, Named, trace

__all__ = ["CohortGraphs", "compile_cohort"]

_TRACED = (6, 13, 11, 0)  # users, support rows, query rows, padded support rows
_CHECKED = ((1, 2, 3, 0), (5, 4, 3, 1), (9, 10, 7, 3))

_AXES = {f"{part}.{field}": (0, 1) for part in ("support", "query") for field in ("x", "y", "mask")}


@dataclass(frozen=True)
class CohortGraphs:
    """Serialised ONNX over many users at once.

    Attributes:
        adapt: meta, support `[users, rows, ...]`, knobs -> state `[users, ...]`.
        predict: meta, state `[users, ...]`, x `[users, rows, ...]` -> output.
        update: meta, support, query, `weight` `[users]`, `clip` -> the weighted sum of clipped updates.
    """

    adapt: bytes
    predict: bytes
    update: bytes


def compile_cohort(learner: Learner) -> CohortGraphs:
    """The learner's graphs over many users, checked against torch one user at a time.

    Raises:
        CompileError: an operator of the model has no batched form (convolutions, recurrent layers), or a graph
            disagrees with torch. The graphs of a bundle, run user by user, serve then.
    """
    if learner.noise or not isinstance(learner.adapt, Iterated):
        raise CompileError(f"{learner.name} is not an iterated, noiseless learner: it runs user by user")
    traced = _inputs(learner, _TRACED, seed=0)
    cases = [_inputs(learner, sizes, seed=1 + i) for i, sizes in enumerate(_CHECKED)]
    adapt = _adapt_model(learner.adapt, traced)
    predict_in = {name: value for name, value in traced.items() if name.split(".")[0] in ("meta", "state", "x")}
    state_axes = {name: (0,) for name in predict_in if name.startswith("state.")}
    predict = trace(_predict(learner), predict_in, {**state_axes, "x": (0, 1)}, "cohort predict")
    update_in = {n: v for n, v in traced.items() if n.split(".")[0] in ("meta", "support", "query", "weight", "clip")}
    update = trace(_update(learner), update_in, {**_AXES, "weight": (0,)}, "cohort update")
    return CohortGraphs(
        check_graph(adapt, _reference_adapt(learner), cases, "cohort adapt"),
        check_graph(predict, _reference_predict(learner), cases, "cohort predict"),
        check_graph(update, _reference_update(learner), cases, "cohort update"),
    )


def compile_cohort_update(learner: Learner) -> bytes:
    """The batched `update` alone, for a learner that adapts and predicts like another one.

    Raises:
        CompileError: as `compile_cohort`.
    """
    traced = _inputs(learner, _TRACED, seed=0)
    cases = [_inputs(learner, sizes, seed=1 + i) for i, sizes in enumerate(_CHECKED)]
    update_in = {n: v for n, v in traced.items() if n.split(".")[0] in ("meta", "support", "query", "weight", "clip")}
    update = trace(_update(learner), update_in, {**_AXES, "weight": (0,)}, "cohort update")
    return check_graph(update, _reference_update(learner), cases, "cohort update")


def _none() -> Tensor:
    return torch.zeros(0)


def _adapt_model(adapt: Iterated, inputs: Named) -> onnx.ModelProto:
    def begin(values: Named) -> Named:
        users = values["support.mask"].shape[0]
        carry = adapt.begin(pick("meta", values))
        return named("carry", {name: value.expand(users, *value.shape).clone() for name, value in carry.items()})

    def step(values: Named) -> Named:
        meta, knobs = pick("meta", values), pick("knob", values)

        def one(carry: TorchTree, support: TorchBatch) -> TorchTree:
            return adapt.step(meta, carry, support, knobs, _none())

        return named("next", vmap(one)(pick("carry", values), pick_batch("support", values)))

    begin_in = {name: value for name, value in inputs.items() if name.startswith("meta.") or name == "support.mask"}
    step_in = {name: value for name, value in inputs.items() if name.split(".")[0] in ("meta", "support", "knob")}
    carry = begin(begin_in)
    return loop_model(
        trace(begin, begin_in, {"support.mask": (0, 1)}, "cohort adapt"),
        trace(step, {**step_in, **carry}, {**_AXES, **dict.fromkeys(carry, (0,))}, "cohort adapt"),
        list(pick("carry", carry)),
        list(adapt.finish(pick("carry", carry))),
    )


def _predict(learner: Learner) -> Function:
    def predict(values: Named) -> Named:
        meta = pick("meta", values)
        return {"output": vmap(lambda s, x: learner.predict(meta, s, x))(pick("state", values), values["x"])}

    return predict


def _weighted_sum(updates: TorchTree, weight: Tensor, limit: Tensor) -> Named:
    """Sum over users of `weight * clip(update)`; each user's whole update is clipped to the norm `limit`."""
    squares = torch.stack([value.square().flatten(1).sum(1) for value in updates.values()]).sum(0)
    factor = weight * (limit / squares.sqrt().clamp(min=1e-12)).clamp(max=1.0)
    return named("update", {name: torch.tensordot(factor, value, 1) for name, value in updates.items()})


def _update(learner: Learner) -> Function:
    def update(values: Named) -> Named:
        meta = pick("meta", values)
        per_user = vmap(lambda s, q: learner.update(meta, s, q, _none()))
        updates = per_user(pick_batch("support", values), pick_batch("query", values))
        return _weighted_sum(updates, values["weight"], values["clip"])

    return update


def _each_user(values: Named, prefix: str) -> list[TorchBatch]:
    batch = pick_batch(prefix, values)
    return [TorchBatch(*(part[user] for part in batch)) for user in range(len(batch.mask))]


def _stacked(results: list[TorchTree]) -> TorchTree:
    return {name: torch.stack([result[name] for result in results]) for name in results[0]}


def _reference_adapt(learner: Learner) -> Function:
    def adapt(values: Named) -> Named:
        meta, knobs = pick("meta", values), pick("knob", values)
        return named("state", _stacked([learner.adapt(meta, s, knobs, _none()) for s in _each_user(values, "support")]))

    return adapt


def _reference_predict(learner: Learner) -> Function:
    def predict(values: Named) -> Named:
        meta, states = pick("meta", values), pick("state", values)
        rows = [
            learner.predict(meta, {name: state[user] for name, state in states.items()}, x)
            for user, x in enumerate(values["x"])
        ]
        return {"output": torch.stack(rows)}

    return predict


def _reference_update(learner: Learner) -> Function:
    def update(values: Named) -> Named:
        meta = pick("meta", values)
        pairs = zip(_each_user(values, "support"), _each_user(values, "query"), strict=True)
        updates = _stacked([learner.update(meta, support, query, _none()) for support, query in pairs])
        return _weighted_sum(updates, values["weight"], values["clip"])

    return update


def _inputs(learner: Learner, sizes: tuple[int, int, int, int], seed: int) -> dict[str, Tensor]:
    users, support, query, padding = sizes
    rng = np.random.default_rng(seed)
    meta = example_meta(learner, rng)

    def batches(rows: int, padded: int) -> Mapping[str, Tensor]:
        drawn = [example_batch(learner.spec, rows, rng, padded) for _ in range(users)]
        return TorchBatch(*(torch.stack(parts) for parts in zip(*drawn, strict=True)))._asdict()

    whole = batches(support, padding)
    knobs = knob_tensors(learner.knobs)
    per_user = [TorchBatch(*(part[user] for part in whole.values())) for user in range(users)]
    return {
        **named("meta", meta),
        **named("support", whole),
        **flat_batch("query", TorchBatch(**batches(query, 0))),
        **named("state", _stacked([learner.adapt(meta, batch, knobs, _none()) for batch in per_user])),
        **named("knob", knobs),
        "x": batches(query, 0)["x"],
        "weight": torch.from_numpy(rng.uniform(0.5, 2, users).astype(np.float32)),
        "clip": torch.tensor(0.05),
    }
