"""A message's content as the objects that cross the network one by one, each under its sha256.

An object is a head (its kind, the ids of its children, and the length of its body), a zero byte, and the body. A
RecordDict and an ArrayRecord name their children in JSON, an Array has its description in JSON and its bytes in chunks,
and other records are protobuf.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tegu.client.participant.flower.protobuf import message
from tegu.client.participant.flower.records import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

__all__ = ["MalformedError", "Part", "children_of", "content_of", "message_part", "parts_of"]

_CHUNK_BYTES = 5_242_880
_MOST_ARRAY_BYTES = 1 << 30
_MOST_INT64 = (1 << 63) - 1
_FIELDS: Mapping[type, str] = {float: "double", int: "sint", bool: "bool", str: "string", bytes: "bytes"}
_LISTS = {"double": "DoubleList", "sint": "SintList", "uint": "UintList", "bool": "BoolList", "string": "StringList",
          "bytes": "BytesList"}  # fmt: skip


class MalformedError(ValueError):
    """An object is not what its kind or its parent says."""


class Part(NamedTuple):
    """An object to be sent, with all below it.

    Attributes:
        id: sha256 of its bytes, in hexadecimal.
        data: its bytes.
        children: the objects that it names, each once.
    """

    id: str
    data: bytes
    children: tuple[Part, ...]

    def tree(self) -> Any:
        """The ids, as the Fleet API has them."""
        return message("ObjectTree", object_id=self.id, children=[child.tree() for child in self.children])


def parts_of(part: Part) -> dict[str, bytes]:
    """An object and all below it by id, children first."""
    found: dict[str, bytes] = {}
    for child in part.children:
        found |= parts_of(child)
    return {**found, part.id: part.data}


def message_part(body: bytes, content: RecordDict | None) -> Part:
    """A message.

    Args:
        body: its metadata and its error, as protobuf.
        content: None for an error.
    """
    return _part("Message", body, [] if content is None else [_record_dict(content)])


def content_of(objects: Mapping[str, bytes], top: str) -> RecordDict:
    """The content of a message.

    Args:
        objects: bytes by id.
        top: id of the message.

    Raises:
        MalformedError: an object is absent, or is not what it should be.
    """
    try:
        _, (content,) = _opened(objects, top, "Message")
        body, known = _opened(objects, content, "RecordDict")
        return RecordDict({str(name): _record(objects, _of(known, each)) for name, each in json.loads(body).items()})
    except MalformedError:
        raise
    except Exception as error:  # JSON and protobuf raise many kinds
        raise MalformedError(f"an object cannot be read ({error!r})") from error


def children_of(data: bytes) -> list[str]:
    """The ids of the objects that an object names.

    Raises:
        MalformedError: it has no head.
    """
    try:
        return _split(data)[1]
    except ValueError as error:
        raise MalformedError(f"an object has no head ({error})") from error


def _part(kind: str, body: bytes, children: Iterable[Part]) -> Part:
    own = tuple({child.id: child for child in children}.values())
    data = f"{kind} {','.join(child.id for child in own)} {len(body)}".encode() + b"\x00" + body
    return Part(hashlib.sha256(data).hexdigest(), data, own)


def _record_dict(records: RecordDict) -> Part:
    parts = {name: _record_part(record) for name, record in records.items()}
    return _part("RecordDict", _ids(parts), parts.values())


def _record_part(record: Any) -> Part:
    if isinstance(record, ArrayRecord):
        arrays = {name: _array_part(array) for name, array in record.items()}
        return _part("ArrayRecord", _ids(arrays), arrays.values())
    if isinstance(record, MetricRecord):
        return _part("MetricRecord", _values("Metric", record, (float, int)), ())
    return _part("ConfigRecord", _values("Config", record, (bool, int, float, str, bytes)), ())


def _array_part(array: Array) -> Part:
    begins = range(0, len(array.data), _CHUNK_BYTES)
    chunks = [_part("ArrayChunk", array.data[begin : begin + _CHUNK_BYTES], ()) for begin in begins]
    places = {each: place for place, each in enumerate(dict.fromkeys(chunk.id for chunk in chunks))}
    described = {"dtype": array.dtype, "shape": array.shape, "stype": array.stype}
    body = {**described, "arraychunk_ids": [places[chunk.id] for chunk in chunks]}
    return _part("Array", json.dumps(body).encode(), chunks)


def _ids(parts: Mapping[str, Part]) -> bytes:
    return json.dumps({name: part.id for name, part in parts.items()}).encode()


def _values(kind: str, record: Mapping[str, Any], allowed: tuple[type, ...]) -> bytes:
    items = [
        message(f"{kind}Item", key=name, value=message(f"{kind}RecordValue", **_field(value, allowed)))
        for name, value in record.items()
    ]
    return bytes(message(f"{kind}Record", items=items).SerializeToString())


def _field(value: Any, allowed: tuple[type, ...]) -> dict[str, Any]:
    for kind in allowed:
        if isinstance(value, kind):
            name = _name(kind, [value])
            return {f"{name}64" if kind is int else name: value}
        if isinstance(value, list) and all(isinstance(each, kind) for each in value):
            name = _name(kind, value)
            return {f"{name}_list": message(_LISTS[name], vals=value)}
    raise TypeError(f"a record cannot hold {value!r}")


def _name(kind: type, values: list[Any]) -> str:
    return "uint" if kind is int and any(each > _MOST_INT64 for each in values) else _FIELDS[kind]


def _opened(objects: Mapping[str, bytes], name: str, *kinds: str) -> tuple[bytes, list[str]]:
    """The body of an object, and the ids of its children, which must be of one of the kinds."""
    if name not in objects:
        raise MalformedError("an object is absent")
    kind, children, length, body = _split(objects[name])
    if kind not in kinds or int(length) != len(body):
        raise MalformedError(f"an object is a {kind[:20]} of {length[:20]} bytes: expected {' or '.join(kinds)}")
    return body, children


def _split(data: bytes) -> tuple[str, list[str], str, bytes]:
    """An object's kind, the ids of its children, the length that it states, and its body.

    Raises:
        ValueError: it has no head.
    """
    head, _, body = data.partition(b"\x00")
    kind, children, length = head.decode().split(" ")
    return kind, children.split(",") if children else [], length, body


def _of(known: list[str], name: object) -> str:
    if name not in known:
        raise MalformedError("an object names another one that is not among its children")
    return str(name)


def _record(objects: Mapping[str, bytes], name: str) -> Any:
    body, children = _opened(objects, name, "ArrayRecord", "ConfigRecord", "MetricRecord")
    kind = objects[name][:6]
    if kind == b"ArrayR":
        arrays = {each: _array(objects, each) for each in children}
        return ArrayRecord({key: arrays[_of(children, each)] for key, each in json.loads(body).items()})
    word = "Config" if kind == b"Config" else "Metric"
    found = message(f"{word}Record")
    found.ParseFromString(body)
    values = {item.key: _value(item.value) for item in found.items}
    return ConfigRecord(values) if word == "Config" else MetricRecord(values)


def _value(value: Any) -> Any:
    name = value.WhichOneof("value")
    if name is None:
        raise MalformedError("a record has an entry without a value")
    found = getattr(value, name)
    return list(found.vals) if name.endswith("_list") else found


def _array(objects: Mapping[str, bytes], name: str) -> Array:
    body, children = _opened(objects, name, "Array")
    described = json.loads(body)
    chunks = [_opened(objects, each, "ArrayChunk")[0] for each in children]
    places = described["arraychunk_ids"]
    if sum(len(chunks[place]) for place in places) > _MOST_ARRAY_BYTES:  # one chunk may be named many times
        raise MalformedError(f"an array has more than {_MOST_ARRAY_BYTES} bytes")
    data = b"".join(chunks[place] for place in places)
    return Array(str(described["dtype"]), tuple(described["shape"]), str(described["stype"]), data)
