"""A lock of a file: one holder at a time, gone with its process."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.core.samples import refused

from tegu.core.errors import FileError
from tegu.core.file_lock import file_lock

HOLD = """
import sys, time
from pathlib import Path
from tegu.core.file_lock import file_lock

with file_lock(Path(sys.argv[1])) as held:
    print(held, flush=True)
    time.sleep(60)
"""


def test_a_second_holder_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_lock(path) as first:
        with file_lock(path) as second:
            assert (first, second) == (True, False)
        with file_lock(path) as third:
            assert not third, "a refusal does not release it"
    with file_lock(path) as again:
        assert again
    assert not path.exists()


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with file_lock(path) as held:
            assert not held
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.exists()
    with file_lock(path) as held:
        assert held


@pytest.mark.parametrize("name", ["absent/lock", "nul\0/lock"])
def test_a_path_that_cannot_be_written_is_an_error(tmp_path: Path, name: str) -> None:
    with refused(FileError, "choose a writable folder"), file_lock(tmp_path / name):
        pass
