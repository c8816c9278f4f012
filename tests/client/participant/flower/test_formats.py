"""The formats of Flower that a participant speaks, against the Flower that is installed. A newer Flower fails here."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import flwr
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.app.message.message import remove_content_from_message
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, TIMESTAMP_HEADER
from flwr.common.serde import message_to_proto
from flwr.supercore import constant
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_children_ids_from_object_content,
    get_object_tree,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supernode.fleet_http_client import FleetHttpClient

from tegu.client.federation.http import Connection
from tegu.client.participant.flower import TRIED, fleet, objects, records
from tegu.client.participant.flower.protobuf import SCHEMA, message
from tegu.client.participant.flower.upload import Upload, upload_of
from tegu.sim.federation.grid import flower_identity

OWN_NAMES = {"MetricItem": "MetricRecord.Item", "ConfigItem": "ConfigRecord.Item"}
# Fields that a participant neither reads nor sends.
LEFT_OUT = {
    "PullMessagesRequest": {"message_ids"},
    "PullMessagesResponse": {"reconnect"},
    "PushMessagesResponse": {"reconnect", "results"},
    "RecordDict": {"items"},
}


def flower_descriptor(name: str) -> Any:
    fleet_pb2 = importlib.import_module("flwr.proto.fleet_pb2")
    importlib.import_module("flwr.proto.heartbeat_pb2")
    return fleet_pb2.DESCRIPTOR.pool.FindMessageTypeByName(f"flwr.proto.{OWN_NAMES.get(name, name)}")


def described(descriptor: Any, own: bool) -> dict[str, tuple[Any, ...]]:
    def target(field: Any) -> str | None:
        if field.message_type is None:
            return None
        name = field.message_type.name
        return name if own or name != "Item" else field.message_type.containing_type.name.replace("Record", "Item")

    return {
        field.name: (
            field.number,
            field.type,
            field.is_repeated,
            field.has_presence,
            target(field),
            field.containing_oneof.name if field.containing_oneof else None,
        )
        for field in descriptor.fields
    }


def test_flower_is_of_a_version_that_was_tried() -> None:
    """If this fails, run the tests of this file and tests/federation with it, and then add the version to TRIED."""
    assert flwr.__version__ in TRIED


@pytest.mark.parametrize("name", SCHEMA)
def test_messages_are_those_of_flower(name: str) -> None:
    theirs = described(flower_descriptor(name), own=False)
    own = described(message(name).DESCRIPTOR, own=True)
    assert own == {field: value for field, value in theirs.items() if field not in LEFT_OUT.get(name, ())}


def test_calls_and_headers_are_those_of_flower() -> None:
    source = inspect.getsource(FleetHttpClient)
    own = inspect.getsource(fleet)
    for path in ("activate-node", "deactivate-node", "send-node-heartbeat", "pull-messages", "push-messages",
                 "pull-object", "push-object", "confirm-message-received", "register-node"):  # fmt: skip
        assert f'"/v1/fleet/{path}"' in source
        assert f'"{path}"' in own
    for header in (
        TIMESTAMP_HEADER,
        constant.FLEET_HTTP_PUBLIC_KEY_HEADER,
        constant.FLEET_HTTP_SIGNATURE_HEADER,
        constant.FLWR_PACKAGE_NAME_METADATA_KEY,
        constant.FLWR_PACKAGE_VERSION_METADATA_KEY,
        constant.FLWR_COMPONENT_NAME_METADATA_KEY,
        PROTOBUF_MEDIA_TYPE,
    ):
        assert f'"{header}"' in own
    assert fleet.HEARTBEAT_SECONDS == HEARTBEAT_DEFAULT_INTERVAL


def content(kinds: Any) -> Any:
    """The same content in Flower's classes and in a participant's."""
    rng = np.random.default_rng(0)
    large = rng.bytes(6_000_000)  # of two chunks
    zeros = bytes(11_000_000)  # of three chunks, two of which are the same
    return kinds.RecordDict(
        {
            "arrays": kinds.ArrayRecord(
                {
                    "large": kinds.Array("uint8", (6_000_000,), "numpy.ndarray", large),
                    "zeros": kinds.Array("uint8", (11_000_000,), "numpy.ndarray", zeros),
                    "same": kinds.Array("uint8", (6_000_000,), "numpy.ndarray", large),
                    "scalar": kinds.Array("float32", (), "numpy.ndarray", b"abcd"),
                    "nothing": kinds.Array("float32", (0,), "numpy.ndarray", b""),
                }
            ),
            "metrics": kinds.MetricRecord(
                {"users": 3, "loss": 0.5, "sums": [1.0, -2.5], "counts": [1, -2], "none": []}
            ),
            "config": kinds.ConfigRecord(
                {
                    "flag": True,
                    "big": (1 << 64) - 1,
                    "negative": -5,
                    "text": "Grüße",
                    "bytes": b"\x00\x01",
                    "flags": [True, False],
                    "texts": ["a", "b"],
                    "parts": [b"a", b"b"],
                    "bigs": [1, (1 << 64) - 1],
                    "share": 0.25,
                }
            ),
            "empty": kinds.ArrayRecord({}),
        }
    )


class Theirs:
    Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict = (
        Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict)  # fmt: skip


def asked() -> Message:
    with flower_identity():
        found = Message(content(Theirs), dst_node_id=77, message_type="train", group_id="4")
    found.metadata.__dict__["_message_id"] = found.object_id
    return found


def test_content_arrives_as_flower_sends_it() -> None:
    sent = asked()
    parts = {name: part.deflate() for name, part in get_all_nested_objects(sent).items()}
    assert objects.content_of(parts, sent.object_id) == content(records)


def test_children_are_those_that_flower_reads() -> None:
    parts = {name: part.deflate() for name, part in get_all_nested_objects(asked()).items()}
    for data in parts.values():
        assert objects.children_of(data) == get_object_children_ids_from_object_content(data)
    assert sum(map(len, map(objects.children_of, parts.values()))) > 1
    for broken in (b"", b"Message", b"Message  3 4\x00abc", b"\xff\xff\xff\x00"):
        with pytest.raises(objects.MalformedError, match="an object has no head"):
            objects.children_of(broken)


def test_a_message_is_fetched_by_what_its_objects_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another device may have announced one of them with a false child, which is then in the server's tree."""
    sent = asked()
    parts = {name: part.deflate() for name, part in get_all_nested_objects(sent).items()}
    node = fleet.Fleet(Connection("127.0.0.1", 1, None, 1.0), None)
    monkeypatch.setattr(node, "_object", lambda run, name: parts[name])
    monkeypatch.setattr(node, "_confirm", lambda pulled: None)
    tree = message("ObjectTree", object_id=sent.object_id, children=[message("ObjectTree", object_id="f" * 64)])
    assert node.fetch(fleet.Pulled(message("Metadata", run_id=1), tree)) == content(records)


def ids(tree: Any) -> tuple[str, list[Any]]:
    return tree.object_id, [ids(child) for child in tree.children]


def with_times_of(reply: Message, upload: Upload) -> Message:
    """A reply of Flower's, made when the upload was."""
    reply.metadata.created_at, reply.metadata.ttl = upload.sent.metadata.created_at, upload.sent.metadata.ttl
    return reply


def test_a_reply_is_what_flower_would_send() -> None:
    """Byte by byte, and Flower's own code reads it."""
    request = asked()
    upload = upload_of(metadata_of(request), content(records))
    reply = with_times_of(Message(content(Theirs), reply_to=request), upload)
    part = upload.whole
    assert part.id == reply.object_id
    assert objects.parts_of(part) == {name: each.deflate() for name, each in get_all_nested_objects(reply).items()}
    assert ids(part.tree()) == ids(get_object_tree(reply))
    reply.metadata.__dict__["_message_id"] = reply.object_id
    theirs = message_to_proto(remove_content_from_message(reply))
    assert upload.sent.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)
    whole = inflate_object_from_contents(part.id, objects.parts_of(part))
    assert isinstance(whole, Message)
    assert whole.content == reply.content


def test_an_upload_holds_what_the_server_wants() -> None:
    upload = upload_of(metadata_of(asked()), content(records))
    parts = objects.parts_of(upload.whole)
    assert (upload.session, upload.left) == (None, {})
    name = next(iter(parts))
    upload.begin("s", [name])
    assert (upload.session, upload.left) == ("s", {name: parts[name]})
    upload.begin("new", [])
    assert (upload.session, upload.left) == ("", parts), "the server has noted the reply before"
    assert next(iter(upload.left)) == upload.whole.id


def test_a_refusal_is_what_flower_would_send() -> None:
    request = asked()
    upload = upload_of(metadata_of(request), "FederationError: opted-out")
    reply = with_times_of(Message(Error(2, "FederationError: opted-out"), reply_to=request), upload)
    assert upload.whole.data == reply.deflate()
    reply.metadata.__dict__["_message_id"] = reply.object_id
    theirs = message_to_proto(reply)
    assert upload.sent.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)


def metadata_of(sent: Message) -> Any:
    found = message("Metadata")
    found.ParseFromString(message_to_proto(sent).metadata.SerializeToString())
    return found


def test_damaged_content_is_refused() -> None:
    """Whatever is cut, exchanged or renamed, nothing but `MalformedError` is raised."""
    small = records.RecordDict(
        {"a": records.ArrayRecord({"w": records.Array("float32", (1,), "numpy.ndarray", b"abcd")}),
         "c": records.ConfigRecord({"round": 3})}
    )  # fmt: skip
    whole = objects.message_part(b"", small)
    parts = objects.parts_of(whole)
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(3000):
        damaged = dict(parts)
        name = list(parts)[rng.integers(len(parts))]
        data = bytearray(damaged[name])
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        damaged[name] = bytes(data[: rng.integers(len(data) + 1)] if rng.random() < 0.3 else data)
        if rng.random() < 0.1:
            del damaged[name]
        try:
            objects.content_of(damaged, whole.id)
        except objects.MalformedError:
            refused += 1
    assert refused > 2000


def test_a_chunk_named_too_often_is_refused() -> None:
    chunk = objects._part("ArrayChunk", bytes(5 << 20), ())
    body = b'{"dtype": "uint8", "shape": [1], "stype": "numpy.ndarray", "arraychunk_ids": [%s]}' % b",".join(
        [b"0"] * 999
    )
    array = objects._part("Array", body, [chunk])
    record = objects._part("ArrayRecord", b'{"w": "%s"}' % array.id.encode(), [array])
    content = objects._part("RecordDict", b'{"meta": "%s"}' % record.id.encode(), [record])
    whole = objects._part("Message", b"", [content])
    with pytest.raises(objects.MalformedError, match="more than"):
        objects.content_of(objects.parts_of(whole), whole.id)
