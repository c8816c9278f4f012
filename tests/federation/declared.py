"""What a device may send, and everything in a request that is something else.

Each request is decoded with Flower's own protobuf classes, down to the last field. What has no place in the list of
declared things is reported, so that a new field of a reply or of Flower is found too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flwr.proto import fleet_pb2, heartbeat_pb2, message_pb2, recorddict_pb2, run_pb2
from google.protobuf.message import Message as Proto
from google.protobuf.unknown_fields import UnknownFieldSet
from tests.federation.capture import Request

from tegu.core.data.tree import Tree
from tegu.wire import FAILURES
from tegu.wire.npy import from_npy

_KINDS: Mapping[str, type[Proto]] = {
    "register-node": fleet_pb2.RegisterNodeFleetRequest,
    "activate-node": fleet_pb2.ActivateNodeRequest,
    "deactivate-node": fleet_pb2.DeactivateNodeRequest,
    "unregister-node": fleet_pb2.UnregisterNodeFleetRequest,
    "send-node-heartbeat": heartbeat_pb2.SendNodeHeartbeatRequest,
    "pull-messages": fleet_pb2.PullMessagesRequest,
    "push-messages": fleet_pb2.PushMessagesRequest,
    "pull-object": message_pb2.PullObjectRequest,
    "push-object": message_pb2.PushObjectRequest,
    "confirm-message-received": message_pb2.ConfirmMessageReceivedRequest,
    "get-run": run_pb2.GetRunRequest,
    "get-fab": None,  # type: ignore[dict-item] # a hash and a run; it has another module in other versions
}
_HEADERS = re.compile(
    r"host|accept|accept-encoding|connection|user-agent|content-length|content-type|flwr-[a-z-]+|x-flwr-[a-z-]+"
)
_HASH = re.compile(r"[0-9a-f]{64}")
_FAILURE = re.compile(r"[A-Za-z]+: (?:" + "|".join(FAILURES) + ")")
# Text and bytes outside of objects: by name of the field.
_TEXTS = {
    "public_key": re.compile(r"-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\n]{100,300}-----END PUBLIC KEY-----\n?"),
    "message_id": re.compile(r"(?:[0-9a-f]{64})?"),
    "reply_to_message_id": re.compile(r"(?:[0-9a-f]{64})?"),
    "message_object_id": _HASH,
    "object_id": _HASH,
    "session_id": re.compile(r"[0-9a-f-]{0,64}"),
    "group_id": re.compile(r"[0-9]+|round [0-9]+|calibration|validation"),
    "message_type": re.compile(r"train|evaluate"),
    "reason": _FAILURE,
    "hash_str": _HASH,
}
METRICS = ("users", "within-clip", "sums")
RECORDS = re.compile(r"update|packed|metrics|answer-[0-9]+")


def undeclared(request: Request, like: Tree) -> list[str]:
    """What the request holds beyond what is declared.

    Args:
        request: of a SuperNode.
        like: the trained parameters, whose names, shapes and dtypes an update has.
    """
    found = [f"header {name}: {value}" for name, value in request.headers.items() if not _HEADERS.fullmatch(name)]
    kind = request.path.rsplit("/", 1)[-1]
    if kind not in _KINDS:
        return [*found, f"request {request.path}"]
    if _KINDS[kind] is None:
        return found
    message = _KINDS[kind]()
    message.ParseFromString(request.body)
    found += [f"{request.path}: {each}" for each in _fields(message, like)]
    return found


def _fields(message: Proto, like: Tree) -> Iterator[str]:
    if len(UnknownFieldSet(message)):
        yield "unknown fields"
    for field, value in message.ListFields():
        for each in value if field.is_repeated else [value]:
            if field.name == "object_content":
                yield from undeclared_object(each, like)
            elif isinstance(each, Proto):
                yield from _fields(each, like)
            elif isinstance(each, str | bytes):
                text = each.decode("latin-1") if isinstance(each, bytes) else each
                allowed = _TEXTS.get(field.name)
                if allowed is None or not allowed.fullmatch(text):
                    yield f"{field.full_name} = {text[:200]!r}"
            elif not isinstance(each, int | float):
                yield f"{field.full_name} = {each!r}"


def undeclared_object(content: bytes, like: Tree) -> list[str]:
    """What an object of a message holds beyond what is declared."""
    head, _, body = content.partition(b"\0")
    kind, children, size = head.decode().split(" ")
    found = [] if len(body) == int(size) else [f"{kind} has {len(body)} bytes of {size}"]
    found += [
        f"{kind} has the child {child!r}" for child in children.split(",") if child and not _HASH.fullmatch(child)
    ]
    if kind not in _OBJECTS:
        return [*found, f"an object {kind}: {body[:200]!r}"]
    return [*found, *_OBJECTS[kind](body, like)]


def _message(body: bytes, like: Tree) -> Iterable[str]:
    message = message_pb2.Message()
    message.ParseFromString(body)
    return _fields(message, like)


def _records(body: bytes, like: Tree) -> Iterable[str]:
    del like
    return [f"record {name!r}" for name in json.loads(body) if not RECORDS.fullmatch(name)]


def _arrays(body: bytes, like: Tree) -> Iterable[str]:
    return [f"array {name!r}" for name in json.loads(body) if name not in {*like, "codes", "scales"}]


def _array(body: bytes, like: Tree) -> Iterable[str]:
    fields: dict[str, Any] = json.loads(body)
    layouts = {(str(array.dtype), tuple(array.shape)) for array in like.values()}
    layout = fields.pop("dtype"), tuple(fields.pop("shape"))
    known = fields == {"stype": "numpy.ndarray", "arraychunk_ids": [0]}
    return [] if layout in layouts and known else [f"an array {layout}, {fields}"]


def _chunk(body: bytes, like: Tree) -> Iterable[str]:
    array = from_npy(body)
    layouts = {(str(each.dtype), each.shape) for each in like.values()}
    return [] if (str(array.dtype), array.shape) in layouts else [f"values {array.dtype}{array.shape}"]


def _metrics(body: bytes, like: Tree) -> Iterable[str]:
    del like
    record = recorddict_pb2.MetricRecord()
    record.ParseFromString(body)
    return [f"metric {item.key!r}" for item in record.items if item.key not in METRICS]


_OBJECTS = {
    "Message": _message,
    "RecordDict": _records,
    "ArrayRecord": _arrays,
    "Array": _array,
    "ArrayChunk": _chunk,
    "MetricRecord": _metrics,
}
