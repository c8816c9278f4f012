"""How long a graph may run, and how much memory it may take.

ONNX Runtime looks at `RunOptions.terminate` between nodes, within loops too, and at a cancellation flag while it loads
a graph. It has no limit on memory but that of an arena of the process (`session.use_env_allocators`). An arena goes
when the last session does, so each session brings its own.
An arena's limit does not hold for memory that is planned before running (`enable_mem_pattern`), nor for constants that
are computed while loading (the optimiser `ConstantFolding`), so both are left out. Results are the same bits, and as
fast: decision 050 has the figures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from tegu.client.runtimes.limits.watchdog import stopped_after
from tegu.core.errors import RuntimeFailure, require

__all__ = ["MAX_SECONDS", "RunLimits", "StoppedRun", "seconds_for_a_run"]

MAX_SECONDS = 60.0
_LEAST_BYTES = 1 << 29
_SHARE_OF_MEMORY = 4

_seconds: ContextVar[float] = ContextVar("seconds_for_a_run", default=float("inf"))


class StoppedRun(RuntimeFailure):
    """A graph was stopped, because it ran too long."""


class RunLimits(NamedTuple):
    """Limits for graphs from a publisher who need not be trusted.

    Attributes:
        seconds: for loading a graph, and for one run of it.
        bytes: that one graph may take, without its inputs; 0 for a quarter of the machine's memory, or 512 MiB if that
            is more.
    """

    seconds: float = MAX_SECONDS
    bytes: int = 0

    def restrict(self, options: Any) -> None:
        """Set what `options`, ONNX Runtime's `SessionOptions`, can say about it."""
        options.enable_mem_pattern = False
        _limit_memory(self.bytes or _default_bytes())
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.add_session_config_entry("session.load_model_format", "ONNX")

    @property
    def left_out(self) -> list[str]:
        """Names of ONNX Runtime's optimisers that are left out."""
        return ["ConstantFolding"]

    @contextmanager
    def while_loading(self, options: Any) -> Iterator[None]:
        """Stop loading a session with these `SessionOptions` when the time is over.

        Raises:
            StoppedRun: it was stopped.
        """
        cancel = getattr(options, "set_load_cancellation_flag", lambda _: None)  # absent before ONNX Runtime 1.21
        with _explained(min(self.seconds, _seconds.get()), lambda: cancel(True)):
            yield

    @contextmanager
    def while_running(self, options: Any) -> Iterator[None]:
        """Stop a run with these `RunOptions` when the time is over.

        Raises:
            StoppedRun: it was stopped.
        """
        with _explained(min(self.seconds, _seconds.get()), lambda: setattr(options, "terminate", True)):
            yield


@contextmanager
def seconds_for_a_run(seconds: float) -> Iterator[None]:
    """Let every run within the block, in this thread, take at most `seconds`."""
    token = _seconds.set(seconds)
    try:
        yield
    finally:
        _seconds.reset(token)


@contextmanager
def _explained(seconds: float, stop: Callable[[], object]) -> Iterator[None]:
    with stopped_after(seconds, stop) as limit:
        try:
            yield
        except Exception as error:  # ONNX Runtime's exceptions have no common base class
            if not limit.passed:
                raise
            raise StoppedRun(
                f"it was stopped after {seconds:.3g} s: adapt on fewer interactions, allow more time, or run a bundle "
                "that you trust without limits, runtime=OnnxRuntime(bundle.graphs)"
            ) from error


def _limit_memory(most: int) -> None:
    """Register an arena for the sessions that are made next; those that are open keep theirs."""
    ort = require("onnxruntime", "onnx")
    device = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(device, ort.OrtArenaCfg({"max_mem": most, "arena_extend_strategy": 1}))


def _default_bytes() -> int:
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        memory = 0
    return max(memory // _SHARE_OF_MEMORY, _LEAST_BYTES)
