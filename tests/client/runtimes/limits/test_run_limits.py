"""Graphs that no check refuses are stopped when they run too long, or take too much memory."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from tests.client.graphs import linear_bundle, linear_rows
from tests.client.runtimes.limits import hostile

from tegu.client import OnnxRuntime, Personalizer
from tegu.client.adaptation.budget import adapt_within
from tegu.client.runtimes.limits.run_limits import RunLimits, StoppedRun, seconds_for_a_run
from tegu.client.runtimes.limits.watchdog import stopped_after
from tegu.core.data.batch import Array
from tegu.core.errors import RuntimeFailure

LIMITS = RunLimits(seconds=0.3, bytes=64 << 20)


def run(graph: bytes, limits: RunLimits = LIMITS) -> Array:
    runtime = OnnxRuntime({"g": graph}, limits=limits)
    return runtime.run("g", {"x": {"": np.ones(1, np.float32)}})["y"]


def test_a_sound_graph_runs() -> None:
    assert run(hostile.sound()).tolist() == [2]
    assert run(hostile.doubling(10)).tolist() == [1025]


def test_a_loop_whose_turns_are_computed_is_stopped() -> None:
    started = time.perf_counter()
    with pytest.raises(StoppedRun, match=r"the g graph took too long.*stopped after 0.3 s"):
        run(hostile.hidden_loop())
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "graph",
    [
        hostile.doubling(26),
        hostile.doubling(26, of="one"),  # constants, which would be computed while loading
        hostile.filled("ConstantOfShape", 1 << 26),
        hostile.filled("Expand", 1 << 26),
    ],
)
def test_memory_is_bounded(graph: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RuntimeFailure, match=r"the g graph failed.*memory"):
        run(graph, RunLimits(30, 64 << 20))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 128 << 10


def test_a_file_that_a_graph_names_is_not_read() -> None:
    with pytest.raises(RuntimeFailure, match="another file"):
        run(hostile.elsewhere("/etc/hostname", offset="0", length="4"))


def test_a_time_of_the_caller_is_kept() -> None:
    started = time.perf_counter()
    with seconds_for_a_run(0.05), pytest.raises(StoppedRun, match=r"after 0\.05 s"):
        run(hostile.hidden_loop(), RunLimits(60))
    assert time.perf_counter() - started < 5


def test_a_bundle_that_ignores_its_steps_does_not_ignore_the_budget() -> None:
    bundle = linear_bundle()
    x, y = linear_rows(4)
    endless = replace(bundle, graphs={**bundle.graphs, "adapt": _with_hidden_turns(bundle.graphs["adapt"])})
    with Personalizer.open(endless) as p:
        p.observe(x, y)
        started = time.perf_counter()
        with pytest.raises(RuntimeFailure, match="took too long"):
            p.adapt(budget_ms=5)
        assert time.perf_counter() - started < 5
        assert p.count == 4


def _with_hidden_turns(adapt: bytes) -> bytes:
    import onnx

    made = onnx.load_model_from_string(adapt)
    (loop,) = [node for node in made.graph.node if node.op_type == "Loop"]
    loop.input[0] = "turns"
    made.graph.initializer.append(hostile.constant("half", np.int64(1 << 31)))
    made.graph.node.insert(0, hostile.node("Mul", ["half", "half"], ["turns"]))
    return bytes(made.SerializeToString())


def test_a_second_run_that_is_stopped_leaves_the_first_step() -> None:
    def adapt(steps: int) -> dict[str, Array]:
        if steps > 1:
            raise StoppedRun("too long")
        return {"steps": np.array(steps)}

    state, steps = adapt_within(adapt, 100, 1000, time.perf_counter())
    assert (int(state["steps"]), steps) == (1, 1)


def test_the_watchdog_stops_the_late_one_alone() -> None:
    stopped = list[str]()
    with stopped_after(30, lambda: stopped.append("early")) as early:
        with stopped_after(0.02, lambda: stopped.append("late")) as late:
            time.sleep(0.3)
        with stopped_after(30, lambda: stopped.append("early")):
            pass
    assert (stopped, late.passed, early.passed) == (["late"], True, False)
    assert sum(thread.name == "tegu-watchdog" for thread in threading.enumerate()) == 1


def test_a_forked_child_has_a_watchdog_of_its_own() -> None:
    with stopped_after(30, lambda: None):
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            done = threading.Event()
            with stopped_after(0.02, done.set):
                os._exit(0 if done.wait(5) else 1)
    assert os.waitpid(child, 0)[1] == 0
