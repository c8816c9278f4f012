"""Processes that are started and stopped together."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.federation.process_helpers import commands_in, wait_for

from tegu.core.errors import FederationError
from tegu.server.deployment import process_group as module
from tegu.server.deployment.process_group import LOG_TAIL, ProcessGroup
from tegu.server.deployment.process_tree import MARK_VARIABLE

FOREVER = ("sleep", "600")


@pytest.fixture
def group(tmp_path: Path) -> Iterator[ProcessGroup]:
    made = ProcessGroup(tmp_path, {**os.environ, "WORD": "said"})
    yield made
    made.stop()


def sh(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def test_each_process_has_a_log_without_colour_codes(group: ProcessGroup, tmp_path: Path) -> None:
    group.start("one", *sh(r"printf '\033[92mINFO\033[0m: %s\n' $WORD"))
    group.start("two", *sh("echo wrong >&2; exec sleep 600"))
    wait_for(lambda: group.log("one") == "INFO: said\n" and group.log("two") == "wrong\n")
    assert (tmp_path / "two.log").read_text() == "wrong\n"


def test_the_log_of_an_unknown_process_is_an_error(group: ProcessGroup) -> None:
    group.start("one", "true")
    group.start("two", "true")
    with pytest.raises(FederationError, match="no process is called 'three': expected one of one, two"):
        group.log("three")


def test_processes_run_in_the_folder_and_after_the_prefix(tmp_path: Path) -> None:
    """No other variable is inherited, and standard input is empty."""
    group = ProcessGroup(tmp_path, {"PATH": os.environ["PATH"]}, ["env", "ENTERED=yes"])
    said = group.run(*sh(f'echo "$ENTERED $HOME ${{{MARK_VARIABLE}:+marked}}"; pwd; cat'), timeout=30)
    group.start("later", *sh("echo $ENTERED"))
    wait_for(lambda: group.log("later") == "yes\n")
    group.stop()
    assert said == f"yes  marked\n{tmp_path}\n"


def test_run_returns_the_whole_output(group: ProcessGroup) -> None:
    assert group.run(*sh(r"echo $WORD; printf '\033[91mwrong\033[0m \377' >&2"), timeout=30) == "said\nwrong \ufffd"


def test_a_failed_command_is_an_error_with_the_end_of_its_log(group: ProcessGroup) -> None:
    script = f"import sys; print('early', 'x' * {LOG_TAIL}, 'late'); sys.exit(7)"
    with pytest.raises(
        FederationError, match="-c has ended with code 7: fix the error at the end of its log:"
    ) as error:
        group.run(sys.executable, "-c", script, timeout=30)
    assert str(error.value).startswith(f"{Path(sys.executable).name} -c has ended")
    assert str(error.value).endswith(" late\n")
    assert "early" not in str(error.value)


def test_a_command_that_takes_too_long_is_an_error(group: ProcessGroup, tmp_path: Path) -> None:
    with pytest.raises(FederationError, match=r"sh -c has not ended after 0\.5 s: raise the timeout") as error:
        group.run(*sh("echo begun; exec sleep 600"), timeout=0.5)
    assert str(error.value).endswith("log:\nbegun\n")
    assert commands_in(tmp_path) == []


def test_children_of_a_timed_out_command_are_stopped(group: ProcessGroup, tmp_path: Path) -> None:
    with pytest.raises(FederationError):
        group.run(*sh("sleep 600 & exec sleep 601"), timeout=0.5)
    assert commands_in(tmp_path) == ["sleep 600"]
    group.stop()
    assert commands_in(tmp_path) == []


def test_waiting_ends_when_the_condition_holds(group: ProcessGroup) -> None:
    group.start("one", *sh("sleep 0.2; echo ready; exec sleep 600"))
    group.wait_until(lambda: "ready" in group.log("one"), ["one"], "one is not ready")
    assert group.log("one") == "ready\n"


def test_waiting_for_an_ended_process_is_an_error(group: ProcessGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STARTUP_SECONDS", 10.0)
    group.start("well", *FOREVER)
    group.start("ill", *sh("echo port is taken; exit 3"))
    with pytest.raises(FederationError, match=r"it does not answer: ill has ended with code 3: fix .*\nport is taken"):
        group.wait_until(lambda: False, ["well", "ill"], "it does not answer")


def test_waiting_too_long_is_an_error(group: ProcessGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STARTUP_SECONDS", 0.5)
    group.start("well", *FOREVER)
    group.start("slow", *sh("echo still at it; exec sleep 600"))
    end = time.monotonic() + 20

    def never() -> bool:
        assert time.monotonic() < end, "waiting does not end"
        return False

    with pytest.raises(FederationError, match=r"does not answer within 0 s: .*the log of slow:\nstill at it\n"):
        group.wait_until(never, ["well", "slow"], "it does not answer")


def test_stopping_leaves_no_process(group: ProcessGroup, tmp_path: Path) -> None:
    group.start("tree", *sh("sh -c 'sleep 600 & setsid sleep 601 & wait' & wait"))
    group.start("ended", *sh("setsid sleep 602 & exit"))
    wait_for(lambda: {"sleep 600", "sleep 601", "sleep 602"} <= set(commands_in(tmp_path)))
    group.stop()
    assert commands_in(tmp_path) == []
    group.stop()


def test_stopping_one_group_does_not_stop_another(group: ProcessGroup, tmp_path: Path) -> None:
    other = ProcessGroup(tmp_path, os.environ)
    other.start("other", "sleep", "603")
    group.start("one", *FOREVER)
    group.stop()
    assert commands_in(tmp_path) == ["sleep 603"]
    other.stop()
    assert commands_in(tmp_path) == []
