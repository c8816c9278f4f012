"""How much memory this process has taken at most."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

__all__ = ["peak_mebibytes"]

_STATUS = Path("/proc/self/status")


def peak_mebibytes() -> float:
    """The largest resident size, in MiB.

    Linux's `ru_maxrss` begins at the size of the parent at the fork; its `VmHWM` is this program's alone.
    """
    if _STATUS.exists():
        return int(re.findall(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())[0]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere
