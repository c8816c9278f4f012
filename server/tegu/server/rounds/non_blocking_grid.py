"""A grid that returns the replies that are uploaded, and waits for no upload.

A node announces a reply, and then uploads its objects one by one. Flower's own grid waits for a reply that was
announced until it is complete, or until nothing of it has come for three minutes, and takes no other reply meanwhile.
One device that loses its connection during an upload, or a hostile one, would then hold up every round, whatever its
deadline.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import httpx
from flwr.app import Error, Message, Metadata, RecordDict
from flwr.app.message import make_message
from flwr.common.serde_utils import metadata_from_proto
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.serverapp import Grid
from flwr.supercore.constant import SYSTEM_MESSAGE_TYPE
from flwr.supercore.inflatable.inflatable_object import get_object_children_ids_from_object_content as children_of
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectUnavailableError,
    inflate_object_from_contents,
    pull_objects,
)
from flwr.superlink.grid.http_grid import HttpGrid

from tegu.server.replies.reply_size import MOST_BYTES, MOST_OBJECTS, check_size
from tegu.server.rounds.forwarding_grid import ForwardingGrid

__all__ = ["NonBlockingGrid", "non_blocking"]

_MOST_SECONDS = 1.0  # for the objects of one reply in one call; the next call goes on
_MOST_DESCRIPTION = 1 << 20  # bytes of what describes an array: its type, its shape and the places of its chunks
_UNREADABLE, _UNAVAILABLE = 2, 4  # of `flwr.common.constant.ErrorCode`: the app has failed; the reply is not there


def non_blocking(grid: Grid) -> Grid:
    """A grid that waits for no upload: a `NonBlockingGrid` around Flower's own, and any other grid as it is."""
    return NonBlockingGrid(grid) if isinstance(grid, HttpGrid) else grid


@dataclass
class _Upload:
    """A reply that a node has announced.

    Attributes:
        metadata: of the reply, as the SuperLink has checked it. What the objects say may be forged.
        top: id of the object that holds all others.
        missing: ids of the objects that are known and were not yet there.
        contents: bytes of the others, by id. Each names its children.
    """

    metadata: Metadata
    top: str
    missing: Sequence[str]
    contents: dict[str, bytes] = field(default_factory=dict)


class NonBlockingGrid(ForwardingGrid):
    """A grid around Flower's own. One thread uses it.

    Args:
        grid: of a ServerApp.
    """

    def __init__(self, grid: HttpGrid) -> None:
        super().__init__(grid)
        self._client, self._node = grid._runtime_client, grid.node  # pyproject.toml pins flwr's version
        self._uploads: dict[str, _Upload] = {}  # by the id of the message that is answered

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that are complete. A reply that is still uploaded comes with a later call."""
        wanted = set(message_ids)
        refused = self._announce(wanted - self._uploads.keys())
        found = {name: self._reply(self._uploads[name]) for name in sorted(wanted & self._uploads.keys())}
        for name in (name for name, reply in found.items() if reply is not None):
            del self._uploads[name]
        return [*refused, *(reply for reply in found.values() if reply is not None)]

    def _announce(self, messages: set[str]) -> list[Message]:
        """Note the replies to these messages that nodes have announced: the SuperLink tells of each reply once.

        Returns:
            An error for each reply that the SuperLink cannot read, as where a time is not a number. It then tells of
            no reply, unless it is asked for them one by one.
        """
        if not messages:
            return []
        try:
            answer = self._client.PullMessages(PullAppMessagesRequest(message_ids=sorted(messages)))
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.INTERNAL_SERVER_ERROR:
                raise
            if len(messages) > 1:
                return [refused for each in sorted(messages) for refused in self._announce({each})]
            (message,) = messages
            metadata = Metadata(self.run.run_id, "", 0, self._node.node_id, message, "", 0.0, 0.0, SYSTEM_MESSAGE_TYPE)
            return [_failed(metadata, _UNREADABLE, "the SuperLink cannot read the reply")]
        for sent, tree in zip(answer.messages_list, answer.message_object_trees, strict=True):
            metadata, top = metadata_from_proto(sent.metadata), tree.object_id
            self._uploads[metadata.reply_to_message_id] = _Upload(metadata, top, [top])
        return []

    def _reply(self, upload: _Upload) -> Message | None:
        """The reply, or an error for one that cannot be had; None while it is uploaded."""
        try:
            if not self._take_objects(upload):
                return None
        except ObjectPullError as error:
            return _failed(upload.metadata, _UNAVAILABLE, f"the upload of the reply has not ended in time: {error}")
        except ValueError as error:
            found = _failed(upload.metadata, _UNREADABLE, f"the reply is not readable: {error}")
        else:
            found = _read(upload)
        self._client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(node=self._node, run_id=upload.metadata.run_id, message_object_id=upload.top)
        )
        return found

    def _take_objects(self, upload: _Upload) -> bool:
        """Take the objects that are there, parents first, until one is not. Whether there are all.

        Raises:
            ObjectPullError: the SuperLink has given up the upload.
            ValueError: an object is not readable, or the reply is larger than any that a round asks for.
        """
        until = time.monotonic() + _MOST_SECONDS
        while upload.missing:
            waits = self._pull(upload, until)
            known, there = upload.missing, dict(upload.contents)  # which a worker that is late may still add to
            children = (child for name in known if name in there for child in children_of(there[name]))
            upload.missing = [name for name in dict.fromkeys([*known, *children]) if name not in there]
            check_size(len(there) + len(upload.missing), MOST_OBJECTS, "objects")
            if waits:
                return False
        return True

    def _pull(self, upload: _Upload, until: float) -> bool:
        """Pull missing objects until one is not there, or the time is up. Whether the upload has to go on.

        Raises:
            ObjectPullError: the SuperLink has given up the upload.
            ValueError: the reply is larger than any that a round asks for.
        """
        of_run = make_pull_object_fn_protobuf(self._client.PullObject, self._node, upload.metadata.run_id)
        pull = _in_time(of_run, until)
        waits = False

        def take(name: str) -> bytes:
            nonlocal waits
            try:
                content = pull(name)
            except ObjectUnavailableError:
                waits = True
                raise
            check_size(sum(map(len, [*upload.contents.values()])) + len(content), MOST_BYTES, "bytes")
            upload.contents[name] = content
            return content

        try:
            pull_objects([*upload.missing], take, max_tries_per_object=1)
        except ObjectPullError:
            if not waits:
                raise
        return waits


def _in_time(pull: Callable[[str], bytes], until: float) -> Callable[[str], bytes]:
    """A function that pulls an object, or says after some time that it is not there yet."""

    def pull_in_time(name: str) -> bytes:
        if time.monotonic() > until:
            raise ObjectUnavailableError(name)
        return pull(name)

    return pull_in_time


def _read(upload: _Upload) -> Message:
    """The reply in the objects, with the metadata that the SuperLink has checked; an error if they are no reply."""
    try:
        found = _inflated(upload)
    except Exception as error:  # a device may upload any bytes
        return _failed(upload.metadata, _UNREADABLE, f"the reply is not readable: {error!r}")
    if isinstance(found, Error):
        return make_message(upload.metadata, error=found)
    return make_message(upload.metadata, found)


def _inflated(upload: _Upload) -> RecordDict | Error:
    check_size(_array_bytes(upload.contents), MOST_BYTES, "bytes in arrays")
    found = inflate_object_from_contents(upload.top, upload.contents)
    if not isinstance(found, Message):
        raise TypeError(f"{type(found).__name__} in place of a Message")
    return found.error if found.has_error() else found.content


def _failed(metadata: Metadata, code: int, reason: str) -> Message:
    return make_message(metadata, error=Error(code, reason))


def _array_bytes(contents: Mapping[str, bytes]) -> int:
    """Bytes of all arrays. An array may name one chunk many times, and then has more bytes than were uploaded."""
    total = 0
    for content in contents.values():
        if content.startswith(b"Array "):
            head, _, body = content.partition(b"\x00")
            check_size(len(body), _MOST_DESCRIPTION, "bytes in the description of an array")
            chunks = head.decode().split(" ")[1].split(",")
            total += sum(len(contents[chunks[place]]) for place in json.loads(body)["arraychunk_ids"])
    return total
