"""Evaluation rounds on a grid of plain functions: what is summed, whom is asked, and who is left out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from flwr.app import Error, Message
from tests.core.samples import refused
from tests.server.fake import random_tree, same_bits

from tegu.core.calibration.evaluation_request import CandidateSet, EvaluationRequest, MetricSums
from tegu.core.errors import FederationError
from tegu.core.sampling.episode import draw_users
from tegu.server.evaluation.round import run_evaluation_round
from tegu.sim.federation.grid import InProcessGrid, flower_identity
from tegu.wire import evaluation_reply_content, read_evaluation_request, to_record

META = random_tree(0)
QUESTIONS = [CandidateSet(1, [{"lr": 0.1}, {"lr": 0.2}], "gains"), CandidateSet(4, [{"lr": 0.1}], "scores")]
REQUEST = EvaluationRequest("mse", 3, 0.2, QUESTIONS)
Node = Callable[[], Sequence[MetricSums]]


def found(seed: int) -> list[MetricSums]:
    rng = np.random.default_rng(seed)
    return [MetricSums(int(rng.integers(0, 9)), rng.normal(size=shape)) for shape in ((2, 3), (1, 2))]


def asked(nodes: Mapping[int, Node], most: int = 0) -> tuple[list[MetricSums], list[int]]:
    """The answers together, and who was asked."""
    told: list[int] = []

    def answer(messages: Sequence[Message]) -> list[Message]:
        replies = []
        for message in messages[::-1]:
            node = message.metadata.dst_node_id
            told.append(node)
            meta, request = read_evaluation_request(message.content)
            assert message.metadata.message_type == "evaluate"
            assert same_bits(meta, META)
            assert request == REQUEST
            try:
                replies.append(Message(evaluation_reply_content(list(nodes[node]())), reply_to=message))
            except ZeroDivisionError as error:
                replies.append(Message(Error(2, str(error)), reply_to=message))
        return replies

    with flower_identity():
        return run_evaluation_round(
            InProcessGrid(len(nodes), answer), to_record(META), REQUEST, "calibration", most
        ), sorted(told)


def broken() -> list[MetricSums]:
    raise ZeroDivisionError("the disk is full")


def test_answers_add_up_question_by_question() -> None:
    answers, told = asked({node: lambda node=node: found(node) for node in (1, 2, 3)})
    assert told == [1, 2, 3]
    for place, answer in enumerate(answers):
        each = [found(node)[place] for node in (1, 2, 3)]
        assert answer.users == sum(one.users for one in each)
        np.testing.assert_allclose(answer.sums, np.sum([one.sums for one in each], 0))


@pytest.mark.parametrize("bad", [broken, lambda: found(2)[:1], lambda: found(2)[::-1]])
def test_a_node_that_answers_something_else_is_left_out(bad: Node, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tegu.server.evaluation.round"):
        answers, _ = asked({1: lambda: found(1), 2: bad})
    assert [answer.users for answer in answers] == [answer.users for answer in found(1)]
    assert "calibration: a reply is left out: node" in caplog.text


def test_no_answer_ends_it() -> None:
    with refused(FederationError, "calibration has no usable reply", "the disk is full"):
        asked({1: broken, 2: broken})
    with refused(FederationError, "no node replied in time"):
        asked({})


def test_so_many_nodes_are_asked_the_same_every_time() -> None:
    nodes: dict[int, Node] = {node: lambda node=node: found(node) for node in range(1, 10)}
    (_, first), (_, again) = asked(nodes, 4), asked(nodes, 4)
    assert first == again == [1 + int(place) for place in draw_users(9, 4, REQUEST.seed, 0)]
