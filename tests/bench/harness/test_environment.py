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

from tegu.bench.harness.environment import PeerMissingError, cache_folder, python_for
from tegu.bench.peers.catalogue import DEVICE_PEERS, SIMULATION_PEERS, Peer

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


def find_python(peer: Peer, cache: Path, *, install: bool, log: list[str] | None = None) -> Path:
    return python_for(peer, install=install, cache=cache, log=([] if log is None else log).append)


def test_an_installed_peer_runs_in_the_current_environment(tmp_path: Path) -> None:
    log: list[str] = []
    assert find_python(replace(ABSENT, import_name="torch.nn"), tmp_path, install=True, log=log) == Path(sys.executable)
    assert log == []
    assert list(tmp_path.iterdir()) == []


def test_the_error_says_how_to_install_a_missing_peer(tmp_path: Path) -> None:
    with pytest.raises(PeerMissingError) as raised:
        find_python(ABSENT, tmp_path, install=False)
    assert str(raised.value) == (
        "other is missing: pip install 'tegu[bench]', or omit --no-install to create an environment for it"
    )
    with pytest.raises(PeerMissingError, match=r"^other is missing: pip install 'tegu\[sim\]'$"):
        find_python(replace(ABSENT, requirements=(), extra="sim"), tmp_path, install=True)
    with pytest.raises(PeerMissingError, match=r"^other is missing: omit --no-install"):
        find_python(replace(ABSENT, extra=""), tmp_path, install=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_failure_of_pip_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    broken = replace(ABSENT, requirements=(str(tmp_path / "absent.whl"),))
    with pytest.raises(PeerMissingError, match=r"pip could not install .*absent\.whl.*fix .*tegu\[bench\]"):
        find_python(broken, tmp_path / "cache", install=True)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.slow
def test_an_environment_is_created_once_and_also_sees_current_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    path = wheel(tmp_path, "no_such_module_of_anybody", "VALUE = 17")
    peer, log = replace(ABSENT, requirements=(str(path),)), []
    python = find_python(peer, tmp_path / "cache", install=True, log=log)
    assert len(log) == 1
    assert "other: pip installs" in log[0]
    program = "import no_such_module_of_anybody as m, numpy, tegu.core, torch; print(m.VALUE, numpy.__version__)"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["17", np.__version__]
    assert find_python(peer, tmp_path / "cache", install=False, log=log) == python
    assert len(log) == 1
    other = replace(peer, requirements=(str(path), "numpy"))
    with pytest.raises(PeerMissingError):
        find_python(other, tmp_path / "cache", install=False)


def test_the_cache_folder_is_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tegu" / "bench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "tegu" / "bench"


def test_the_peers_are_the_documented_ones() -> None:
    assert [peer.name for peer in SIMULATION_PEERS] == ["pfl", "flower-ray", "jax-vmap"]
    assert [peer.name for peer in DEVICE_PEERS] == ["ort-training", "torch"]
    assert all(peer.extra or peer.requirements for peer in (*SIMULATION_PEERS, *DEVICE_PEERS))
