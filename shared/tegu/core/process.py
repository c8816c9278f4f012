"""What the operating system says of this process: its processors and its peak memory."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from tegu.core.errors import PlatformError, require

__all__ = ["peak_memory", "require_os", "rusage_mebibytes", "usable_cpus"]

_STATUS = Path("/proc/self/status")


def usable_cpus() -> int:
    """The number of processors this process may use; where the system does not say, those of the machine."""
    affinity = getattr(os, "sched_getaffinity", None)  # absent on macOS and Windows
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def peak_memory() -> float:
    """The largest resident size this process has had since it became this program, in MiB.

    On Linux that is `VmHWM`. `ru_maxrss` survives `exec`: it also counts the program that this process was before,
    often a copy of a larger parent. It is used only where there is no `VmHWM`, and psutil where there is neither.

    Raises:
        MissingExtraError: this system needs psutil, which is not installed.
    """
    found = re.search(r"^VmHWM:\s+(\d+) kB", _status(), re.MULTILINE)
    if found is not None:
        return int(found[1]) / 2**10
    try:
        import resource  # noqa: PLC0415 # Unix only
    except ImportError:
        return float(require("psutil", "sim").Process().memory_info().peak_wset) / 2**20  # Windows
    return rusage_mebibytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def rusage_mebibytes(maxrss: int) -> float:
    """MiB from the `ru_maxrss` of `getrusage` or `wait4`: bytes on macOS, KiB elsewhere."""
    return maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def require_os(name: str, purpose: str) -> None:
    """Refuse a system whose `os` module lacks a function.

    Args:
        name: of the function in `os`.
        purpose: what needs it, as the subject of the message.

    Raises:
        PlatformError: this system does not have it.
    """
    if not hasattr(os, name):
        raise PlatformError(f"{purpose} needs os.{name}, which {sys.platform} does not have: run it on Linux")


def _status() -> str:
    try:
        return _STATUS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
