"""Robust rules over the nodes' answers to evaluation rounds, against numpy from the papers; and under attack."""

from __future__ import annotations

import numpy as np
import pytest
from tests.core.samples import refused
from tests.server.replies.test_attacks_on_calibration import (
    GOOD,
    HARMFUL,
    KNOBS,
    MANIFEST,
    NODES,
    PEOPLE,
    UNADAPTED,
    honest,
    lying,
)

from tegu.core.calibration.evaluation_request import COLUMNS, CandidateSet, MetricSums
from tegu.core.calibration.selection.limits import Limits
from tegu.core.errors import UnknownNameError
from tegu.server.calibration.schedule import find_schedule
from tegu.server.replies.aggregation import Aggregation, Rule
from tegu.server.replies.combine import combine_answers
from tegu.server.replies.robust_answers import robust_answer
from tegu.server.training.plan import UpdatePlan

ROBUST: tuple[Aggregation, ...] = ("trimmed_mean", "median", "krum", "multi_krum")
LIMITS = Limits(0.25, 0.05, 0.5, 0.9)


def scores(node: int) -> MetricSums:
    values = np.random.default_rng(node).normal([[1.0], [3.0]], 0.2, (2, 3 + node % 4))
    return MetricSums(values.shape[1], np.stack([values.sum(1), np.square(values).sum(1)], 1))


QUESTION = CandidateSet(5, [KNOBS, UNADAPTED], "scores")


@pytest.mark.parametrize("number", [2, 5, 8])
def test_trimmed_mean_and_median_are_those_of_numpy(number: int) -> None:
    given = [scores(node) for node in range(number)]
    means = np.stack([each.sums[:, 0] / each.users for each in given])
    ordered, cut = np.sort(means, axis=0), min(int(np.ceil(0.2 * number)), (number - 1) // 2)
    trimmed = robust_answer(QUESTION, given, Rule("trimmed_mean", 0.2))
    np.testing.assert_allclose(trimmed.sums[:, 0] / trimmed.users, ordered[cut : number - cut].mean(0))
    middle = robust_answer(QUESTION, given, Rule("median", 0.2))
    np.testing.assert_allclose(middle.sums[:, 0] / middle.users, np.median(means, axis=0))
    people = sum(each.users for each in given)
    assert middle.users == (people if number == 2 else int(2 / np.pi * people))
    assert trimmed.users <= sum(each.users for each in given)


def test_krum_takes_the_answer_that_is_nearest_to_its_neighbours() -> None:
    """Written from the paper: the smallest sum of squared distances to the n - f - 2 nearest others."""
    given = [scores(node) for node in range(7)]
    flat = np.stack([(each.sums / each.users).ravel() for each in given])
    flat = flat / np.median(np.abs(flat - np.median(flat, 0)), 0)
    sums = []
    for one in range(7):
        distances = sorted(float(np.square(flat[one] - flat[other]).sum()) for other in range(7) if other != one)
        sums.append(sum(distances[: 7 - 2 - 2]))
    best = int(np.argmin(sums))
    found = robust_answer(QUESTION, given, Rule("krum", 0.2))
    assert found.users == given[best].users
    np.testing.assert_allclose(found.sums, given[best].sums)
    kept = np.argsort(sums)[: 7 - 2]
    several = robust_answer(QUESTION, given, Rule("multi_krum", 0.2))
    assert several.users == sum(given[node].users for node in kept)
    np.testing.assert_allclose(
        several.sums / several.users, np.mean([given[node].sums / given[node].users for node in kept], 0)
    )


def evaluate(rule: Rule, liars: int, attack: str) -> object:
    def answer(questions: list[CandidateSet]) -> list[MetricSums]:
        answers = [[honest(node, question) for question in questions] for node in range(NODES)]
        answers += [[_as(attack, question) for question in questions]] * liars
        return combine_answers(questions, answers, rule)

    return answer


def _as(attack: str, question: CandidateSet) -> MetricSums:
    """A lie that passes the checks of single replies."""
    if attack != "hurt":
        return lying(attack, question)
    row = [-0.5 * PEOPLE, PEOPLE, PEOPLE, PEOPLE, 0.5 * PEOPLE, 0.0, 2.0 * PEOPLE, PEOPLE, PEOPLE]
    return MetricSums(PEOPLE, np.asarray([row] * len(question.options)))


@pytest.mark.parametrize("attack", ["hurt", "huge loss", "huge gain", "many", "nan"])
@pytest.mark.parametrize("rule", ROBUST)
def test_a_fifth_of_the_nodes_do_not_decide_the_schedule(rule: Aggregation, attack: str) -> None:
    """Three of fifteen nodes lie together: for harm, against the good candidate, or for the harmful one."""
    (clean,) = find_schedule(evaluate(Rule(rule), 0, attack), MANIFEST, [5], LIMITS)  # type: ignore[arg-type]
    (entry,) = find_schedule(evaluate(Rule(rule), 3, attack), MANIFEST, [5], LIMITS)  # type: ignore[arg-type]
    assert clean.knobs == KNOBS
    assert entry.knobs == KNOBS
    assert entry.gain == pytest.approx(clean.gain, rel=0.15)


def test_the_mean_stops_adapting_where_a_fifth_claims_harm() -> None:
    """Its caution: whoever is said to be hurt counts."""
    (entry,) = find_schedule(evaluate(Rule(), 5, "hurt"), MANIFEST, [5], LIMITS)  # type: ignore[arg-type]
    assert entry.knobs != KNOBS


@pytest.mark.parametrize("rule", ROBUST)
@pytest.mark.parametrize("measure", ["gains", "strict", "lines", "scores"])
def test_honest_answers_keep_their_means(rule: Aggregation, measure: str) -> None:
    """Of nodes that agree, every rule gives what all of them say, for every measure."""
    columns = COLUMNS[measure]  # type: ignore[index]
    sums = np.arange(1.0, 2 * columns + 1).reshape(2, columns)
    given = [MetricSums(PEOPLE, sums)] * 6
    found = robust_answer(CandidateSet(5, [KNOBS, UNADAPTED], measure), given, Rule(rule))  # type: ignore[arg-type]
    expected = sums / PEOPLE
    hurt = [2] if measure in ("gains", "strict") else []
    others = [column for column in range(columns) if column not in hurt]
    np.testing.assert_allclose((found.sums / found.users)[:, others], expected[:, others])
    assert (found.sums[:, hurt] / found.users >= np.minimum(expected[:, hurt], 1)).all(), "rounded up"


def test_the_plan_names_one_rule_for_updates_and_answers() -> None:
    assert UpdatePlan(aggregation="median", attackers=0.2).rule == Rule("median", 0.2)
    with refused(UnknownNameError, "medain", "median"):
        UpdatePlan(aggregation="medain")  # type: ignore[arg-type]
    assert (GOOD, HARMFUL) == (0, 1)
