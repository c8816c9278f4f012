"""What the operating system says of this process, also where it is not Linux."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.core.samples import refused

from tegu.core import process
from tegu.core.errors import MissingExtraError, PlatformError
from tegu.core.process import peak_memory, require_os, rusage_mebibytes, usable_cpus

# A program that grows to 300 MiB and then becomes another, small one.
GROWN = """
import os, sys
block = b"x" * (300 << 20)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""
PEAKS = """
import resource
from tegu.core.process import peak_memory, rusage_mebibytes
print(peak_memory(), rusage_mebibytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""


def test_only_processors_that_may_be_used_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 4, 5}, raising=False)
    assert usable_cpus() == 3


@pytest.mark.parametrize(("machine", "expected"), [(6, 6), (None, 1)])
def test_without_affinity_the_machines_are_counted(
    monkeypatch: pytest.MonkeyPatch, machine: int | None, expected: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: machine)
    assert usable_cpus() == expected


@pytest.mark.skipif("VmHWM" not in process._status(), reason="this system has no VmHWM")
def test_an_earlier_program_of_the_process_does_not_count() -> None:
    done = subprocess.run([sys.executable, "-c", GROWN, PEAKS], capture_output=True, text=True, check=True)
    peak, inherited = map(float, done.stdout.split())
    assert inherited > 300
    assert 1 < peak < 150


def test_the_peak_stays_when_memory_is_given_back() -> None:
    block = bytearray(b"x") * (64 << 20)
    full = peak_memory()
    del block
    assert full > 64
    assert peak_memory() > full - 8  # Linux counts pages by processor, and is a few short at times


def test_without_proc_it_is_what_getrusage_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process, "_STATUS", tmp_path / "absent")
    monkeypatch.setitem(sys.modules, "resource", resource_saying(7 << 20))
    monkeypatch.setattr(sys, "platform", "linux")
    assert peak_memory() == 7 << 10
    monkeypatch.setattr(sys, "platform", "darwin")
    assert peak_memory() == 7


def resource_saying(maxrss: int) -> SimpleNamespace:
    return SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: SimpleNamespace(ru_maxrss=maxrss))


def test_without_resource_it_is_what_psutil_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on Windows."""
    monkeypatch.setattr(process, "_STATUS", tmp_path / "absent")
    monkeypatch.setitem(sys.modules, "resource", None)
    info = SimpleNamespace(peak_wset=5 << 20)
    psutil = SimpleNamespace(Process=lambda: SimpleNamespace(memory_info=lambda: info))
    monkeypatch.setitem(sys.modules, "psutil", psutil)
    assert peak_memory() == 5
    monkeypatch.setitem(sys.modules, "psutil", None)
    with refused(MissingExtraError, "psutil is not installed", "pip install 'tegu[sim]'"):
        peak_memory()


def test_maxrss_is_in_kib_or_on_macos_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert rusage_mebibytes(3 << 10) == 3
    monkeypatch.setattr(sys, "platform", "darwin")
    assert rusage_mebibytes(3 << 20) == 3


def test_a_function_that_the_system_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require_os("getpid", "everything")
    monkeypatch.setattr(sys, "platform", "win32")
    with refused(PlatformError, "a wave needs os.wave, which win32 does not have", "run it on Linux"):
        require_os("wave", "a wave")
