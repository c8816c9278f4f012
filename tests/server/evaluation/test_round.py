"""Evaluation rounds on a grid of plain functions: sums over nodes, chosen nodes, and unusable replies."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from flwr.app import Error, Message
from tests.core.samples import refused
from tests.server.fake import random_tree, same_bits

from tegu.core.calibration.evaluation_request import CandidateSet, EvaluationRequest, MetricSums
from tegu.core.calibration.selection.figures import figure_sums
from tegu.core.errors import FederationError
from tegu.core.sampling.episode import draw_users
from tegu.server.evaluation.round import run_evaluation_round
from tegu.sim.federation.grid import InProcessGrid, flower_identity
from tegu.wire import evaluation_reply_content, read_evaluation_request, to_record

META = random_tree(0)
QUESTIONS = [CandidateSet(1, [{"lr": 0.1}, {"lr": 0.2}], "gains"), CandidateSet(4, [{"lr": 0.1}], "scores")]
REQUEST = EvaluationRequest("mse", 3, 0.2, QUESTIONS)
Node = Callable[[], Sequence[MetricSums]]


def random_sums(seed: int) -> list[MetricSums]:
    """Of 3 to 8 users, some of whom have too few rows for the second set."""
    rng = np.random.default_rng(seed)
    users = int(rng.integers(3, 9))
    figure, scores = rng.uniform(1, 2, users), rng.uniform(1, 2, users - 1)
    gains = [figure_sums(rng.normal(size=(users, 2)), figure, np.zeros(users), 0.05) for _ in range(2)]
    return [
        MetricSums(users, np.stack(gains)),
        MetricSums(users - 1, np.asarray([[scores.sum(), np.square(scores).sum()]])),
    ]


def evaluate_on(nodes: Mapping[int, Node], limit: int = 0) -> tuple[list[MetricSums], list[int]]:
    """The sums over all nodes, and the nodes that received the request."""
    requested: list[int] = []

    def answer(messages: Sequence[Message]) -> list[Message]:
        replies = []
        for message in messages[::-1]:
            node = message.metadata.dst_node_id
            requested.append(node)
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
            InProcessGrid(len(nodes), answer), to_record(META), REQUEST, "calibration", limit
        ), sorted(requested)


def failing() -> list[MetricSums]:
    raise ZeroDivisionError("the disk is full")


def test_sums_are_added_for_each_set_of_candidates() -> None:
    answers, requested = evaluate_on({node: lambda node=node: random_sums(node) for node in (1, 2)})
    assert requested == [1, 2]
    for place, answer in enumerate(answers):
        each = [random_sums(node)[place] for node in (1, 2)]
        assert answer.users == sum(one.users for one in each)
        np.testing.assert_allclose(answer.sums, np.sum([one.sums for one in each], 0))


@pytest.mark.parametrize("bad", [failing, lambda: random_sums(2)[:1], lambda: random_sums(2)[::-1]])
def test_an_unusable_reply_is_left_out(bad: Node, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tegu.server.evaluation.round"):
        answers, _ = evaluate_on({1: lambda: random_sums(1), 2: bad})
    assert [answer.users for answer in answers] == [answer.users for answer in random_sums(1)]
    assert "calibration: a reply is left out: node" in caplog.text


def test_no_usable_reply_is_an_error() -> None:
    with refused(FederationError, "calibration has no usable reply", "the disk is full"):
        evaluate_on({1: failing, 2: failing})
    with refused(FederationError, "no node replied in time"):
        evaluate_on({})


def test_a_limited_number_of_nodes_is_drawn_by_the_seed() -> None:
    nodes: dict[int, Node] = {node: lambda node=node: random_sums(node) for node in range(1, 10)}
    (_, first), (_, again) = evaluate_on(nodes, 4), evaluate_on(nodes, 4)
    assert first == again == [1 + int(place) for place in draw_users(9, 4, REQUEST.seed, 0)]
