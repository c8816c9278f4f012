"""What crosses the network, as Flower records. Needs flwr alone.

training    requests and replies of training rounds
evaluation  requests and replies of evaluation rounds
npy         arrays as bytes
"""

from tegu.wire.evaluation import (
    evaluation_reply_content,
    evaluation_request_content,
    read_evaluation_reply,
    read_evaluation_request,
)
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

__all__ = [
    "Reply",
    "RoundConfig",
    "evaluation_reply_content",
    "evaluation_request_content",
    "packed_reply_content",
    "payload_bytes",
    "read_evaluation_reply",
    "read_evaluation_request",
    "read_training_reply",
    "read_training_request",
    "to_record",
    "to_tree",
    "training_reply_content",
    "training_request_content",
]
