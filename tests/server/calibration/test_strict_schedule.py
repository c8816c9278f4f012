"""The schedule of risk="strict", on sums made by hand: the candidates of each round, and what is chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tegu.core.bundle.manifest import Manifest
from tegu.core.calibration.evaluation_request import CandidateSet, MetricSums, no_users
from tegu.core.data.spec import Spec
from tegu.server.calibration.schedule import find_schedule
from tegu.server.calibration.strict_schedule import find_strict_schedule

STEPS = {"steps": 2.0, "lr": 0.1}
CORRECTION = {
    "steps": 1.0,
    "ridge": 0.1,
    "weight": 0.5,
    "guard": 0.0,
    "floor": 0.0,
    "intercept": 0.0,
    "slope": 0.0,
    "residual_sd": 1.0,
}
UNADAPTED = {**STEPS, "steps": 0.0}


def manifest(*candidates: dict[str, float], guarded: bool = False) -> Manifest:
    own = candidates[0]
    unadapted = {**own, "steps": 0.0}
    return Manifest("any", "", Spec.ranking(3), (), own, unadapted, candidates=candidates, guarded=guarded)


class Devices:
    """Devices with a given number of users at each k. A candidate gains its `weight` (or 0.1) and harms no user."""

    def __init__(self, users: dict[int, int]) -> None:
        self.users = users
        self.rounds: list[list[CandidateSet]] = []

    def __call__(self, questions: Sequence[CandidateSet]) -> list[MetricSums]:
        self.rounds.append(list(questions))
        return [self.answer(question) for question in questions]

    def answer(self, question: CandidateSet) -> MetricSums:
        users = self.users.get(question.k, 0)
        if not users:
            return no_users(question)
        if question.measure == "lines":  # gain = 1 + evidence / 2, evidence of -1 and 1 in turn
            trials = users * 5
            return MetricSums(
                users, np.asarray([[0.0, trials, trials, trials / 2, trials * 1.25]] * len(question.options))
            )
        gains = [each.get("weight", 0.1) for each in question.options]
        return MetricSums(users, np.asarray([[users * gain, users * gain**2, 0.0] for gain in gains]))


def test_a_learner_without_a_guard_takes_one_round() -> None:
    devices = Devices({1: 30, 5: 20})
    entries = find_schedule(devices, manifest(STEPS, {**STEPS, "lr": 0.2}), [5, 1, 5, 9], None)
    assert [[(q.k, q.measure, len(q.options)) for q in questions] for questions in devices.rounds] == [
        [(1, "strict", 2), (5, "strict", 2), (9, "strict", 2)]
    ]
    assert [(entry.k, entry.knobs, entry.gain) for entry in entries] == [(1, STEPS, 0.1), (5, STEPS, 0.1)]


def test_a_guarded_learner_takes_two_rounds_and_fits_its_line_in_the_first() -> None:
    devices = Devices({1: 30, 5: 20})
    entries = find_schedule(devices, manifest(CORRECTION, guarded=True), [1, 5, 9], None)
    first, second = devices.rounds
    assert [(q.k, q.measure, list(q.options)) for q in first] == [(k, "lines", [CORRECTION]) for k in (1, 5, 9)]
    assert [(q.k, q.measure, len(q.options)) for q in second] == [(1, "strict", 28), (5, "strict", 28)]
    for each in second[0].options:
        assert (each["intercept"], each["slope"]) == pytest.approx((1.0, 0.5))
        assert each["residual_sd"] < 1e-6
    assert [entry.k for entry in entries] == [1, 5]
    assert {name: entries[0].knobs[name] for name in ("weight", "guard")} == {"weight": 1.0, "guard": 2.0}


@pytest.mark.parametrize(("users", "guards"), [(9, {2.0}), (10, {0.0, 2.0, 4.0})])
def test_few_users_do_not_choose_the_guard(users: int, guards: set[float]) -> None:
    devices = Devices({3: users})
    find_schedule(devices, manifest(CORRECTION, guarded=True), [3], None)
    options = devices.rounds[1][0].options
    assert {each["guard"] for each in options} == guards
    assert {each["floor"] for each in options} == ({0.0} if users < 10 else {0.0, 0.3, 0.5, 0.7})


def test_floors_are_only_evaluated_for_candidates_that_gain_on_average() -> None:
    """A small part of a losing candidate may seem to gain by chance."""

    class Losing(Devices):
        def __call__(self, questions: Sequence[CandidateSet]) -> list[MetricSums]:
            found = super().__call__(questions)
            lines = questions[0].measure == "lines"
            return [each._replace(sums=each.sums * [1, -1, 1, 1, 1]) for each in found] if lines else found

    devices = Losing({3: 20})
    find_schedule(devices, manifest(CORRECTION, guarded=True), [3], None)
    assert {(each["guard"], each["floor"]) for each in devices.rounds[1][0].options} == {(0, 0), (2, 0), (4, 0)}


def test_no_users_at_any_k_give_an_empty_schedule() -> None:
    assert find_schedule(Devices({}), manifest(CORRECTION, guarded=True), [1, 2], None) == ()
    assert find_schedule(Devices({}), manifest(STEPS), [1, 2], None) == ()


def test_harmful_candidates_are_not_chosen() -> None:
    class Harming(Devices):
        def answer(self, question: CandidateSet) -> MetricSums:
            found = super().answer(question)
            return found._replace(sums=found.sums + np.asarray([0, 0, 0.2 * found.users]))

    (entry,) = find_schedule(Harming({2: 50}), manifest(STEPS), [2], None)
    assert entry[:4] == (2, UNADAPTED, 0.0, 0.0)
    (entry,) = find_strict_schedule(Harming({2: 50}), manifest(STEPS), [2], risk=0.3)
    assert entry.knobs == STEPS, "a larger risk permits it"
