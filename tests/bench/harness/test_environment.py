from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tegu.bench.peers.catalogue import DEVICE, SIMULATION, Peer

from tegu.bench.harness.environment import PeerMissingError, cache_folder, python_for

ABSENT = Peer("other", "tegu.bench.peers.other", "no_such_module_of_anybody", ("W1",), ("other==1.0",))


def wheel(folder: Path, name: str, source: str) -> Path:
    """A wheel with one module."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: numpy\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},"
        for path, text in files.items()
    ]
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {**files, f"{info}/RECORD": "\n".join([*lines, f"{info}/RECORD,,"])}.items():
            archive.writestr(member, text)
    return path


def ask(peer: Peer, cache: Path, *, install: bool, told: list[str] | None = None) -> Path:
    return python_for(peer, install=install, cache=cache, say=(told if told is not None else []).append)


def test_a_peer_that_is_here_runs_here(tmp_path: Path) -> None:
    told: list[str] = []
    assert ask(replace(ABSENT, needs="torch.nn"), tmp_path, install=True, told=told) == Path(sys.executable)
    assert told == []
    assert list(tmp_path.iterdir()) == []


def test_a_missing_peer_is_named_with_what_installs_it(tmp_path: Path) -> None:
    with pytest.raises(PeerMissingError) as raised:
        ask(ABSENT, tmp_path, install=False)
    assert str(raised.value) == (
        "other is missing: pip install 'tegu[bench]', or leave out --no-install, for an environment of its own"
    )
    with pytest.raises(PeerMissingError, match=r"^other is missing: pip install 'tegu\[sim\]'$"):
        ask(replace(ABSENT, requirements=(), extra="sim"), tmp_path, install=True)
    with pytest.raises(PeerMissingError, match=r"^other is missing: leave out --no-install"):
        ask(replace(ABSENT, extra=""), tmp_path, install=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_pips_failure_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    broken = replace(ABSENT, requirements=(str(tmp_path / "absent.whl"),))
    with pytest.raises(PeerMissingError, match=r"pip could not install .*absent\.whl.*mend .*tegu\[bench\]"):
        ask(broken, tmp_path / "cache", install=True)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.slow
def test_an_environment_is_made_once_and_sees_this_one_behind_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    path = wheel(tmp_path, "no_such_module_of_anybody", "VALUE = 17")
    peer, told = replace(ABSENT, requirements=(str(path),)), []
    python = ask(peer, tmp_path / "cache", install=True, told=told)
    assert len(told) == 1
    assert "other: pip installs" in told[0]
    program = "import no_such_module_of_anybody as m, numpy, tegu.core, torch; print(m.VALUE, numpy.__version__)"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["17", np.__version__]
    assert ask(peer, tmp_path / "cache", install=False, told=told) == python
    assert len(told) == 1
    other = replace(peer, requirements=(str(path), "numpy"))
    with pytest.raises(PeerMissingError):
        ask(other, tmp_path / "cache", install=False)


def test_the_cache_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tegu" / "bench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "tegu" / "bench"


def test_the_peers_are_those_of_the_documentation() -> None:
    assert [peer.name for peer in SIMULATION] == ["pfl", "flower-ray", "jax-vmap"]
    assert [peer.name for peer in DEVICE] == ["ort-training", "torch"]
    assert all(peer.extra or peer.requirements for peer in (*SIMULATION, *DEVICE))
