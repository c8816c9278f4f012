"""An engine by name, or the fastest for a cohort."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

from tegu.compile import compile_cohort, compile_cohort_updates, compile_learner, manifest_of
from tegu.core.data.tree import Tree
from tegu.core.errors import CompileError, UnknownNameError
from tegu.learners.learner import Learner
from tegu.learners.threads import one_thread
from tegu.sim.data.cohort import Cohort
from tegu.sim.engine.backend import Backend
from tegu.sim.engine.encoded_rows import make_encoder
from tegu.sim.engine.engine import BLOCK_BYTES, MEMORY, Engine
from tegu.sim.engine.footprint import footprint, summed_update_footprint
from tegu.sim.engine.in_torch import TorchBatched, TorchLooped
from tegu.sim.engine.onnx_batched import OnnxBatched
from tegu.sim.engine.onnx_looped import OnnxLooped

__all__ = ["EngineKind", "check_engine", "engine_like", "fastest", "make_engine"]

_CALLS = 5  # timed calls after the first, which allocates; the least excludes delays by other processes
_INTERPRETED = 8  # how much more one call of torch computes than one of a graph: Python takes long for each operator
_log = logging.getLogger(__name__)
EngineKind: TypeAlias = Literal["onnx", "onnx-loop", "torch-vmap", "torch-loop"]


def check_engine(name: str) -> None:
    """Raise an error unless `name` is a kind of engine or "auto".

    Raises:
        UnknownNameError: the message suggests the nearest name.
    """
    if name not in (*get_args(EngineKind), "auto"):
        raise UnknownNameError("engine", name, (*get_args(EngineKind), "auto"))


@one_thread()
def make_engine(
    learner: Learner, device_graphs: Mapping[str, bytes], kind: EngineKind = "onnx", memory: int = MEMORY
) -> Engine:
    """An engine of the given kind.

    If the model has no batched form, "onnx" runs user by user, and the log states the reason. Graphs are written with
    one thread: their examples have a few rows, for which waking torch's threads takes longer than computing.

    Args:
        learner: the learner to run.
        device_graphs: result of `compile_learner`.
        kind: the backend.
        memory: memory limit in bytes for users processed at once; see `Engine`.
    """
    return _engine(_backend(learner, device_graphs, kind), learner, memory)


def _engine(backend: Backend, learner: Learner, memory: int) -> Engine:
    sums = backend.summed_update(0) is not None  # otherwise what a sum takes is not worth measuring
    engine = Engine(
        backend,
        manifest_of(learner),
        learner.execution,
        user_bytes=footprint(learner),
        memory=memory,
        summed_update_bytes=summed_update_footprint(learner) if sums else lambda rows: 0.0,
    )
    encoder = make_encoder(engine, learner)
    if isinstance(backend, TorchBatched):
        last = encoder is not None and encoder.channels_last  # no user has an embedding of its own
        most = max(BLOCK_BYTES, min(_INTERPRETED * BLOCK_BYTES, memory // engine.workers))
        engine = replace(engine, backend=replace(backend, channels_last=last), summed_bytes=most)
    return replace(engine, encoder=encoder)


def _backend(learner: Learner, device_graphs: Mapping[str, bytes], kind: EngineKind) -> Backend:
    if kind == "torch-vmap":
        return TorchBatched(learner)
    if kind == "torch-loop":
        return TorchLooped(learner)
    if kind == "onnx-loop":
        return OnnxLooped(device_graphs)
    try:
        return OnnxBatched(compile_cohort(learner))
    except CompileError as error:
        _log.info("%s runs user by user: %s", learner.name, error)
        return OnnxLooped(device_graphs)


def engine_like(engine: Engine, learner: Learner) -> Engine:
    """An engine of the same kind for a learner that differs in its update alone."""
    return replace(_engine(_backend_like(engine.backend, learner), learner, engine.memory), workers=engine.workers)


def _backend_like(backend: Backend, learner: Learner) -> Backend:
    if isinstance(backend, OnnxBatched):
        return OnnxBatched(compile_cohort_updates(learner, backend.graphs))
    if isinstance(backend, OnnxLooped):
        return OnnxLooped({**backend.graphs, "update": compile_learner(learner)["update"]})
    return TorchBatched(learner) if isinstance(backend, TorchBatched) else TorchLooped(learner)


def fastest(
    learner: Learner,
    device_graphs: Mapping[str, bytes],
    meta: Tree,
    cohort: Cohort,
    memory: int = MEMORY,
    report: Callable[[str], None] = _log.info,
) -> Engine:
    """The engine that sums this cohort's updates in the least time.

    Each engine's time is the least of five calls after a first one. If two engines are close, the choice can differ
    from run to run, and with it the last bits of the learned parameters. Name an engine to get the same bits each time.

    Args:
        learner: the learner to run.
        device_graphs: result of `compile_learner`.
        meta: the initialisation.
        cohort: the users whose updates are summed.
        memory: memory limit in bytes for users processed at once; see `Engine`.
        report: called with the choice and all times, as one line of text.
    """
    engines = [make_engine(learner, device_graphs, kind, memory) for kind in get_args(EngineKind)]
    timed = sorted(((_seconds(engine, meta, cohort), engine) for engine in engines), key=lambda pair: pair[0])
    times = ", ".join(f"{engine.backend.name} {1000 * seconds:.1f} ms" for seconds, engine in timed)
    best = timed[0][1]
    report(f"engine {best.backend.name}: the fastest for the first {len(cohort.users)} users ({times})")
    return best


def _seconds(engine: Engine, meta: Tree, cohort: Cohort) -> float:
    """The least time of several calls after a first; infinity if vmap meets an operator without a batched form."""
    try:
        return min([_timed(engine, meta, cohort) for _ in range(1 + _CALLS)][1:])
    except RuntimeError:
        return math.inf


def _timed(engine: Engine, meta: Tree, cohort: Cohort) -> float:
    began = time.perf_counter()
    engine.sum_updates(meta, cohort, math.inf)
    return time.perf_counter() - began
