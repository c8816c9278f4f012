"""Python environments of peers whose versions would clash with Tegu's: made once, kept in the user's cache.

An environment sees this one's packages behind its own: torch is the same on both sides and is not fetched anew.
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

_DONE = "installed"  # a file that says that pip came to its end


class PeerMissingError(TeguError):
    """A peer that is not installed, and how to install it."""


def python_for(peer: Peer, *, install: bool, cache: Path, say: Callable[[str], None]) -> Path:
    """The interpreter that runs a peer: this one where it has the peer, or that of an environment of its own.

    Args:
        peer: whom to run.
        install: whether to make that environment where there is none.
        cache: folder of such environments.
        say: told before anything is fetched.

    Raises:
        PeerMissingError: it is not installed, and may not or cannot be.
    """
    if _found(peer.needs):
        return Path(sys.executable)
    folder = cache / f"{peer.name}-{_key(peer)}"
    if not (folder / _DONE).exists():
        if not install or not peer.requirements:
            raise PeerMissingError(f"{peer.name} is missing: {_remedy(peer)}")
        say(f"{peer.name}: pip installs {', '.join(peer.requirements)} into {folder}")
        _make(peer, folder)
    return _python(folder)


def cache_folder() -> Path:
    """Where environments are kept: `$XDG_CACHE_HOME/tegu/bench`, in `~/.cache` where that is not set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tegu" / "bench"


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def _remedy(peer: Peer) -> str:
    ways = [f"pip install 'tegu[{peer.extra}]'"] if peer.extra else []
    ways += ["leave out --no-install, for an environment of its own"] if peer.requirements else []
    return ", or ".join(ways)


def _key(peer: Peer) -> str:
    """Changes with whatever an environment is made from."""
    parts = [*peer.requirements, sys.version, *_paths()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def _paths() -> list[str]:
    """Where this interpreter finds packages, less the standard library."""
    standard = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    inside = [f"{path}{os.sep}lib-dynload" for path in standard]
    return [path for path in sys.path if Path(path).is_dir() and path and path not in (*standard, *inside)]


def _make(peer: Peer, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True, symlinks=os.name != "nt")
    python = _python(folder)
    (_site_packages(python) / "tegu-bench.pth").write_text("\n".join(_paths()) + "\n", encoding="utf-8")
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 # our own words
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        told = "; ".join(done.stderr.strip().splitlines()[-2:])
        raise PeerMissingError(
            f"{peer.name} is missing: pip could not install {', '.join(peer.requirements)} ({told}); "
            "mend what it tells and run again" + (f", or pip install 'tegu[{peer.extra}]'" if peer.extra else "")
        )
    (folder / _DONE).touch()


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _site_packages(python: Path) -> Path:
    command = [str(python), "-c", "import json, sysconfig; print(json.dumps(sysconfig.get_path('purelib')))"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 # our own words
    return Path(json.loads(found.stdout))
