"""A reply on its way: it is announced with the ids of its objects, and then the objects are uploaded one by one.

When the connection is lost between, the upload goes on with the next object. It cannot begin anew: the ServerApp may
have taken note of the reply, and the server then accepts no second announcement.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tegu.client.participant.flower.objects import Part, message_part, parts_of
from tegu.client.participant.flower.protobuf import message
from tegu.client.participant.flower.records import RecordDict

__all__ = ["Upload", "upload_of"]

_APP_FAILED = 2  # Flower's code for a ClientApp that has raised


@dataclass
class Upload:
    """A reply that is sent. Its time stamp, and so its id, stays the same however often its upload goes on.

    Attributes:
        sent: protobuf `Message` of the reply, without its content.
        whole: its objects.
        session: of the upload at the server; None until the reply is announced, and empty if it is not known.
        left: bytes of the objects that have still to be uploaded, by id.
    """

    sent: Any
    whole: Part
    session: str | None = None
    left: dict[str, bytes] = field(default_factory=dict)

    def begin(self, session: str, wanted: Iterable[str]) -> None:
        """The server has taken note of the reply, and wants these objects.

        It wants none if it has taken note before, and its answer was lost. Then all objects are uploaded without a
        session, which the server finds by itself. The message comes first, for no other reply holds it: a server that
        does not wait for it waits for none of its objects.
        """
        names, parts = set(wanted), parts_of(self.whole)
        self.session = session if names else ""
        self.left = {name: data for name, data in parts.items() if name in names} or dict(reversed(parts.items()))


def upload_of(asked: Any, reply: RecordDict | str) -> Upload:
    """A reply that is not yet announced.

    Args:
        asked: protobuf `Metadata` of the message that it answers.
        reply: the content, or the reason for none.
    """
    metadata = _reply_metadata(asked)
    failed = {"error": message("Error", code=_APP_FAILED, reason=reply)} if isinstance(reply, str) else {}
    body = message("Message", metadata=metadata, **failed).SerializeToString(deterministic=True)
    whole = message_part(body, None if isinstance(reply, str) else reply)
    metadata.message_id = whole.id
    return Upload(message("Message", metadata=metadata, **(failed or {"content": message("RecordDict")})), whole)


def _reply_metadata(asked: Any) -> Any:
    """The metadata of a reply. It lives as long as the message that it answers."""
    created = time.time()
    tasks = {}
    if asked.HasField("dst_task_id"):
        tasks["src_task_id"] = asked.dst_task_id
    if asked.HasField("src_task_id"):
        tasks["dst_task_id"] = asked.src_task_id
    return message(
        "Metadata",
        run_id=asked.run_id,
        src_node_id=asked.dst_node_id,
        dst_node_id=asked.src_node_id,
        reply_to_message_id=asked.message_id,
        group_id=asked.group_id,
        ttl=asked.created_at + asked.ttl - created,
        message_type=asked.message_type,
        created_at=created,
        **tasks,
    )
