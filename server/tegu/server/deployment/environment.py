"""The environment of Flower's programs: environment variables, configuration files, ports, program paths."""

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
_PROCESS_SETTINGS = {
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.05",  # 1 s by default, which every round would wait twice
    "OMP_NUM_THREADS": "1",  # the processes share the machine
    "PYTHONUNBUFFERED": "1",  # the logs are read while the processes run
    "NO_COLOR": "1",
    "TERM": "dumb",
}


def offline_environment(home: Path) -> dict[str, str]:
    """This process's environment, changed so that Flower and Ray contact no other machine.

    Proxies and the address of a running Ray are removed. Telemetry, update checks and installations are switched off.

    Args:
        home: folder for Flower's own files.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and name != "RAY_ADDRESS"
    }
    # PATH: the SuperLink starts flower-superexec by name, which starts flwr-serverapp by name.
    return inherited | _OFFLINE | _PROCESS_SETTINGS | {"PATH": _search_path(), "FLWR_HOME": str(home)}


def program(name: str) -> str:
    """Path of one of Flower's programs. The one installed with this interpreter comes first.

    Raises:
        MissingExtraError: the program is not installed.
    """
    found = shutil.which(name, path=_search_path())
    if found is None:
        raise MissingExtraError(name, "sim")
    return found


def write_toml(path: Path, values: Table) -> Path:
    """Write a TOML file and return its path. Unlike Flower's `name=value` arguments, a file can hold every string."""
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    return path


def free_ports(count: int) -> list[int]:
    """`count` different free TCP ports of 127.0.0.1."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _search_path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
