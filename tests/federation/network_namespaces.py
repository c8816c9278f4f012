"""Network namespaces of processes, read from the kernel."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_UNSHARE_OPTIONS: tuple[tuple[str, ...], ...] = ((), ("--user", "--map-root-user"))


def namespaces_permitted() -> bool:
    """Whether this system lets this user make a network namespace with loopback."""
    if shutil.which("unshare") is None:
        return False
    commands = [["unshare", "--net", *options, "sh", "-c", "ip link set lo up"] for options in _UNSHARE_OPTIONS]
    return any(subprocess.run(each, capture_output=True, check=False).returncode == 0 for each in commands)


def namespace(pid: int | str) -> str:
    """Name of the network namespace that a process is in."""
    return os.readlink(f"/proc/{pid}/ns/net")  # noqa: PTH115 # the target is not a path


def interfaces(pid: int | str) -> frozenset[str]:
    """Names of the network interfaces that a process has."""
    lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    return frozenset(line.split(":")[0].strip() for line in lines)
