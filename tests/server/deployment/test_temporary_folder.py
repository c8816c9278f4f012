"""A temporary folder is removed although another process still writes to it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tegu.core.errors import FederationError
from tegu.server.deployment.temporary_folder import temporary_folder

# Fills the folder with files for a second, and makes its subfolder again whenever it is gone.
_BUSY_WRITER = """
import pathlib, sys, time
folder, end, number = pathlib.Path(sys.argv[1]), time.monotonic() + 1.0, 0
print("writing", flush=True)
while time.monotonic() < end:
    number += 1
    try:
        (folder / "deep").mkdir(exist_ok=True)
        (folder / "deep" / str(number)).touch()
    except (FileNotFoundError, FileExistsError):  # mkdir, where it is removed between the failure and the look
        pass
"""


def test_the_folder_is_new_and_removed() -> None:
    with temporary_folder("tegu-test-") as folder:
        assert folder.is_dir()
        assert folder.name.startswith("tegu-test-")
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("text", "utf-8")
    assert not folder.exists()


def test_it_is_removed_after_an_error() -> None:
    with pytest.raises(FederationError), temporary_folder("tegu-test-") as folder:
        raise FederationError("any")
    assert not folder.exists()


def test_it_may_be_gone_already() -> None:
    with temporary_folder("tegu-test-") as folder:
        folder.rmdir()


def test_it_is_removed_while_a_process_writes() -> None:
    with temporary_folder("tegu-test-") as folder:
        writer = subprocess.Popen([sys.executable, "-c", _BUSY_WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
    assert not folder.exists()
    with writer:
        assert writer.wait() == 0


def test_removal_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = list[Path]()

    def failing_once(path: Path) -> None:
        tries.append(path)
        if len(tries) == 1:
            raise OSError(39, "Directory not empty", str(path))
        path.rmdir()

    monkeypatch.setattr(shutil, "rmtree", failing_once)
    with temporary_folder("tegu-test-") as folder:
        pass
    assert tries == [folder, folder]
    assert not folder.exists()


def test_a_folder_that_remains_is_named(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def failing(path: Path) -> None:
        raise OSError(39, "Directory not empty", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", failing)
        with temporary_folder("tegu-test-", patience=0.0) as folder:
            pass
    assert f"{folder} could not be removed" in caplog.text
    folder.rmdir()
