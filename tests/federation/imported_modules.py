"""The modules that Python processes have imported. Each process writes its list when it ends."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

# Every Python process imports a module of this name at start, if it is on the path.
_SITECUSTOMIZE = """
import atexit, json, os, sys

def write_modules():
    record = {"program": os.path.basename(sys.argv[0]), "modules": sorted(sys.modules)}
    path = os.path.join(os.path.dirname(__file__), str(os.getpid()))
    with open(path, "w") as file:
        json.dump(record, file)
    os.replace(path, f"{path}.json")  # atomic, because the process may be killed while it writes

atexit.register(write_modules)
"""


class Imported(NamedTuple):
    """The program of a process, and the modules it had imported at its end."""

    program: str
    modules: frozenset[str]


@contextmanager
def record_imports(folder: Path) -> Iterator[None]:
    """Python processes started in this context write their imported modules to `folder` when they end."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path))
        yield


def recorded_imports(folder: Path) -> list[Imported]:
    """The records in `folder`."""
    record = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    return [Imported(each["program"], frozenset(each["modules"])) for each in record]
