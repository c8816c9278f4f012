"""What crosses the network: the one place where trees and rounds become Flower records. Needs flwr alone."""

from tegu.wire.evaluation import answers_content, inquiry_content, read_answers, read_inquiry
from tegu.wire.training import (
    Reply,
    RoundConfig,
    packed_content,
    payload_bytes,
    read_reply,
    read_request,
    reply_content,
    request_content,
    to_record,
    to_tree,
)

__all__ = [
    "Reply",
    "RoundConfig",
    "answers_content",
    "inquiry_content",
    "packed_content",
    "payload_bytes",
    "read_answers",
    "read_inquiry",
    "read_reply",
    "read_request",
    "reply_content",
    "request_content",
    "to_record",
    "to_tree",
]
