"""What a device answers to a round, whoever carries the messages: Flower's ClientApp, or a participant in an app.

A failure is told to the server as a class and a code. Its text, with values and paths, goes to this device's own log.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple, TypeAlias, TypeVar

from tegu.client.federation.local_noise import local_spending, with_local_noise
from tegu.client.federation.minimums import (
    Minimums,
    check_evaluation,
    check_training,
    check_training_reply,
    few_people_hidden,
)
from tegu.client.federation.people import People
from tegu.client.federation.versions import check_version
from tegu.core.bundle.file import Bundle
from tegu.core.compression.error_feedback import pack_with_feedback
from tegu.core.data.tree import Tree, check_same_layout, digest, has_same_layout
from tegu.core.errors import DataError, FederationError
from tegu.wire import (
    FLOWER,
    Records,
    Reply,
    RoundConfig,
    evaluation_reply_content,
    failure_reason,
    packed_reply_content,
    read_evaluation_request,
    read_training_request,
    read_version,
    to_record,
    to_tree,
    training_reply_content,
)

__all__ = ["Device", "answer_either", "answer_evaluation", "answer_training", "content_or_reason"]

Content: TypeAlias = Any  # a RecordDict, of Flower or of `tegu.client.participant.flower.records`
ContentT = TypeVar("ContentT")

_log = logging.getLogger(__name__)
_NOISE = "tegu-local-noise"  # in the memory
_TRAIN, _EVALUATE = "train", "evaluate"  # Flower's types of messages


class Device(NamedTuple):
    """What a device answers with.

    Attributes:
        bundle: with the graphs.
        version: `version_of` the bundle.
        people: whose rows are on the device.
        minimums: what it demands of every round.
    """

    bundle: Bundle
    version: str
    people: People
    minimums: Minimums


def content_or_reason(compute: Callable[[], ContentT]) -> ContentT | str:
    """What is computed or, whatever fails, the error's class and code alone.

    Args:
        compute: the content of a reply.
    """
    try:
        return compute()
    except Exception as error:  # whatever fails, its text stays here
        _log.exception("a round was not answered: %s", failure_reason(error))
        return failure_reason(error)


def answer_either(kind: str, content: Content, device: Device, memory: Content, records: Records = FLOWER) -> Content:
    """The answer to a round of either kind.

    Args:
        kind: Flower's type of the message, with or without the name of an action after a point.
        content: of the message.
        device: that answers.
        memory: as in `answer_training`.
        records: classes of the records of the answer.

    Raises:
        FederationError: the kind is neither training nor evaluation, or as the function for that kind.
    """
    what = kind.partition(".")[0]
    if what == _TRAIN:
        return answer_training(content, device, memory, records)
    if what == _EVALUATE:
        return answer_evaluation(content, device, records)
    raise FederationError(f"the message is of the kind {kind!r}: is the server a Tegu server?")


def answer_training(content: Content, device: Device, memory: Content, records: Records = FLOWER) -> Content:
    """A training round: the sum of the device's users' updates.

    Args:
        content: of the request.
        device: that answers.
        memory: keeps rounding errors of packed updates, which are added in the next round, and what local noise has
            spent.
        records: classes of the records of the answer.

    Raises:
        BelowMinimumError: the device demands more.
        OtherVersionError: the round is for other graphs.
        FederationError: the request cannot be read, or is for another model.
        PopulationError: no user has enough rows.
        RuntimeFailure: the graphs cannot be run.
    """
    received, config = read_training_request(content)
    check_version(device.version, read_version(content))
    check_training(device.minimums, config.clip, config.calibration_share, config.local_noise)
    meta = _with_fixed(received, device.bundle)
    found = device.people.sum_updates(meta, config)
    if found is None:
        return training_reply_content(Reply({}, 0), records)
    total, users, within, rows = found
    check_training_reply(device.minimums, users, rows, device.people.number)
    counted = None if config.local_noise else within  # which would leave without noise
    if config.local_noise:
        total = _noised(memory, total, config, received, records)
    if config.update_precision == "float32":
        return training_reply_content(Reply(total, users, counted), records)
    # One residual per fold: no fold may learn of the users it leaves out.
    name = f"tegu-residual-{config.calibration_share}-{config.fold}"
    sent, residual = pack_with_feedback(total, _residual(memory, name, total), config.update_precision)
    memory[name] = to_record(residual, records)
    return packed_reply_content(sent, users, counted, records)


def answer_evaluation(content: Content, device: Device, records: Records = FLOWER) -> Content:
    """An evaluation round: sums of metrics of candidates over the device's users, and nothing else.

    Args:
        content: of the request.
        device: that answers.
        records: classes of the records of the answer.

    Raises:
        BelowMinimumError: the device demands more.
        OtherVersionError: the round is for other graphs.
        FederationError: the request cannot be read, or is for another model.
        UnknownNameError: no such metric.
        RuntimeFailure: the graphs cannot be run.
    """
    received, request = read_evaluation_request(content)
    check_version(device.version, read_version(content))
    check_evaluation(device.minimums, request, device.bundle.manifest)
    meta = _with_fixed(received, device.bundle)
    sums = device.people.evaluate(meta, request)
    return evaluation_reply_content(few_people_hidden(device.minimums, sums, device.people.number), records)


def _noised(memory: Content, total: Tree, config: RoundConfig, received: Tree, records: Records) -> Tree:
    """The sum with the round's local noise. What it has spent is kept in the memory."""
    question = json.dumps([*(str(field) for field in asdict(config).values()), digest(received)]).encode()
    known = dict(memory.config_records.get(_NOISE) or {})
    noised, state = with_local_noise(total, config.clip, config.local_noise, question, known)
    memory[_NOISE] = records.ConfigRecord(state)
    _log.info("local noise: %s", local_spending(state))
    return noised


def _with_fixed(received: Tree, bundle: Bundle) -> Tree:
    """All parameters: those that the round sent, and the bundle's fixed ones, which no round sends.

    Raises:
        FederationError: together they do not have the layout of the bundle's parameters.
    """
    meta = {**received, **{name: bundle.meta[name] for name in bundle.manifest.fixed_parameters}}
    try:
        check_same_layout(bundle.meta, meta)
    except DataError as error:
        raise FederationError(
            f"the round's parameters are not those of this node's bundle ({error}): give server and nodes the same file"
        ) from error
    return meta


def _residual(memory: Content, name: str, update: Tree) -> Tree | None:
    """The rounding error of the last update; None where there is none or the model has changed since."""
    record = memory.array_records.get(name)
    residual = None if record is None else to_tree(record)
    return residual if residual is not None and has_same_layout(residual, update) else None
