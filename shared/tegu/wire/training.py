"""What a round sends and what comes back, as Flower records.

A message carries `meta` (arrays) and `config` (how to draw episodes, how to clip). A reply carries `update`, the *sum*
over its users of their clipped updates, by name or packed into few bytes, and `metrics`, with the number of those
users. Sums add up, so one reply may stand for one device, for a SuperNode with many users, or for a whole simulated
cohort.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from tegu.core.compression.error_feedback import Packed, unpack
from tegu.core.compression.precision import Precision, check_precision
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.errors import FederationError, UnknownNameError
from tegu.core.sampling.episode import EpisodeRule
from tegu.wire.npy import dtype_name, from_npy, to_npy

__all__ = [
    "Reply",
    "RoundConfig",
    "packed_reply_content",
    "payload_bytes",
    "read_training_reply",
    "read_training_request",
    "to_record",
    "to_tree",
    "training_reply_content",
    "training_request_content",
]

_NUMPY = "numpy.ndarray"  # what Flower calls the format of `tegu.wire.npy`


@dataclass(frozen=True)
class RoundConfig:
    """What a participant must know of a round.

    Attributes:
        round: from 1.
        seed: of the run; with the round and the user's id it decides the episode.
        clip: largest norm of one user's update; infinite for none.
        rule: how much becomes support and query.
        users: how many of a node's users take part, drawn by seed and round; 0 for all of them.
        updates: how replies carry their update: "float32" by name, "float16" or "int8" packed.
        share: of all users who calibrate, and so take no part; see `tegu.core.calibration.assignment`.
        fold: which share.
    """

    round: int
    seed: int
    clip: float
    rule: EpisodeRule
    users: int = 0
    updates: Precision = "float32"
    share: float = 0.0
    fold: int = 0


class Reply(NamedTuple):
    """The sum of `users` users' updates; of none, where all of a node's users calibrate, it is empty."""

    update: Tree
    users: int


def to_record(tree: Tree) -> ArrayRecord:
    """A tree as Flower sends it, names kept."""
    record = ArrayRecord()
    for name, value in tree.items():
        array = np.asarray(value)
        record[name] = FlowerArray(dtype=dtype_name(array.dtype), shape=array.shape, stype=_NUMPY, data=to_npy(array))
    return record


def to_tree(record: ArrayRecord) -> Tree:
    """The tree in a record.

    Raises:
        FederationError: an entry is not one array in numpy's own format.
    """
    return {name: _decoded(name, array) for name, array in record.items()}


def _decoded(name: str, array: FlowerArray) -> Array:
    try:
        if array.stype != _NUMPY:
            raise ValueError(f"it is stored as {array.stype!r}")  # noqa: TRY301 # one message for all that is wrong
        return from_npy(array.data)
    except Exception as error:  # numpy raises half a dozen kinds for bytes that are no array
        raise FederationError(
            f"the array {name!r} is not readable ({error!r}): expected numpy's own format, as to_record writes it"
        ) from error


def training_request_content(meta: ArrayRecord, config: RoundConfig) -> RecordDict:
    """The content that all messages of a round share; never change it."""
    rule = config.episodes
    fields = ConfigRecord(
        {
            "round": config.round,
            "seed": config.seed,
            "clip": config.clip,
            "min-support": rule.min_support,
            "max-support": rule.max_support,
            "max-query": rule.max_query,
            "users": config.users_per_node,
            "updates": config.update_precision,
            "share": config.calibration_share,
            "fold": config.fold,
        }
    )
    return RecordDict({"meta": meta, "config": fields})


def read_training_request(content: RecordDict) -> tuple[Tree, RoundConfig]:
    """The initialisation and the round's settings.

    Raises:
        FederationError: the message is not one of `training_request_content`'s.
    """
    try:
        fields = content.config_records["config"]
        rule = EpisodeRule(*(int(str(fields[name])) for name in ("min-support", "max-support", "max-query")))
        number, seed, users, fold = (int(str(fields[name])) for name in ("round", "seed", "users", "fold"))
        precision = check_precision(str(fields["updates"]))
        clip, share = (float(str(fields[name])) for name in ("clip", "share"))
        config = RoundConfig(number, seed, clip, rule, users, precision, share, fold)
        return to_tree(content.array_records["meta"]), config
    except (KeyError, ValueError, UnknownNameError) as error:
        raise FederationError(
            f"the message holds {sorted(content)} ({error!r}): is the server a Tegu server?"
        ) from error


def training_reply_content(reply: Reply) -> RecordDict:
    """A reply's content, by name and in full precision."""
    return RecordDict({"update": to_record(reply.update), "metrics": MetricRecord({"users": reply.users})})


def packed_reply_content(update: Packed, users: int) -> RecordDict:
    """The content of a reply whose update is packed."""
    return RecordDict({"packed": to_record(update._asdict()), "metrics": MetricRecord({"users": users})})


def payload_bytes(content: RecordDict) -> int:
    """Bytes of all arrays in a message."""
    return sum(len(array.data) for record in content.array_records.values() for array in record.values())


def read_training_reply(message: Message, like: Tree) -> Reply:
    """The sum of updates in a reply.

    Args:
        message: of `training_reply_content` or `packed_reply_content`.
        like: a tree of the update's layout, which packed updates do not tell.

    Raises:
        FederationError: the node failed, or the reply is none of these.
        DataError: a packed update of another layout.
    """
    if message.has_error():
        raise FederationError(f"the participant failed: {message.error.reason}")
    try:
        users = int(str(message.content.metric_records["metrics"]["users"]))
        records = message.content.array_records
        if "packed" in records:
            packed = to_tree(records["packed"])
            return Reply(unpack(Packed(packed["codes"], packed["scales"]), like), users)
        return Reply(to_tree(records["update"]), users)
    except (KeyError, ValueError) as error:
        source = message.metadata.src_node_id
        raise FederationError(
            f"node {source} replied {sorted(message.content)}: expected update and metrics"
        ) from error
