"""Requests and replies of an evaluation round, as Flower records.

A request carries `meta` (arrays) and `request` (what to evaluate). A reply carries metrics alone: for the i-th set of
candidates `answer-<i>`, with the number of `users` and the `sums` over them, candidate by candidate.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from tegu.core.calibration.evaluation_request import (
    COLUMNS,
    CandidateSet,
    EvaluationRequest,
    Measure,
    MetricSums,
    UserGroup,
)
from tegu.core.data.tree import Tree
from tegu.core.errors import FederationError
from tegu.wire.failure import describe_failure
from tegu.wire.records import FLOWER, Records
from tegu.wire.training import to_tree

if TYPE_CHECKING:
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict

__all__ = ["evaluation_reply_content", "evaluation_request_content", "read_evaluation_reply", "read_evaluation_request"]


def evaluation_request_content(meta: ArrayRecord, request: EvaluationRequest) -> RecordDict:
    """The content that all requests of an evaluation round share. Do not modify it."""
    fields = {
        "metric": request.metric,
        "seed": request.seed,
        "share": request.share,
        "fold": request.fold,
        "questions": json.dumps([question._asdict() for question in request.questions]),
    }
    found: RecordDict = FLOWER.RecordDict({"meta": meta, "request": FLOWER.ConfigRecord(fields)})
    return found


def read_evaluation_request(content: RecordDict) -> tuple[Tree, EvaluationRequest]:
    """The parameters and what to evaluate.

    Raises:
        FederationError: the content was not made by `evaluation_request_content`.
    """
    try:
        fields = content.config_records["request"]
        questions = [_candidate_set(entry) for entry in json.loads(str(fields["questions"]))]
        seed, share, fold = int(str(fields["seed"])), float(str(fields["share"])), int(str(fields["fold"]))
        request = EvaluationRequest(str(fields["metric"]), seed, share, questions, fold)
        return to_tree(content.array_records["meta"]), request
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FederationError(
            f"the message holds {sorted(content)} ({error!r}): is the server a Tegu server?"
        ) from error


def evaluation_reply_content(answers: list[MetricSums], records: Records = FLOWER) -> RecordDict:
    """The content of a reply: metrics alone."""
    found: RecordDict = records.RecordDict(
        {
            f"answer-{index}": records.MetricRecord({"users": answer.users, "sums": answer.sums.reshape(-1).tolist()})
            for index, answer in enumerate(answers)
        }
    )
    return found


def read_evaluation_reply(message: Message, request: EvaluationRequest) -> list[MetricSums]:
    """The results in a reply, one for each set of candidates.

    Args:
        message: with content from `evaluation_reply_content`.
        request: what the reply answers.

    Raises:
        FederationError: the node failed, or the reply does not fit the request.
    """
    if message.has_error():
        raise FederationError(f"the participant failed: {describe_failure(message.error.reason)}")
    records = message.content.metric_records
    try:
        return [_sums(records[f"answer-{index}"], wanted) for index, wanted in enumerate(request.questions)]
    except (KeyError, TypeError, ValueError) as error:
        source = message.metadata.src_node_id
        raise FederationError(
            f"node {source} replied {sorted(message.content)} ({error!r}): expected a result for each set of candidates"
        ) from error


def _sums(record: MetricRecord, wanted: CandidateSet) -> MetricSums:
    users = int(str(record["users"]))
    sums = np.asarray(record["sums"], np.float64).reshape(len(wanted.options), COLUMNS[wanted.measure])
    if users < 0:
        raise ValueError(f"users is {users}")
    return MetricSums(users, sums)


def _candidate_set(fields: Any) -> CandidateSet:
    question = CandidateSet(**fields)
    if question.measure not in get_args(Measure) or question.who not in get_args(UserGroup):
        raise ValueError(f"measure is {question.measure!r} and who is {question.who!r}")
    if question.k < 1 or question.draws < 1:
        raise ValueError(f"k is {question.k} and draws is {question.draws}")
    if not 0 <= question.material <= 1:
        raise ValueError(f"material is {question.material}")
    return question._replace(options=[_knobs(knobs) for knobs in question.options])


def _knobs(fields: Any) -> dict[str, float]:
    return {str(name): float(value) for name, value in fields.items()}
