"""What crosses the network, as Flower records. They are Flower's own, or of a device that does without flwr.

training    requests and replies of training rounds
evaluation  requests and replies of evaluation rounds
failure     what a device tells about a failure
version     which bundle a round is for
records     the classes of records
npy         arrays as bytes
"""

from tegu.wire.evaluation import (
    evaluation_reply_content,
    evaluation_request_content,
    read_evaluation_reply,
    read_evaluation_request,
)
from tegu.wire.failure import FAILURES, describe_failure, failure_reason
from tegu.wire.records import FLOWER, Records
from tegu.wire.training import (
    Reply,
    RoundConfig,
    packed_reply_content,
    payload_bytes,
    read_training_reply,
    read_training_request,
    to_record,
    to_tree,
    training_reply_content,
    training_request_content,
)
from tegu.wire.version import Version, add_version, read_version

__all__ = [
    "FAILURES",
    "FLOWER",
    "Records",
    "Reply",
    "RoundConfig",
    "Version",
    "add_version",
    "describe_failure",
    "evaluation_reply_content",
    "evaluation_request_content",
    "failure_reason",
    "packed_reply_content",
    "payload_bytes",
    "read_evaluation_reply",
    "read_evaluation_request",
    "read_training_reply",
    "read_training_request",
    "read_version",
    "to_record",
    "to_tree",
    "training_reply_content",
    "training_request_content",
]
