"""A network namespace with only loopback: processes started inside cannot reach other machines.

Ray contacts the cloud's metadata address and a public resolver at every start, whatever its settings are.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["loopback_only"]

_log = logging.getLogger(__name__)
# `cat` ends when its standard input is closed: the namespace never outlives this process, however this process ends.
_HOLD_COMMAND = ("sh", "-c", "ip link set lo up && echo up && exec cat >/dev/null")
# Options of `unshare` and `nsenter`: first for root, then for users whose system permits user namespaces.
_PRIVILEGES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    ((), ()),
    (("--user", "--map-root-user"), ("--user", "--preserve-credentials")),
)


@contextmanager
def loopback_only() -> Iterator[tuple[str, ...]]:
    """A new namespace. Yields the words to put before a command that shall run inside it.

    Where the system does not permit namespaces, it yields no words and logs a warning. Commands then run without one.
    """
    for unshare_options, nsenter_options in _PRIVILEGES:
        holder = _hold_namespace(("unshare", "--net", *unshare_options, *_HOLD_COMMAND))
        if holder is not None:
            with holder:  # on exit this closes its standard input and waits for it
                yield ("nsenter", f"--target={holder.pid}", "--net", *nsenter_options, "--")
            return
    _log.warning("network namespaces are not permitted here: Ray will contact cloud metadata and a resolver at start")
    yield ()


def _hold_namespace(command: Sequence[str]) -> subprocess.Popen[str] | None:
    """The process that keeps a namespace open, once loopback is up; None means that none can be made."""
    try:
        holder = subprocess.Popen(  # noqa: S603 # the command is our own
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
    except OSError:
        return None
    if holder.stdout is not None and holder.stdout.readline() == "up\n":
        return holder
    with holder:
        return None
