"""What an evaluation round sends and what comes back, as Flower records.

A message carries `meta` (arrays) and `inquiry`. A reply carries nothing but metrics: `answer-<i>` for the i-th
question, with `users` and the `sums` over them, option by option.
"""

from __future__ import annotations

import json
from typing import Any, get_args

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

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
from tegu.wire.training import to_tree

__all__ = ["evaluation_reply_content", "evaluation_request_content", "read_evaluation_reply", "read_evaluation_request"]


def evaluation_request_content(meta: ArrayRecord, inquiry: EvaluationRequest) -> RecordDict:
    """The content that all messages of an evaluation round share; never change it."""
    fields = {
        "metric": inquiry.metric,
        "seed": inquiry.seed,
        "share": inquiry.share,
        "fold": inquiry.fold,
        "still": json.dumps(dict(inquiry.still)),
        "questions": json.dumps([question._asdict() for question in inquiry.questions]),
    }
    return RecordDict({"meta": meta, "inquiry": ConfigRecord(fields)})  # type: ignore[arg-type] # of its own kind


def read_evaluation_request(content: RecordDict) -> tuple[Tree, EvaluationRequest]:
    """The parameters and what is asked of them.

    Raises:
        FederationError: the message is not one of `evaluation_request_content`'s.
    """
    try:
        fields = content.config_records["inquiry"]
        questions = [_question(each) for each in json.loads(str(fields["questions"]))]
        seed, share, fold = int(str(fields["seed"])), float(str(fields["share"])), int(str(fields["fold"]))
        inquiry = EvaluationRequest(
            str(fields["metric"]), seed, share, _knobs(json.loads(str(fields["still"]))), questions, fold
        )
        return to_tree(content.array_records["meta"]), inquiry
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FederationError(
            f"the message holds {sorted(content)} ({error!r}): is the server a Tegu server?"
        ) from error


def evaluation_reply_content(answers: list[MetricSums]) -> RecordDict:
    """A reply's content: metrics alone."""
    return RecordDict(
        {
            f"answer-{place}": MetricRecord({"users": answer.users, "sums": answer.sums.reshape(-1).tolist()})
            for place, answer in enumerate(answers)
        }
    )


def read_evaluation_reply(message: Message, inquiry: EvaluationRequest) -> list[MetricSums]:
    """The answers in a reply, question by question.

    Args:
        message: of `evaluation_reply_content`.
        inquiry: what was asked.

    Raises:
        FederationError: the node failed, or it answers something else.
    """
    if message.has_error():
        raise FederationError(f"the participant failed: {message.error.reason}")
    records = message.content.metric_records
    try:
        return [_answer(records[f"answer-{place}"], each) for place, each in enumerate(inquiry.questions)]
    except (KeyError, TypeError, ValueError) as error:
        source = message.metadata.src_node_id
        raise FederationError(
            f"node {source} replied {sorted(message.content)} ({error!r}): expected an answer to each question"
        ) from error


def _answer(record: MetricRecord, question: CandidateSet) -> MetricSums:
    users = int(str(record["users"]))
    sums = np.asarray(record["sums"], np.float64).reshape(len(question.options), COLUMNS[question.measure])
    if users < 0:
        raise ValueError(f"{users} users")
    return MetricSums(users, sums)


def _question(fields: Any) -> CandidateSet:
    question = CandidateSet(**fields)
    if question.measure not in get_args(Measure) or question.who not in get_args(UserGroup):
        raise ValueError(f"{question.measure!r} of {question.who!r}")
    if question.k < 1 or question.draws < 1:
        raise ValueError(f"{question.draws} draws of {question.k} rows")
    return question._replace(options=[_knobs(each) for each in question.options])


def _knobs(fields: Any) -> dict[str, float]:
    return {str(name): float(value) for name, value in fields.items()}
