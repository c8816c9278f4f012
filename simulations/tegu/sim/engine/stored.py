"""An engine in a file, so that a process that starts for one message need neither trace nor compile.

The file is numpy's `.npz`. It holds a description and, for the engine "onnx", the graphs batched over users. The engine
"onnx-loop" runs the bundle's own graphs. The engines in torch cannot be stored: they run a module's own code.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from tegu.core.bundle.file import Bundle
from tegu.core.bundle.version import version_of
from tegu.core.cohort_graphs import CohortGraphs
from tegu.core.errors import BundleError, DataError
from tegu.core.files import atomic_write
from tegu.sim.engine.backend import PlainExecution
from tegu.sim.engine.engine import Engine, UserBytes
from tegu.sim.engine.onnx_batched import OnnxBatched
from tegu.sim.engine.onnx_looped import OnnxLooped

__all__ = ["can_be_stored", "read_engine", "write_engine"]


def can_be_stored(engine: Engine) -> bool:
    """Whether `write_engine` takes the engine."""
    return isinstance(engine.backend, OnnxBatched | OnnxLooped)


def write_engine(path: Path, engine: Engine, bundle: Bundle) -> None:
    """Write an engine for the bundle's learner. An existing file is replaced.

    Args:
        path: the file.
        engine: one of ONNX graphs.
        bundle: of the same learner.

    Raises:
        DataError: the engine runs in torch.
        FileError: the file cannot be written.
    """
    if not can_be_stored(engine):
        raise DataError(f"the engine is {engine.backend.name}: make it with kind='onnx', which can be stored")
    graphs = asdict(engine.backend.graphs) if isinstance(engine.backend, OnnxBatched) else {}
    said = {
        "version": version_of(bundle),
        "backend": engine.backend.name,
        "memory": engine.memory,
        "summed_update_rows": graphs.pop("summed_update_rows", 0.0),
        "order_invariant": engine.execution.order_invariant,
        "merges_query": engine.execution.merges_query,
        "user_bytes": _line(engine.user_bytes),
        "summed_update_bytes": _line(engine.summed_update_bytes),
    }
    members = {"engine": json.dumps(said).encode(), **{name: data for name, data in graphs.items() if data is not None}}
    buffer, arrays = BytesIO(), {name: np.frombuffer(data, np.uint8) for name, data in members.items()}
    np.savez(buffer, allow_pickle=False, **arrays)
    atomic_write(path, buffer.getvalue())


def read_engine(path: Path, bundle: Bundle, workers: int) -> Engine:
    """The engine that `write_engine` wrote for this bundle.

    Its rows are not encoded in advance, which takes the learner's torch functions. That changes no figure.

    Args:
        path: the file.
        bundle: the bundle that the engine was written for, or a trained one of the same version.
        workers: number of threads.

    Raises:
        BundleError: the file cannot be read, or was written for another bundle.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            members = {name: stored[name].tobytes() for name in stored.files}
        said: dict[str, Any] = json.loads(members.pop("engine"))
        if said["version"] != version_of(bundle):
            raise ValueError("it was written for another bundle")  # noqa: TRY301 # one message for all faults
        rows = float(said["summed_update_rows"])
        looped = said["backend"] == "onnx-loop"
        backend = OnnxLooped(bundle.graphs) if looped else OnnxBatched(_graphs(members, rows))
        return Engine(
            backend,
            bundle.manifest,
            PlainExecution(bool(said["order_invariant"]), bool(said["merges_query"])),
            user_bytes=_function(*said["user_bytes"]),
            memory=int(said["memory"]),
            workers=workers,
            summed_update_bytes=_function(*said["summed_update_bytes"]),
        )
    except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile) as error:
        raise BundleError(f"{path} holds no engine for this bundle ({error}): write it with write_engine") from error


def _graphs(members: dict[str, bytes], rows: float) -> CohortGraphs:
    summed = members.get("summed_update")
    return CohortGraphs(members["adapt"], members["predict"], members["update"], summed, rows)


def _line(size: UserBytes) -> tuple[float, float]:
    """Bytes without rows, and for each row: sizes are linear in rows."""
    return size(0), size(1) - size(0)


def _function(fixed: float, each: float) -> UserBytes:
    return lambda rows: fixed + each * rows
