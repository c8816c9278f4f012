"""Questions and answers as Flower records, there and back; and what is no message of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
import pytest
from flwr.app import Error, Message, MetricRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as Proto
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.samples import refused, same_tree, trees

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
from tegu.sim.federation.grid import flower_identity
from tegu.wire import (
    evaluation_reply_content,
    evaluation_request_content,
    read_evaluation_reply,
    read_evaluation_request,
    to_record,
)

META: Tree = {"w": np.arange(3, dtype=np.float32)}
OPTIONS = [{"lr": 0.1, "steps": 1.0}, {"lr": 0.3, "steps": 2.0}]
INQUIRY = EvaluationRequest(
    "mse", 4, 0.2, [CandidateSet(3, OPTIONS, "gains"), CandidateSet(5, OPTIONS[:1], "scores")], 3
)
finite = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(min_size=1, max_size=8)
knobs = st.dictionaries(names, finite, min_size=1, max_size=4)
questions = st.builds(
    CandidateSet,
    st.integers(1, 2**40),
    st.lists(knobs, min_size=1, max_size=4),
    st.sampled_from(get_args(Measure)),
    st.sampled_from(get_args(UserGroup)),
    st.integers(1, 9),
    st.floats(0, 1),
)
inquiries = st.builds(
    EvaluationRequest,
    names,
    st.integers(0, 2**63 - 1),
    st.floats(0, 0.5),
    st.lists(questions, min_size=1, max_size=4),
    st.integers(0, 99),
)


@pytest.fixture(autouse=True, scope="module")
def _identity() -> Iterator[None]:
    with flower_identity():
        yield


def carried(content: RecordDict) -> RecordDict:
    return recorddict_from_proto(Proto.FromString(recorddict_to_proto(content).SerializeToString()))


def reply(content: RecordDict) -> Message:
    request = Message(
        evaluation_request_content(to_record(META), INQUIRY), dst_node_id=1, message_type="evaluate", group_id="3"
    )
    return Message(content, reply_to=request)


@given(trees, inquiries)
@settings(deadline=None)
def test_questions_arrive_as_they_were_asked(tree: Tree, inquiry: EvaluationRequest) -> None:
    meta, found = read_evaluation_request(carried(evaluation_request_content(to_record(tree), inquiry)))
    assert same_tree(meta, tree)
    assert found == inquiry


@given(inquiries, st.data())
@settings(deadline=None)
def test_answers_arrive_bit_for_bit_whatever_is_not_finite(inquiry: EvaluationRequest, data: st.DataObject) -> None:
    sent = []
    for question in inquiry.questions:
        shape = (len(question.options), COLUMNS[question.measure])
        entries = data.draw(st.lists(st.floats(), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
        sent.append(MetricSums(data.draw(st.integers(0, 2**40)), np.asarray(entries).reshape(shape)))
    found = read_evaluation_reply(reply(carried(evaluation_reply_content(sent))), inquiry)
    for one, other in zip(found, sent, strict=True):
        assert one.users == other.users
        np.testing.assert_array_equal(one.sums, other.sums)


def test_an_answer_holds_metrics_alone() -> None:
    content = evaluation_reply_content([MetricSums(2, np.zeros((2, 3))), MetricSums(2, np.zeros((1, 2)))])
    assert all(type(record) is MetricRecord for record in content.values())


def put(field: str, value: Any) -> Callable[[RecordDict], Any]:
    return lambda content: content["request"].update({field: value})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.pop("meta"),
        lambda content: content.pop("request"),
        *[lambda content, name=name: content["request"].pop(name) for name in EvaluationRequest._fields],
        put("seed", "first"),
        put("questions", "no json"),
        put("questions", "[3]"),
        put("questions", '[{"k": 1, "options": [], "measure": "rows"}]'),
        put("questions", '[{"k": 1, "options": [], "measure": "gains", "who": "heldout"}]'),
        put("questions", '[{"k": 1, "options": [], "measure": "gains", "material": 1.5}]'),
        put("questions", '[{"k": 1, "options": [], "measure": "gains", "material": "0.1"}]'),
        put("questions", '[{"k": 0, "options": [], "measure": "gains"}]'),
        put("questions", '[{"k": 1, "options": [3], "measure": "gains"}]'),
    ],
)
def test_questions_of_another_server_are_refused(spoil: Callable[[RecordDict], Any]) -> None:
    content = evaluation_request_content(to_record(META), INQUIRY)
    spoil(content)
    with refused(FederationError, "the message holds [", "is the server a Tegu server?"):
        read_evaluation_request(content)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.clear(),
        lambda content: content.pop("answer-1"),
        lambda content: content["answer-0"].pop("users"),
        lambda content: content["answer-0"].update({"users": -1}),
        lambda content: content["answer-0"].update({"users": 0.5}),
        lambda content: content["answer-0"].update({"sums": [0.0] * 5}),
    ],
)
def test_answers_to_other_questions_are_refused(spoil: Callable[[RecordDict], Any]) -> None:
    content = evaluation_reply_content([MetricSums(2, np.zeros((2, 3))), MetricSums(2, np.zeros((1, 2)))])
    spoil(content)
    with refused(FederationError, "replied [", "expected a result for each set of candidates"):
        read_evaluation_reply(reply(content), INQUIRY)


def test_a_nodes_error_is_passed_on() -> None:
    message = Message(Error(2, "cannot read users.npz"), reply_to=reply(RecordDict()))
    with refused(FederationError, "the participant failed: cannot read users.npz"):
        read_evaluation_reply(message, INQUIRY)
