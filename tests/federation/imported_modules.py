"""What the Python processes of a federation import, as they tell it themselves when they end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

# Python imports a module of this name when it starts, in every process that finds it on its path.
_SITECUSTOMIZE = """
import atexit, json, os, sys

def tell():
    said = {"program": os.path.basename(sys.argv[0]), "modules": sorted(sys.modules)}
    path = os.path.join(os.path.dirname(__file__), str(os.getpid()))
    with open(path, "w") as file:
        json.dump(said, file)
    os.replace(path, f"{path}.json")  # whole or not at all: it may be killed while it writes

atexit.register(tell)
"""


class Imported(NamedTuple):
    """A process's program and all modules it had at its end."""

    program: str
    modules: frozenset[str]


@contextmanager
def told_at_exit(folder: Path) -> Iterator[None]:
    """Python processes that are started meanwhile write down what they have imported when they end."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path))
        yield


def told(folder: Path) -> list[Imported]:
    """What they have written."""
    said = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    return [Imported(each["program"], frozenset(each["modules"])) for each in said]
