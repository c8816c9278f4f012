"""What Flower's programs need around them: variables, configuration files, ports."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import tomli_w

from tegu.core.errors import MissingExtraError

__all__ = ["Scalar", "Table", "free_ports", "offline_environment", "program", "write_toml"]

Scalar: TypeAlias = bool | int | float | str
Table: TypeAlias = "Mapping[str, Scalar | Table]"

_OFFLINE = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # without it every Ray worker prints a FutureWarning
}
_QUICK = {
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.05",  # a second by default, and a task is waited for twice a round
    "OMP_NUM_THREADS": "1",  # the processes share the machine
    "PYTHONUNBUFFERED": "1",  # their logs are read while they run
    "NO_COLOR": "1",
    "TERM": "dumb",
}


def offline_environment(home: Path) -> dict[str, str]:
    """This process's environment, less proxies and a running Ray, plus what keeps Flower and Ray to this machine.

    Args:
        home: Flower's own folder.
    """
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and name != "RAY_ADDRESS"
    }
    # The SuperLink starts flower-superexec, and that flwr-serverapp, by name.
    return ours | _OFFLINE | _QUICK | {"PATH": _path(), "FLWR_HOME": str(home)}


def program(name: str) -> str:
    """Path of one of Flower's programs, this interpreter's own where it has it.

    Raises:
        MissingExtraError: it is not installed.
    """
    found = shutil.which(name, path=_path())
    if found is None:
        raise MissingExtraError(name, "sim")
    return found


def write_toml(path: Path, values: Table) -> Path:
    """Write a TOML file, and return its path. Flower's `name=value` arguments cannot carry every string; files can."""
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    return path


def free_ports(count: int) -> list[int]:
    """So many different TCP ports of 127.0.0.1 that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def _path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
