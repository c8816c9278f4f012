"""The server's half of calibration, on sums of made-up people: candidates, halves, sharing over k, and what is said."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from tests.core.samples import refused
from tests.server.calibration.test_strict_schedule import CORRECTION, STEPS, UNADAPTED, manifest

from tegu.core.bundle.manifest import Knobs, ScheduleEntry
from tegu.core.calibration.evaluation_request import CandidateSet, MetricSums, no_users
from tegu.core.calibration.guard import GainModel, fit_gain_model
from tegu.core.calibration.selection.figures import figure_sums
from tegu.core.calibration.selection.limits import Limits
from tegu.core.data.batch import Array
from tegu.core.errors import DataError
from tegu.server.calibration.schedule import find_schedule, note_on_harm

Gains = Callable[[Knobs, int, Array], Array]


class People:
    """Made-up calibration users. Those with the lowest numbers have the most rows, and half of them propose.

    `gain` gives each user's gain from knobs at k; `figure` is everybody's figure under the initialisation.
    """

    def __init__(self, users: dict[int, int], gain: Gains, figure: float = 1.0) -> None:
        self.users, self.gain, self.figure = users, gain, figure
        self.rounds: list[list[CandidateSet]] = []

    def __call__(self, questions: Sequence[CandidateSet]) -> list[MetricSums]:
        self.rounds.append(list(questions))
        return [self.answer(question) for question in questions]

    def answer(self, question: CandidateSet) -> MetricSums:
        able = np.arange(self.users.get(question.k, 0))
        own = {"proposing": able[able % 4 > 1], "testing": able[able % 4 < 2], "calibration": able}[question.who]
        if not len(own):
            return no_users(question)
        if question.measure == "lines":  # the gain is k plus half the evidence, which is -1 and 1 in turn
            trials, k = 5.0 * len(own), question.k
            line = [0.0, k * trials, trials, trials / 2, (k**2 + 0.25) * trials]
            return MetricSums(len(own), np.asarray([line] * len(question.options)))
        figures = np.full(len(own), self.figure)
        sums = [
            figure_sums(np.tile(self.gain(each, question.k, own)[:, None], 5), figures, figures / 99, question.material)
            for each in question.options
        ]
        return MetricSums(len(own), np.stack(sums))


def always(knobs: Knobs, k: int, users: Array) -> Array:
    del k
    return np.full(len(users), knobs.get("weight", knobs.get("lr", 0.0)))


def find(people: People, *candidates: dict[str, float], guarded: bool = False, **limits: float) -> list[ScheduleEntry]:
    ks = [20, *people.users, 1]
    return list(find_schedule(people, manifest(*candidates, guarded=guarded), ks, Limits(**limits)))


def test_a_learner_without_a_guard_takes_one_round() -> None:
    people = People({1: 300, 5: 200}, always)
    stronger = {**STEPS, "lr": 0.2}
    entries = find(people, STEPS, stronger)
    assert [[(q.k, q.who, q.measure, len(q.options)) for q in questions] for questions in people.rounds] == [
        [(k, who, "gains", 2) for k in (1, 5, 20) for who in ("proposing", "testing")]
    ]
    assert [(entry.k, entry.knobs, entry.gain) for entry in entries] == [
        (1, stronger, pytest.approx(0.2)),
        (5, stronger, pytest.approx(0.2)),
    ]


def test_a_guarded_learner_fits_its_line_in_a_first_round() -> None:
    people = People({1: 300, 5: 200}, always)
    entries = find(people, CORRECTION, guarded=True)
    first, second = people.rounds
    assert [(q.k, q.who, q.measure, list(q.options)) for q in first] == [
        (k, "calibration", "lines", [CORRECTION]) for k in (1, 5, 20)
    ]
    assert [(q.k, q.who, len(q.options)) for q in second] == [
        (k, who, 28) for k in (1, 5) for who in ("proposing", "testing")
    ]
    assert {name: entries[0].knobs[name] for name in ("weight", "guard")} == {"weight": 1.0, "guard": 2.0}


def test_where_few_have_so_many_rows_the_line_is_that_of_the_neighbours() -> None:
    people = People({1: 300, 2: 300, 5: 2}, always)
    find(people, CORRECTION, guarded=True)
    intercepts = {q.k: q.options[0]["intercept"] for q in people.rounds[1]}
    assert intercepts[1] == pytest.approx(1.0, abs=0.1), "many people: their own"
    assert 2.0 < intercepts[5] < 2.8, "two people: mostly that of the k below, where the gain is 2"
    trials = 5.0 * (2 + 20)  # all neighbours together count as twenty people
    weight = np.exp(-0.5 * np.square(np.log([5, 2.5]) / np.log(2)))
    mean = (2 * 5 + 20 * (weight @ [1, 2]) / weight.sum()) / 22
    sums = np.asarray([0.0, mean * trials, trials, trials / 2, 0.0])
    own: GainModel = fit_gain_model(trials, sums)
    assert intercepts[5] == pytest.approx(own.intercept)


@pytest.mark.parametrize(("users", "guards"), [(9, {2.0}), (10, {0.0, 2.0, 4.0})])
def test_few_users_do_not_choose_the_guard(users: int, guards: set[float]) -> None:
    people = People({3: users}, always)
    find(people, CORRECTION, guarded=True)
    assert {each["guard"] for each in people.rounds[1][0].options} == guards


def test_no_users_at_any_k_give_an_empty_schedule() -> None:
    assert find(People({}, always), CORRECTION, guarded=True) == []
    assert find(People({}, always), STEPS) == []


def test_where_nobody_proposes_the_learners_own_knobs_are_tested(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        (entry,) = find(People({5: 2}, always), STEPS, {**STEPS, "lr": 0.2})
    assert (entry.knobs, entry.gain, entry.frontier) == (STEPS, pytest.approx(0.1), ())
    assert "too few people calibrate to choose among the ways to adapt: the learner's own is tested" in caplog.text
    assert "Let more people calibrate" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        find(People({1: 300, 5: 2}, always), STEPS, {**STEPS, "lr": 0.2})
    assert "too few people" not in caplog.text, "those of k = 1 propose for k = 5 too"


def test_where_nobody_proposes_a_guarded_learner_tests_every_weight() -> None:
    (entry,) = find(People({5: 2}, always), CORRECTION, {**CORRECTION, "ridge": 1.0}, guarded=True)
    assert {name: entry.knobs[name] for name in ("ridge", "weight", "guard", "floor")} == {
        "ridge": 0.1,
        "weight": 1.0,
        "guard": 2.0,
        "floor": 0.0,
    }


class Hidden(People):
    """People of nodes that have too few who propose to answer for them."""

    def answer(self, question: CandidateSet) -> MetricSums:
        return no_users(question) if question.who == "proposing" else super().answer(question)


def test_where_nobody_proposes_the_most_careful_guard_is_kept() -> None:
    def bold(knobs: Knobs, k: int, users: Array) -> Array:
        return np.full(len(users), knobs["weight"] + knobs["guard"] + k)

    people = Hidden({5: 24}, bold)
    (entry,) = find(people, CORRECTION, guarded=True)
    assert max(each["guard"] for each in people.rounds[1][0].options) == 4.0, "others are evaluated"
    assert (entry.knobs["weight"], entry.knobs["guard"], entry.knobs["floor"]) == (1.0, 2.0, 0.0)


def unlucky(every: int, loss: float = 0.5) -> Gains:
    """One user in so many loses, the others gain."""
    return lambda knobs, k, users: np.where(users % every == every // 2, -loss, 1.0) * knobs["lr"] + 0 * k


def test_harmful_candidates_are_not_chosen() -> None:
    (entry,) = find(People({2: 400}, unlucky(10, 1.0)), STEPS)
    assert (entry.knobs, entry.gain) == (UNADAPTED, 0.0), "a tenth loses a tenth of its figure"
    assert entry.harm is not None
    assert entry.harm.bound == 0, "not adapting hurts nobody"
    assert [point.gain > 0 for point in entry.frontier] == [False, False, False, True, True, True]
    assert entry.frontier[-1].hurt == pytest.approx(0.1)
    (entry,) = find(People({2: 400}, unlucky(10, 1.0)), STEPS, risk=0.2)
    assert entry.knobs == STEPS, "a larger risk permits it"
    (entry,) = find(People({2: 400}, unlucky(10, 1.0)), STEPS, material=0.1)
    assert entry.knobs == STEPS, "a tenth of the figure is not material"


def test_losses_are_limited_beside_gains() -> None:
    people = {2: 400}
    gain: Gains = lambda knobs, k, users: np.where(users % 3 == 0, -0.04, 0.05) + 0 * k  # noqa: E731
    assert find(People(people, gain), STEPS)[0].knobs == UNADAPTED, "nobody is materially hurt, but a third loses"
    (entry,) = find(People(people, gain), STEPS, harm_ratio=0.5)
    assert entry.knobs == STEPS
    assert entry.harm is not None
    assert entry.harm.harm_ratio == pytest.approx(0.04 * 134 / (0.05 * 266))


def test_of_many_people_the_strongest_within_the_limit_is_chosen() -> None:
    candidates = [{**STEPS, "lr": rate} for rate in (0.04, 0.08, 0.2, 0.9)]
    (entry,) = find(People({2: 2000}, unlucky(10)), *candidates)
    assert entry.knobs["lr"] == 0.08, "a tenth of the users lose half of it: 0.04 of their figure"
    assert entry.harm is not None
    assert entry.harm.bound == entry.harm.risk


def test_a_schedule_whose_people_thin_out_keeps_adapting() -> None:
    """Of 80 people five have twenty rows, and one of these loses: nothing that five people could judge."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0.02, 0.04, 80)

    def gain(knobs: Knobs, k: int, users: Array) -> Array:
        return np.minimum(knobs["lr"] * np.log1p(k) + noise[users], 0.5) * (1 if k < 20 else 0.2) + (
            np.where(users == 2, -0.6, 0) if k == 20 else 0
        )

    candidates = [{**STEPS, "lr": rate} for rate in (0.1, 0.2, 0.4)]
    entries = find(People({1: 80, 2: 70, 5: 40, 10: 14, 20: 5}, gain), *candidates)
    assert [entry.k for entry in entries] == [1, 2, 5, 10, 20]
    assert all(entry.knobs["steps"] for entry in entries), "every k adapts"
    assert entries[-1].knobs == entries[-2].knobs == entries[-3].knobs, "too few people to judge: the neighbour's"
    gains = [entry.gain for entry in entries]
    assert gains == sorted(gains), "five people do not show a fall"


def test_too_few_people_are_told_how_many_it_takes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tegu")
    entries = find(People({1: 40, 5: 30}, always), STEPS)
    note_on_harm(entries)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(
        "calibration cannot show the limit on harm at k = 1, 5: at k = 5, with 90% confidence at most"
    )
    assert said.endswith("(30 people; 5% would take 75)"), "three in five test, and 45 show it if none of them is hurt"
    note_on_harm(find(People({1: 400}, always), STEPS))
    assert len(caplog.records) == 1, "many people show it"


def test_a_bound_that_must_be_shown_takes_enough_people() -> None:
    with refused(DataError, "74 people calibrate", "0.9 confidence", "0.05", "at least 75"):
        find_schedule(People({1: 74, 5: 30}, always), manifest(STEPS), [1, 5], Limits(must_show=True))
    assert find_schedule(People({1: 75, 5: 30}, always), manifest(STEPS), [1, 5], Limits(must_show=True))
    with refused(DataError, "no number of people can show that"):
        find_schedule(People({1: 75}, always), manifest(STEPS), [1], Limits(0.0, must_show=True))


def test_a_share_of_nothing_is_refused() -> None:
    with refused(DataError, "is 0 under the initialisation for all 40 calibration users", "0.05", "material=0"):
        find(People({1: 40}, always, figure=0.0), STEPS)
    (entry,) = find(People({1: 40}, always, figure=0.0), STEPS, material=0.0)
    assert entry.knobs == STEPS
