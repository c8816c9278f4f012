"""The protobuf messages of Flower's Fleet API, as far as a node uses them.

What Flower's messages have besides is skipped in reading, and never sent.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["SCHEMA", "message"]

_VALUES = """
    one double double = 1; one sint64 sint64 = 2; one uint64 uint64 = 3;
    one DoubleList double_list = 21; one SintList sint_list = 22; one UintList uint_list = 23
"""
SCHEMA = {
    "Node": "uint64 node_id = 1",
    "RegisterNodeFleetRequest": "bytes public_key = 1",
    "RegisterNodeFleetResponse": "uint64 node_id = 1",
    "ActivateNodeRequest": "bytes public_key = 1; double heartbeat_interval = 2",
    "ActivateNodeResponse": "uint64 node_id = 1",
    "DeactivateNodeRequest": "uint64 node_id = 1",
    "DeactivateNodeResponse": "",
    "SendNodeHeartbeatRequest": "Node node = 1; double heartbeat_interval = 2",
    "SendNodeHeartbeatResponse": "bool success = 1",
    "PullMessagesRequest": "Node node = 1",
    "PullMessagesResponse": "many Message messages_list = 2; many ObjectTree message_object_trees = 3",
    "PushMessagesRequest": """
        Node node = 1; many Message messages_list = 2; many ObjectTree message_object_trees = 3;
        many double clientapp_runtime_list = 4
    """,
    "PushMessagesResponse": "many string objects_to_push = 3; string session_id = 4",
    "PullObjectRequest": "Node node = 1; uint64 run_id = 2; string object_id = 3",
    "PullObjectResponse": "bool object_found = 1; bool object_available = 2; bytes object_content = 3",
    "PushObjectRequest": """
        Node node = 1; uint64 run_id = 2; string object_id = 3; bytes object_content = 4; string session_id = 5
    """,
    "PushObjectResponse": "bool stored = 1",
    "ConfirmMessageReceivedRequest": "Node node = 1; uint64 run_id = 2; string message_object_id = 3",
    "ConfirmMessageReceivedResponse": "",
    "Message": "Metadata metadata = 1; RecordDict content = 2; Error error = 3",
    "RecordDict": "",
    "Error": "sint64 code = 1; string reason = 2",
    "Metadata": """
        uint64 run_id = 1; string message_id = 2; uint64 src_node_id = 3; uint64 dst_node_id = 4;
        string reply_to_message_id = 5; string group_id = 6; double ttl = 7; string message_type = 8;
        double created_at = 9; maybe uint64 src_task_id = 10; maybe uint64 dst_task_id = 11
    """,
    "ObjectTree": "string object_id = 1; many ObjectTree children = 2",
    "DoubleList": "many double vals = 1",
    "SintList": "many sint64 vals = 1",
    "UintList": "many uint64 vals = 1",
    "BoolList": "many bool vals = 1",
    "StringList": "many string vals = 1",
    "BytesList": "many bytes vals = 1",
    "MetricRecordValue": _VALUES,
    "ConfigRecordValue": f"""{_VALUES};
        one bool bool = 4; one string string = 5; one bytes bytes = 6;
        one BoolList bool_list = 24; one StringList string_list = 25; one BytesList bytes_list = 26
    """,
    "MetricItem": "string key = 1; MetricRecordValue value = 2",
    "ConfigItem": "string key = 1; ConfigRecordValue value = 2",
    "MetricRecord": "many MetricItem items = 1",
    "ConfigRecord": "many ConfigItem items = 1",
}
"""The fields of each message. `many` repeats a field, `maybe` says whether it is there, and of `one` there is one."""

_PACKAGE = "tegu.flower"
_FIELD = re.compile(r"(?:(many|maybe|one) )?(\w+) (\w+) = (\d+)")
_KINDS = {"double": 1, "uint64": 4, "bool": 8, "string": 9, "bytes": 12, "sint64": 18}
_IS_MESSAGE, _OPTIONAL, _REPEATED = 11, 1, 3


def _descriptors() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="tegu_flower.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in SCHEMA.items():
        made = file.message_type.add(name=name)
        if "one " in fields:
            made.oneof_decl.add(name="value")
        for how, kind, field, number in _FIELD.findall(fields):
            added = made.field.add(name=field, number=int(number), label=_REPEATED if how == "many" else _OPTIONAL)
            if kind in _KINDS:
                added.type = _KINDS[kind]
            else:
                added.type, added.type_name = _IS_MESSAGE, f".{_PACKAGE}.{kind}"
            if how == "one":
                added.oneof_index = 0
            elif how == "maybe":
                added.oneof_index, added.proto3_optional = len(made.oneof_decl), True
                made.oneof_decl.add(name=f"_{field}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


_pool = _descriptors()
_classes = {name: message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in SCHEMA}


def message(name: str, **fields: Any) -> Any:
    """A message of the schema.

    Args:
        name: of the message.
        fields: values by name.
    """
    return _classes[name](**fields)
