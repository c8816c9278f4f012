"""A grid that returns the replies that are uploaded, and waits for no upload.

A node announces a reply, and then uploads its objects one by one. Flower's own grid waits for a reply that was
announced until it is complete, for up to three minutes, and takes no other reply meanwhile. One device that loses its
connection during an upload, or a hostile one, would then hold up every round, whatever its deadline.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flwr.app import Error, Message, Metadata, RecordDict
from flwr.app.message import make_message
from flwr.common.serde_utils import metadata_from_proto
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectUnavailableError,
    inflate_object_from_contents,
    pull_objects,
)
from flwr.superlink.grid.http_grid import HttpGrid

from tegu.server.rounds.forwarding_grid import ForwardingGrid

__all__ = ["PromptGrid", "prompt"]

_MOST_OBJECTS, _MOST_BYTES = 10_000, 1 << 30
_UNREADABLE, _UNAVAILABLE = 2, 4  # of `flwr.common.constant.ErrorCode`: the app has failed; the reply is not there


def prompt(grid: Grid) -> Grid:
    """A grid that waits for no upload: a `PromptGrid` around Flower's own, and any other grid as it is."""
    return PromptGrid(grid) if isinstance(grid, HttpGrid) else grid


class _TooLargeError(ValueError):
    """A reply is larger than any that a round asks for."""


@dataclass
class _Upload:
    """A reply that a node has announced.

    Attributes:
        metadata: of the reply, as the SuperLink has checked it. What the objects say may be forged.
        top: id of the object that holds all others.
        missing: ids of the objects that were not yet there.
        contents: bytes of the others, by id.
    """

    metadata: Metadata
    top: str
    missing: list[str]
    contents: dict[str, bytes] = field(default_factory=dict)


class PromptGrid(ForwardingGrid):
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
        self._announce(wanted - self._uploads.keys())
        found = {name: self._reply(self._uploads[name]) for name in sorted(wanted & self._uploads.keys())}
        for name in (name for name, reply in found.items() if reply is not None):
            del self._uploads[name]
        return [reply for reply in found.values() if reply is not None]

    def _announce(self, messages: set[str]) -> None:
        """Note the replies to these messages that nodes have announced. The SuperLink tells of each reply once."""
        if not messages:
            return
        answer = self._client.PullMessages(PullAppMessagesRequest(message_ids=sorted(messages)))
        for sent, tree in zip(answer.messages_list, answer.message_object_trees, strict=True):
            metadata = metadata_from_proto(sent.metadata)
            # A device uploads the top object last.
            names = dict.fromkeys([tree.object_id, *(each.object_id for each in iterate_object_tree(tree))])
            self._uploads[metadata.reply_to_message_id] = _Upload(metadata, tree.object_id, [*names])

    def _reply(self, upload: _Upload) -> Message | None:
        """The reply, or an error for one that cannot be had; None while it is uploaded."""
        try:
            if not self._take_objects(upload):
                return None
        except ObjectPullError as error:
            return _failed(upload, _UNAVAILABLE, f"the upload of the reply has not ended in time: {error}")
        except _TooLargeError as error:
            found = _failed(upload, _UNREADABLE, str(error))
        else:
            found = _read(upload)
        self._client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(node=self._node, run_id=upload.metadata.run_id, message_object_id=upload.top)
        )
        return found

    def _take_objects(self, upload: _Upload) -> bool:
        """Take the objects that are there, until one is not. Whether there are all.

        Raises:
            ObjectPullError: the SuperLink has given up the upload.
            _TooLargeError: the reply is larger than any that a round asks for.
        """
        _check_size(len(upload.missing), _MOST_OBJECTS, "objects")
        pull = make_pull_object_fn_protobuf(self._client.PullObject, self._node, upload.metadata.run_id)
        waits = False

        def take(name: str) -> bytes:
            nonlocal waits
            try:
                content = pull(name)
            except ObjectUnavailableError:
                waits = True
                raise
            upload.contents[name] = content
            return content

        try:
            pull_objects(upload.missing, take, max_tries_per_object=1)
        except ObjectPullError:
            if not waits:
                raise
        upload.missing = [name for name in upload.missing if name not in upload.contents]
        _check_size(sum(map(len, upload.contents.values())), _MOST_BYTES, "bytes")
        return not upload.missing


def _read(upload: _Upload) -> Message:
    """The reply in the objects, with the metadata that the SuperLink has checked; an error if they are no reply."""
    try:
        found = _inflated(upload)
    except Exception as error:  # a device may upload any bytes
        return _failed(upload, _UNREADABLE, f"the reply is not readable: {error!r}")
    if isinstance(found, Error):
        return make_message(upload.metadata, error=found)
    return make_message(upload.metadata, found)


def _inflated(upload: _Upload) -> RecordDict | Error:
    _check_size(_array_bytes(upload.contents), _MOST_BYTES, "bytes in arrays")
    found = inflate_object_from_contents(upload.top, upload.contents)
    if not isinstance(found, Message):
        raise TypeError(f"{type(found).__name__} in place of a Message")
    return found.error if found.has_error() else found.content


def _failed(upload: _Upload, code: int, reason: str) -> Message:
    return make_message(upload.metadata, error=Error(code, reason))


def _array_bytes(contents: Mapping[str, bytes]) -> int:
    """Bytes of all arrays. An array may name one chunk many times, and then has more bytes than were uploaded."""
    total = 0
    for content in contents.values():
        if content.startswith(b"Array "):
            head, _, body = content.partition(b"\x00")
            chunks = head.decode().split(" ")[1].split(",")
            total += sum(len(contents[chunks[place]]) for place in json.loads(body)["arraychunk_ids"])
    return total


def _check_size(found: int, most: int, what: str) -> None:
    if found > most:
        raise _TooLargeError(f"the reply has {found:,} {what}: expected at most {most:,}")
