"""Requests and replies of a training round, as Flower records.

A request carries `meta` (arrays) and `config` (how to draw episodes and clip updates). A reply carries the *sum* of its
users' clipped updates and the number of those users (`metrics`). The sum is stored by name (`update`), or encoded in
fewer bytes (`packed`). Because sums add up, a reply may come from one device, from a SuperNode with many users, or from
a whole simulated cohort.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tegu.core.compression.error_feedback import Packed, unpack
from tegu.core.compression.precision import Precision, check_precision
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.errors import FederationError, UnknownNameError
from tegu.core.sampling.episode import EpisodeRule
from tegu.wire.failure import describe_failure
from tegu.wire.npy import dtype_name, from_npy, to_npy
from tegu.wire.records import FLOWER, Records

if TYPE_CHECKING:
    from flwr.app import Array as FlowerArray
    from flwr.app import ArrayRecord, Message, RecordDict

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

_NUMPY = "numpy.ndarray"  # Flower's name for the format of `tegu.wire.npy`


@dataclass(frozen=True)
class RoundConfig:
    """Settings of a training round.

    Attributes:
        round: from 1.
        seed: of the run. Seed, round and user name determine the episode.
        clip: largest norm of one user's update; infinite for no clipping.
        episodes: sizes of support and query.
        users_per_node: number of a node's users that take part, drawn by seed and round; 0 for all of them.
        update_precision: of the updates in replies: "float32" by name, "float16" or "int8" packed.
        calibration_share: of all users who calibrate and do not train, see `tegu.core.calibration.assignment`.
        fold: of cross-fitting, from 0.
        private: whether noise protects each person. A person whose update is not finite then sends zeros, so that
            nobody's numbers decide whether the others' count.
        local_noise: standard deviation, in clips, of the noise that the device adds to its sum; 0 for none.
    """

    round: int
    seed: int
    clip: float
    episodes: EpisodeRule
    users_per_node: int = 0
    update_precision: Precision = "float32"
    calibration_share: float = 0.0
    fold: int = 0
    private: bool = False
    local_noise: float = 0.0


class Reply(NamedTuple):
    """The sum of a node's updates.

    Attributes:
        update: the sum of its users' clipped updates; empty where all of a node's users calibrate.
        users: number of users in the sum.
        within: number of those whose update needed no clipping, for an adaptive clip; None if nobody counted them.
    """

    update: Tree
    users: int
    within: int | None = None


def to_record(tree: Tree, records: Records = FLOWER) -> ArrayRecord:
    """A tree as a record of the same names."""
    record: ArrayRecord = records.ArrayRecord()
    for name, value in tree.items():
        array = np.asarray(value)
        record[name] = records.Array(dtype=dtype_name(array.dtype), shape=array.shape, stype=_NUMPY, data=to_npy(array))
    return record


def to_tree(record: ArrayRecord) -> Tree:
    """The tree in a record.

    Raises:
        FederationError: an entry is not an array in numpy's format.
    """
    return {name: _decoded(name, array) for name, array in record.items()}


def _decoded(name: str, array: FlowerArray) -> Array:
    try:
        if array.stype != _NUMPY:
            raise ValueError(f"it is stored as {array.stype!r}")  # noqa: TRY301 # one message for all faults
        return from_npy(array.data)
    except Exception as error:  # numpy raises many kinds for bytes that are not an array
        raise FederationError(
            f"the array {name!r} is not readable ({error!r}): expected numpy's format, as to_record writes it"
        ) from error


def training_request_content(meta: ArrayRecord, config: RoundConfig) -> RecordDict:
    """The content that all requests of a round share. Do not modify it."""
    fields = FLOWER.ConfigRecord(
        {
            "round": config.round,
            "seed": config.seed,
            "clip": config.clip,
            "min-support": config.episodes.min_support,
            "max-support": config.episodes.max_support,
            "max-query": config.episodes.max_query,
            "users-per-node": config.users_per_node,
            "update-precision": config.update_precision,
            "calibration-share": config.calibration_share,
            "fold": config.fold,
            "private": config.private,
            "local-noise": config.local_noise,
        }
    )
    found: RecordDict = FLOWER.RecordDict({"meta": meta, "config": fields})
    return found


def read_training_request(content: RecordDict) -> tuple[Tree, RoundConfig]:
    """The initialisation and the round's settings in a request.

    Raises:
        FederationError: the content was not made by `training_request_content`.
    """
    try:
        fields = content.config_records["config"]
        episodes = EpisodeRule(*(int(str(fields[name])) for name in ("min-support", "max-support", "max-query")))
        number, seed, users, fold = (int(str(fields[name])) for name in ("round", "seed", "users-per-node", "fold"))
        precision = check_precision(str(fields["update-precision"]))
        clip, share = (float(str(fields[name])) for name in ("clip", "calibration-share"))
        private, noise = bool(fields["private"]), float(str(fields["local-noise"]))
        config = RoundConfig(number, seed, clip, episodes, users, precision, share, fold, private, noise)
        return to_tree(content.array_records["meta"]), config
    except (KeyError, ValueError, UnknownNameError) as error:
        raise FederationError(
            f"the message holds {sorted(content)} ({error!r}): is the server a Tegu server?"
        ) from error


def training_reply_content(reply: Reply, records: Records = FLOWER) -> RecordDict:
    """The content of a reply whose update is stored by name in full precision."""
    return _content("update", reply.update, reply.users, reply.within, records)


def packed_reply_content(
    update: Packed, users: int, within: int | None = None, records: Records = FLOWER
) -> RecordDict:
    """The content of a reply whose update is encoded in fewer bytes."""
    return _content("packed", update._asdict(), users, within, records)


def _content(name: str, update: Tree, users: int, within: int | None, records: Records) -> RecordDict:
    counts: dict[str, Any] = {"users": users} if within is None else {"users": users, "within-clip": within}
    found: RecordDict = records.RecordDict({name: to_record(update, records), "metrics": records.MetricRecord(counts)})
    return found


def payload_bytes(content: RecordDict) -> int:
    """Size of all arrays in a message, in bytes."""
    return sum(len(array.data) for record in content.array_records.values() for array in record.values())


def read_training_reply(message: Message, like: Tree) -> Reply:
    """The sum of updates in a reply.

    Args:
        message: with content from `training_reply_content` or `packed_reply_content`.
        like: a tree with the layout of the update, which packed updates do not contain.

    Raises:
        FederationError: the node failed, or the content is neither of the two.
        DataError: the layout of a packed update differs.
    """
    if message.has_error():
        raise FederationError(f"the participant failed: {describe_failure(message.error.reason)}")
    try:
        counts = message.content.metric_records["metrics"]
        users = int(str(counts["users"]))
        within = int(str(counts["within-clip"])) if "within-clip" in counts else None
        records = message.content.array_records
        if "packed" in records:
            packed = to_tree(records["packed"])
            return Reply(unpack(Packed(packed["codes"], packed["scales"]), like), users, within)
        return Reply(to_tree(records["update"]), users, within)
    except (KeyError, ValueError) as error:
        source = message.metadata.src_node_id
        raise FederationError(
            f"node {source} replied {sorted(message.content)}: expected update and metrics; is it a Tegu client?"
        ) from error
