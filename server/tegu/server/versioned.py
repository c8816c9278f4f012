"""Rounds that say which bundle they are for, and the file from which devices with another one may fetch it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from flwr.app import Message
from flwr.serverapp import Grid

from tegu.core.bundle.file import Bundle
from tegu.core.bundle.version import version_of
from tegu.core.errors import BundleError
from tegu.core.files import atomic_write, make_folder
from tegu.server.rounds.forwarding_grid import ForwardingGrid
from tegu.wire import Version, add_version

__all__ = ["BUNDLES", "Versioned", "publish_bundle"]

BUNDLES = "bundles"  # in the folder `out`: what may be put on a web server for devices


def publish_bundle(path: Path, bundle: Bundle, folder: Path) -> Version:
    """Copy a bundle's file, with its signature if it has one, to where devices find it by its sha256.

    Args:
        path: the file.
        bundle: what is in it.
        folder: created if absent.

    Raises:
        BundleError: the file cannot be read.
        FileError: the copy cannot be written.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot read {path} ({error}): is it the bundle to start from?") from error
    version = Version(version_of(bundle), hashlib.sha256(data).hexdigest())
    copy = folder / f"{version.file}.tegu"
    if not copy.exists():
        make_folder(folder)
        atomic_write(copy, data)
    return version


class Versioned(ForwardingGrid):
    """A grid around another one, whose messages say which bundle they are for.

    Args:
        grid: the connected nodes.
        version: of the run.
    """

    def __init__(self, grid: Grid, version: Version) -> None:
        super().__init__(grid)
        self._version = version

    def __repr__(self) -> str:
        return f"Versioned({self._grid!r}, {self._version.digest[:12]})"

    def _with_version(self, messages: Iterable[Message]) -> list[Message]:
        """The messages. Those of a round share their content, so that it gets the record once."""
        found = list(messages)
        for message in found:
            add_version(message.content, self._version)
        return found

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """The replies to the messages."""
        return self._grid.send_and_receive(self._with_version(messages), timeout=timeout)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages."""
        return self._grid.push_messages(self._with_version(messages))
