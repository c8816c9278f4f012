"""Attacks on evaluation rounds, played as messages: no single answer decides the schedule or when training stops."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from flwr.app import Message, MetricRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.evaluation.test_validation import answers as validation_answers
from tests.server.fake import random_tree, run_rounds

from tegu.core.bundle.manifest import Manifest
from tegu.core.calibration.evaluation_request import COLUMNS, CandidateSet, EvaluationRequest, Measure, MetricSums
from tegu.core.calibration.selection.figures import figure_sums
from tegu.core.calibration.selection.limits import Limits
from tegu.core.data.spec import Spec
from tegu.server.calibration.schedule import find_schedule
from tegu.server.calibration.strict_schedule import find_strict_schedule
from tegu.server.evaluation.early_stopping import ValidationRule, Validations
from tegu.server.evaluation.round import sum_replies
from tegu.server.evaluation.validation import validation_candidates
from tegu.server.replies.evaluation import checked_answers
from tegu.server.replies.refusal import Refusal, RefusedReplyError
from tegu.server.training.outer_optimiser import OuterOptimiser, OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.server.training.strategy import MetaStrategy
from tegu.sim.federation.grid import InProcessGrid, flower_identity
from tegu.wire import Reply, evaluation_reply_content, training_reply_content

KNOBS = {"steps": 3.0, "lr": 0.1}
UNADAPTED = {**KNOBS, "steps": 0.0}
MANIFEST = Manifest(
    "reptile", "", Spec.regression((2,)), (), KNOBS, UNADAPTED, candidates=(KNOBS, {**KNOBS, "lr": 9.0})
)
GOOD, HARMFUL = 0, 1
NODES, PEOPLE = 12, 8


def gains_of(node: int, candidate: int, users: int = PEOPLE) -> tuple[np.ndarray, np.ndarray]:
    """Gains `[users, draws]` and figures: everybody gains by the first candidate and loses by the second."""
    rng = np.random.default_rng([node, candidate])
    centre = 0.5 if candidate == GOOD else -0.8
    return rng.normal(centre, 0.1, (users, 5)), np.full(users, 2.0)


def honest(node: int, question: CandidateSet) -> MetricSums:
    rows = []
    for place in range(len(question.options)):
        gain, figure = gains_of(node, place)
        if question.measure == "strict":
            rows.append([gain.mean(1).sum(), np.square(gain.mean(1)).sum(), float((gain.mean(1) < 0).sum())])
        else:
            rows.append(list(figure_sums(gain, figure, np.full(PEOPLE, 0.05), 0.05)))
    return MetricSums(PEOPLE, np.asarray(rows))


def lying(kind: str, question: CandidateSet) -> MetricSums:
    """An answer that would decide alone: against the good candidate, or for the harmful one."""
    options, columns = len(question.options), COLUMNS[question.measure]
    found = {
        "nan": lambda: MetricSums(PEOPLE, np.full((options, columns), np.nan)),
        "infinite": lambda: MetricSums(PEOPLE, np.full((options, columns), np.inf)),
        "1e308": lambda: MetricSums(PEOPLE, np.full((options, columns), 1e308)),
        "hurt": lambda: MetricSums(1, np.asarray([[-1.0, 1.0, 1e6, 1e6, 1.0, 0.0, 2.0, 1.0, 1.0][:columns]] * options)),
        "many": lambda: MetricSums(10**6, _scaled(question, 10**6, -1.0)),
        "huge loss": lambda: MetricSums(PEOPLE, _scaled(question, PEOPLE, -1e60)),
        "huge gain": lambda: MetricSums(PEOPLE, _scaled(question, PEOPLE, 1e60, of=HARMFUL)),
        "no loss": lambda: MetricSums(
            PEOPLE, np.asarray([[0.0, 0.0, PEOPLE, PEOPLE, 0, 0, 16, 0, 0][:columns]] * options)
        ),
    }
    return found[kind]()


def _scaled(question: CandidateSet, users: int, gain: float, of: int = GOOD) -> np.ndarray:
    """Consistent figures of users who all gain this much by one candidate, and nothing by the others."""
    rows = []
    for place in range(len(question.options)):
        each = np.full((users if users < 100 else 10, 1), gain if place == of else 0.0)
        if question.measure == "strict":
            row = np.asarray([each.sum(), np.square(each).sum(), float((each < 0).sum())])
        else:
            row = figure_sums(each, np.full(len(each), 2.0), np.full(len(each), 0.05), 0.05)
        rows.append(row * users / len(each))
    return np.asarray(rows)


def evaluate_with(attack: str | None, refused: list[Refusal]) -> object:
    """Evaluation rounds of honest nodes, and one attacker."""

    def evaluate(questions: Sequence[CandidateSet]) -> list[MetricSums]:
        request = EvaluationRequest("mse", 0, 0.1, questions)
        by_node = {node: [honest(node, question) for question in questions] for node in range(NODES)}
        if attack:
            by_node[NODES] = [lying(attack, question) for question in questions]
        return ask(by_node, request, refused)

    return evaluate


def ask(
    by_node: Mapping[int, Sequence[MetricSums]], request: EvaluationRequest, refused: list[Refusal] | None = None
) -> list[MetricSums]:
    with flower_identity():
        messages = [Message(RecordDict(), dst_node_id=node, message_type="evaluate", group_id="r") for node in by_node]
        replies = [
            Message(evaluation_reply_content(list(by_node[message.metadata.dst_node_id])), reply_to=message)
            for message in messages
        ]
        return sum_replies(replies, request, "r", nodes=set(by_node), refused=refused)


ATTACKS = ("nan", "infinite", "1e308", "hurt", "many", "huge loss", "huge gain", "no loss")
NOT_REFUSED = ("nan", "infinite", "1e308", "many", "huge loss", "huge gain")


@pytest.mark.parametrize("attack", ATTACKS)
def test_one_answer_does_not_decide_the_schedule(attack: str) -> None:
    limits, refused = Limits(0.25, 0.05, 0.5, 0.9), list[Refusal]()
    (clean,) = find_schedule(evaluate_with(None, refused), MANIFEST, [5], limits)  # type: ignore[arg-type]
    assert clean.knobs == KNOBS
    assert refused == []
    (entry,) = find_schedule(evaluate_with(attack, refused), MANIFEST, [5], limits)  # type: ignore[arg-type]
    assert entry.knobs == KNOBS
    assert math.isfinite(entry.gain)
    assert bool(refused) == (attack not in NOT_REFUSED)


@pytest.mark.parametrize("attack", ["infinite", "1e308", "hurt", "huge gain"])
def test_nor_under_the_strict_rule(attack: str) -> None:
    (entry,) = find_strict_schedule(evaluate_with(attack, []), MANIFEST, [5], 0.15)  # type: ignore[arg-type]
    assert entry.knobs == KNOBS


def test_honest_answers_are_summed_as_they_are() -> None:
    question = CandidateSet(5, list(MANIFEST.candidates), "gains")
    by_node = {node: [honest(node, question)] for node in range(NODES)}
    (found,) = ask(by_node, EvaluationRequest("mse", 0, 0.1, [question]))
    np.testing.assert_array_equal(found.sums, np.sum([each[0].sums for each in by_node.values()], 0))
    assert found.users == NODES * PEOPLE


def test_who_is_hurt_is_never_scaled_away() -> None:
    """A node whose users lose extremely much keeps its count of people who are hurt."""
    question = CandidateSet(5, list(MANIFEST.candidates), "gains")
    by_node = {node: [honest(node, question)] for node in range(NODES)}
    by_node[NODES] = [MetricSums(PEOPLE, _scaled(question, PEOPLE, -1e9))]
    (found,) = ask(by_node, EvaluationRequest("mse", 0, 0.1, [question]))
    expected = sum(float(each[0].sums[GOOD, 2]) for each in by_node.values())
    assert found.sums[GOOD, 2] == expected
    assert expected >= PEOPLE


# --- validation ---------------------------------------------------------------------------------------------------

REQUEST = EvaluationRequest("accuracy", 3, 0.2, validation_candidates(5, MANIFEST))


def validating(nodes: int, liars: int, rounds: int, faked: Mapping[int, float]) -> tuple[Validations, MetaStrategy]:
    """A run whose honest nodes improve a little in every round. Liars name the accuracy of `faked` in its rounds."""
    validations = Validations(ValidationRule(1, 3), REQUEST, rounds)
    reached = 0

    def answer(messages: Sequence[Message]) -> list[Message]:
        nonlocal reached
        if messages[0].metadata.message_type == "train":
            reached += 1
            content = training_reply_content(Reply(random_tree(1), 1, 1))
            return [Message(content, reply_to=message) for message in messages]
        return [Message(evaluation_reply_content(scores(m.metadata.dst_node_id)), reply_to=m) for m in messages]

    def scores(node: int) -> list[MetricSums]:
        rng = np.random.default_rng([node, reached])
        accuracy = np.clip(rng.normal(0.5 + 0.01 * reached, 0.02, 6), 0, 1)
        if node <= liars:
            accuracy = np.full(6, faked.get(reached, 0.0))
        return validation_answers(accuracy - 0.0, accuracy, accuracy)

    meta = random_tree(0)
    outer = OuterOptimiser(meta, OuterRule("SGD", 0.01), rounds)
    plan = TrainingPlan(rounds=rounds, cohort=CohortPlan(nodes))
    strategy = MetaStrategy(outer, plan, validations=validations)
    run_rounds(strategy, InProcessGrid(nodes, answer), meta, rounds)
    return validations, strategy


@pytest.mark.parametrize(("nodes", "liars"), [(3, 1), (10, 1), (10, 2)])
def test_a_faked_look_at_round_1_does_not_stop_training(nodes: int, liars: int) -> None:
    """The best possible figure at round 1, and the worst afterwards: a plain mean would stop and keep round 1."""
    validations, strategy = validating(nodes, liars, 12, {1: 1.0})
    assert not validations.stopped
    assert strategy.kept[0] == 12
    assert [one.round for one in validations.found] == list(range(1, 13))


def test_training_that_gets_worse_still_stops() -> None:
    """The same with a majority, which no rule can tell from honest nodes."""
    validations, strategy = validating(3, 3, 12, {1: 1.0})
    assert validations.stopped
    assert strategy.kept[0] == 1


# --- anything -----------------------------------------------------------------------------------------------------

numbers = st.one_of(st.floats(), st.sampled_from([0.0, 1.0, -1.0, 1e308, -1e308, math.nan, math.inf]))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_is_answered_is_checked_or_refused(data: st.DataObject) -> None:
    """No other exception; and what passes combines with honest answers to finite figures."""
    measure = data.draw(st.sampled_from(["scores", "gains", "strict", "lines"]))
    question = CandidateSet(5, [KNOBS, UNADAPTED], measure)
    request = EvaluationRequest("mse", 0, 0.1, [question])
    values = data.draw(st.lists(numbers, min_size=2 * COLUMNS[measure], max_size=2 * COLUMNS[measure]))
    users = data.draw(st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 3), st.floats()))
    content = RecordDict({"answer-0": MetricRecord({"users": users, "sums": values})})
    with flower_identity():
        asked = Message(RecordDict(), dst_node_id=9, message_type="evaluate", group_id="r")
        message = Message(content, reply_to=asked)
        try:
            checked_answers(message, request)
        except RefusedReplyError:
            return
        honest_sums = _possible(measure)
        others = [Message(RecordDict(), dst_node_id=node, message_type="evaluate", group_id="r") for node in range(3)]
        replies = [Message(evaluation_reply_content([honest_sums]), reply_to=other) for other in others]
        (found,) = sum_replies([*replies, message], request, "r")
    assert np.isfinite(found.sums).all()
    assert 0 < found.users <= 3 * PEOPLE + 8 * PEOPLE


def _possible(measure: Measure) -> MetricSums:
    each = np.ones(PEOPLE)
    rows = {
        "scores": [each.sum(), each.sum()],
        "gains": list(figure_sums(np.ones((PEOPLE, 5)), each, each, 0.05)),
        "strict": [each.sum(), each.sum(), 0.0],
        "lines": [5 * each.sum()] * 5,
    }[measure]
    return MetricSums(PEOPLE, np.asarray([rows, rows]))
