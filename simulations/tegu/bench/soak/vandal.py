"""A device with a registered key that answers rounds as it likes, for example with numbers that are not finite."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tegu.bench.soak.replies import Replies
from tegu.client.federation.http import Connection, RefusedError, UnreachableError
from tegu.client.participant.flower import records
from tegu.client.participant.flower.fleet import Fleet, Pulled
from tegu.wire import Reply, read_training_request, training_reply_content

__all__ = ["Answer", "Vandal", "not_finite"]

_POLL_SECONDS, _TIMEOUT_SECONDS, _MOST_BYTES = 3.0, 20.0, 1 << 40

Answer: TypeAlias = Callable[[Fleet, Pulled], None]
"""Answers a message, by the calls of a node."""


class Vandal:
    """Its thread. Leaves without a word, as a device does that loses its connection.

    Args:
        connection: to the server.
        key: the device's private key.
        answer: what it does with a message.
    """

    def __init__(self, connection: Connection, key: Path, answer: Answer) -> None:
        self._fleet, self._answer = Fleet(connection, key), answer
        self._fleet.most = _MOST_BYTES
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak-vandal", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join(2 * _TIMEOUT_SECONDS)
        self._fleet.close()

    def _run(self) -> None:
        while not self._stopping.wait(_POLL_SECONDS):
            try:
                self._step()
            except RefusedError:
                self._fleet.node = None  # it is activated again
            except UnreachableError:
                pass  # the server is started again

    def _step(self) -> None:
        if self._fleet.node is None:
            self._fleet.activate()
        elif not self._fleet.heartbeat():
            self._fleet.node = None
            return
        pulled = self._fleet.pull()
        if pulled is not None:
            self._answer(self._fleet, pulled)


def not_finite(replies: Replies) -> Answer:
    """Answers a training round with numbers that are not finite.

    Args:
        replies: told what is sent.
    """

    def answer(fleet: Fleet, pulled: Pulled) -> None:
        asked, content = pulled.metadata, fleet.fetch(pulled)
        replies.sending(asked.group_id, asked.run_id, asked.dst_node_id, "not finite")
        fleet.push(pulled, _not_finite(content), 0.0)
        replies.sent(asked.group_id, asked.run_id, asked.dst_node_id, "not finite")

    return answer


def _not_finite(content: Any) -> Any:
    received, _ = read_training_request(content)
    broken = {name: np.full_like(array, math.nan) for name, array in received.items()}
    return training_reply_content(Reply(broken, 1), records)
