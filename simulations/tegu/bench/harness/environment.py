"""Python environments for peers whose requirements conflict with Tegu's.

An environment is created once and kept in the user's cache. It finds packages of the current environment after its
own, so that both implementations use the same torch and pip does not download it again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

from tegu.bench.peers.catalogue import Peer
from tegu.core.errors import TeguError

__all__ = ["PeerMissingError", "cache_folder", "python_for"]

_MARKER = "installed"  # a file that exists once pip has succeeded


class PeerMissingError(TeguError):
    """A peer is not installed. The message says how to install it."""


def python_for(peer: Peer, *, install: bool, cache: Path, log: Callable[[str], None]) -> Path:
    """The interpreter that runs a peer: the current one if it has the peer, else that of its own environment.

    Args:
        peer: the peer to run.
        install: whether to create its environment if there is none.
        cache: folder of the environments.
        log: receives a line before pip downloads anything.

    Raises:
        PeerMissingError: the peer is not installed, and `install` is False or the installation fails.
    """
    if _is_installed(peer.import_name):
        return Path(sys.executable)
    folder = cache / f"{peer.name}-{_environment_hash(peer)}"
    if not (folder / _MARKER).exists():
        if not install or not peer.requirements:
            raise PeerMissingError(f"{peer.name} is missing: {_install_hint(peer)}")
        log(f"{peer.name}: pip installs {', '.join(peer.requirements)} into {folder}")
        _create(peer, folder)
    return _interpreter(folder)


def cache_folder() -> Path:
    """The folder of environments: `$XDG_CACHE_HOME/tegu/bench`, or `~/.cache/tegu/bench` if the variable is not set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tegu" / "bench"


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def _install_hint(peer: Peer) -> str:
    ways = [f"pip install 'tegu[{peer.extra}]'"] if peer.extra else []
    ways += ["omit --no-install to create an environment for it"] if peer.requirements else []
    return ", or ".join(ways)


def _environment_hash(peer: Peer) -> str:
    """Differs whenever the requirements, Python or the visible packages differ."""
    parts = [*peer.requirements, sys.version, *_package_paths()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def _package_paths() -> list[str]:
    """Folders where this interpreter finds packages, without the standard library."""
    standard = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    inside = [f"{path}{os.sep}lib-dynload" for path in standard]
    return [path for path in sys.path if Path(path).is_dir() and path and path not in (*standard, *inside)]


def _create(peer: Peer, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True, symlinks=os.name != "nt")
    python = _interpreter(folder)
    (_site_packages(python) / "tegu-bench.pth").write_text("\n".join(_package_paths()) + "\n", encoding="utf-8")
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 # arguments are our own
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        message = "; ".join(done.stderr.strip().splitlines()[-2:])
        raise PeerMissingError(
            f"{peer.name} is missing: pip could not install {', '.join(peer.requirements)} ({message}); "
            "fix the cause and run again" + (f", or pip install 'tegu[{peer.extra}]'" if peer.extra else "")
        )
    (folder / _MARKER).touch()


def _interpreter(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _site_packages(python: Path) -> Path:
    command = [str(python), "-c", "import json, sysconfig; print(json.dumps(sysconfig.get_path('purelib')))"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 # arguments are our own
    return Path(json.loads(found.stdout))
