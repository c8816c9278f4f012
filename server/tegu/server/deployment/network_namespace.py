"""A network namespace with only loopback: what is started inside cannot leave the machine.

Ray looks for cloud metadata and a public resolver whenever it starts, whatever its settings say.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["loopback_only"]

_log = logging.getLogger(__name__)
# `cat` ends with its standard input: the namespace does not outlive this process, however this process ends.
_HOLD = ("sh", "-c", "ip link set lo up && echo up && exec cat >/dev/null")
# As root; then as anybody, where the system lets everybody make user namespaces.
_WAYS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    ((), ()),
    (("--user", "--map-root-user"), ("--user", "--preserve-credentials")),
)


@contextmanager
def loopback_only() -> Iterator[tuple[str, ...]]:
    """A new namespace, as the words to put before a command that is to run inside it.

    There are none, and a warning is logged, where the system does not permit namespaces: commands then run plainly.
    """
    for make, enter in _WAYS:
        holder = _hold(("unshare", "--net", *make, *_HOLD))
        if holder is not None:
            with holder:  # closes its standard input, and waits for it
                yield ("nsenter", f"--target={holder.pid}", "--net", *enter, "--")
            return
    _log.warning("network namespaces are not permitted here: Ray will look for a cloud and a resolver as it starts")
    yield ()


def _hold(command: Sequence[str]) -> subprocess.Popen[str] | None:
    """The process that keeps a namespace, once that has loopback; None where it cannot be made."""
    try:
        holder = subprocess.Popen(  # noqa: S603 # our own words
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
    except OSError:
        return None
    if holder.stdout is not None and holder.stdout.readline() == "up\n":
        return holder
    with holder:
        return None
