"""Whether a folder's run is done, and whether a run has the folder now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tegu.server.training.run_folder import check_run, finish_run, hold_folder, is_done, is_held

RECORD: dict[str, Any] = {"plan": {"rounds": 3, "seed": 0, "calibration-ks": "1,5"}, "start": {"first parameters": "a"}}
HOLD = """
import sys
from pathlib import Path
from tegu.server.training.run_folder import hold_folder
with hold_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_only_a_finished_run_of_the_very_same_record_is_done(tmp_path: Path) -> None:
    assert not is_done(tmp_path, RECORD)
    check_run(tmp_path, RECORD)
    assert not is_done(tmp_path, RECORD)
    finish_run(tmp_path)
    assert is_done(tmp_path, RECORD)
    for changed in ({"rounds": 4}, {"calibration-ks": "1"}):
        assert not is_done(tmp_path, {**RECORD, "plan": {**RECORD["plan"], **changed}})


def test_a_folder_is_held_as_long_as_its_run_lives(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with hold_folder(tmp_path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        run.stdout.readline()
        assert is_held(tmp_path)
        run.kill()
        run.wait()
        assert not is_held(tmp_path), "a killed run has it no longer"
