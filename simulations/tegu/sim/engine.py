"""Many users at once: adapt, predict and sum updates, as a few batched graph calls where the model allows it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

import numpy as np

from tegu.client.runtime_onnx import OnnxRuntime
from tegu.core.batch import Array, NumpyBatch, stack_batches
from tegu.core.episode import Episode
from tegu.core.errors import CompileError
from tegu.core.manifest import Knobs
from tegu.core.tree import Tree, add, clip
from tegu.learners.learner import Learner
from tegu.server.compile import CohortGraphs, compile_cohort, compile_cohort_update, compile_learner

__all__ = ["BatchedEngine", "Engine", "LoopedEngine", "engine_like", "make_engine"]

_log = logging.getLogger(__name__)
THREADS = 2
CHUNK = 128  # users a call: enough to fill the processor, few enough to stay in memory


class Engine(Protocol):
    """The learner's functions over many users; leading axis: users."""

    def sum_updates(self, meta: Tree, episodes: Sequence[Episode], limit: float) -> Tree:
        """The sum over users of their updates, each clipped to the norm `limit`."""

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs) -> Tree:
        """States `[users, ...]` from supports `[users, rows, ...]`."""

    def predict(self, meta: Tree, states: Tree, x: Array) -> Array:
        """Outputs `[users, rows, ...]` from states `[users, ...]` and inputs `[users, rows, ...]`."""


class BatchedEngine:
    """A whole chunk of users in one graph call.

    Args:
        graphs: from `compile_cohort`.
    """

    def __init__(self, graphs: CohortGraphs) -> None:
        self.graphs = graphs
        self._runtime = OnnxRuntime(
            {"adapt": graphs.adapt, "predict": graphs.predict, "update": graphs.update}, threads=THREADS
        )

    def sum_updates(self, meta: Tree, episodes: Sequence[Episode], limit: float) -> Tree:
        """See `Engine`; chunks are added up in order."""
        total: Tree | None = None
        for start in range(0, len(episodes), CHUNK):
            chunk = episodes[start : start + CHUNK]
            part = self._runtime.run(
                "update",
                {
                    "meta": meta,
                    "support": stack_batches([episode.support for episode in chunk])._asdict(),
                    "query": stack_batches([episode.query for episode in chunk])._asdict(),
                    "weight": {"": np.ones(len(chunk), np.float32)},
                    "clip": {"": np.asarray(limit, np.float32)},
                },
            )
            update = {name.removeprefix("update."): value for name, value in part.items()}
            total = update if total is None else add(total, update)
        assert total is not None  # noqa: S101 # a cohort has users
        return total

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs) -> Tree:
        """See `Engine`."""
        return self._runtime.adapt(meta, supports, knobs)

    def predict(self, meta: Tree, states: Tree, x: Array) -> Array:
        """See `Engine`."""
        return self._runtime.predict(meta, states, x)


class LoopedEngine:
    """The device's own graphs, user by user, on two threads (ONNX Runtime leaves Python's lock while it computes).

    Args:
        graphs: from `compile_learner`.
    """

    def __init__(self, graphs: dict[str, bytes]) -> None:
        self.graphs = graphs
        self._runtime = OnnxRuntime(graphs)

    def sum_updates(self, meta: Tree, episodes: Sequence[Episode], limit: float) -> Tree:
        """See `Engine`; users are added up in order."""
        self._runtime.load("update")
        total: Tree | None = None
        with ThreadPoolExecutor(THREADS) as pool:
            for update in pool.map(lambda episode: self._runtime.update(meta, *episode), episodes):
                clipped = clip(update, limit)
                total = clipped if total is None else add(total, clipped)
        assert total is not None  # noqa: S101 # a cohort has users
        return total

    def adapt(self, meta: Tree, supports: NumpyBatch, knobs: Knobs) -> Tree:
        """See `Engine`."""
        self._runtime.load("adapt")
        each = [NumpyBatch(*parts) for parts in zip(*supports, strict=True)]
        with ThreadPoolExecutor(THREADS) as pool:
            states = list(pool.map(lambda support: self._runtime.adapt(meta, support, knobs), each))
        return {name: np.stack([state[name] for state in states]) for name in states[0]}

    def predict(self, meta: Tree, states: Tree, x: Array) -> Array:
        """See `Engine`."""
        self._runtime.load("predict")

        def one(user: int) -> Array:
            return self._runtime.predict(meta, {name: state[user] for name, state in states.items()}, x[user])

        with ThreadPoolExecutor(THREADS) as pool:
            return np.stack(list(pool.map(one, range(len(x)))))


def make_engine(learner: Learner, device_graphs: dict[str, bytes]) -> BatchedEngine | LoopedEngine:
    """Batched where the learner's model has batched operators, user by user otherwise; the log says which and why."""
    try:
        return BatchedEngine(compile_cohort(learner))
    except CompileError as error:
        _log.info("%s runs user by user: %s", learner.name, error)
        return LoopedEngine(device_graphs)


def engine_like(engine: BatchedEngine | LoopedEngine, learner: Learner) -> BatchedEngine | LoopedEngine:
    """An engine of the same kind for a learner that adapts and predicts alike and only updates otherwise."""
    if isinstance(engine, BatchedEngine):
        return BatchedEngine(replace(engine.graphs, update=compile_cohort_update(learner)))
    return LoopedEngine({**engine.graphs, "update": compile_learner(learner)["update"]})
