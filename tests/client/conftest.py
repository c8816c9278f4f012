from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.client.graphs import linear_bundle

from tegu.core.bundle.file import write_bundle

_NOBODY = 65534


@pytest.fixture
def linear_file(tmp_path: Path) -> Path:
    """A bundle on the disk."""
    path = tmp_path / "init.tegu"
    write_bundle(path, linear_bundle())
    return path


@pytest.fixture
def run_script() -> Callable[..., subprocess.Popen[str]]:
    """Start a python process on some source text, with arguments; the caller waits for it."""

    def start(source: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-c", source, *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that other users can reach, which pytest's own folders are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    folder.chmod(0o777)
    shutil.rmtree(folder)


@pytest.fixture
def unprivileged() -> Callable[[], object]:
    """A context in which file permissions count, even where the tests are run by root."""

    @contextmanager
    def enter() -> Iterator[None]:
        was = os.geteuid()
        if was == 0:
            os.seteuid(_NOBODY)
        try:
            yield
        finally:
            os.seteuid(was)

    return enter
