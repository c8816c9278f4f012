"""Cross-fitting: users never evaluate parameters that they trained, and all of them train the kept ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.samples import refused
from tests.server.fake import Recorded
from tests.sim import people

from tegu.compile import compile_learner
from tegu.core.data.tree import Tree, digest
from tegu.core.errors import PopulationError
from tegu.core.metrics import METRICS
from tegu.server.evaluation.validation import Validation
from tegu.server.progress import Progress, RoundProgress
from tegu.server.training.plan import TrainingPlan
from tegu.sim.calibration.calibrate import calibrate
from tegu.sim.data.population import Population
from tegu.sim.engine import make_engine
from tegu.sim.run import Run, run_plan
from tegu.sim.simulation import simulate
from tegu.sim.training.cross_fitting import Evaluator, cross_fit_population, make_folds, resolve_folds, split_population
from tegu.sim.training.in_process import Trained, train_in_process

pytestmark = pytest.mark.usefixtures("compiled_once")
ACCURACY = METRICS["accuracy"]


def names(population: Population) -> set[str]:
    return set(map(str, population.users))


# --- the users of each fold ---------------------------------------------------------------------------------------


@given(st.integers(2, 60), st.integers(2, 9), st.integers(0, 99))
def test_folds_have_similar_sizes(users: int, number: int, seed: int) -> None:
    everybody = people.people(users)
    if number > users:
        with refused(PopulationError, f"{users} users", f"{number} folds"):
            make_folds(everybody, number, seed)
        return
    folds = make_folds(everybody, number, seed)
    assert sorted(name for fold in folds for name in names(fold.calibration)) == sorted(names(everybody))
    sizes = [len(fold.calibration) for fold in folds]
    assert len(folds) == number
    assert max(sizes) - min(sizes) <= 1
    for train, calibration in folds:
        assert names(train) | names(calibration) == names(everybody)
        assert not names(train) & names(calibration)


def test_folds_depend_on_the_seed() -> None:
    first, again, other = (make_folds(people.people(), 4, seed)[0].calibration for seed in (1, 1, 2))
    assert names(first) == names(again) != names(other)


def test_held_out_users_do_not_depend_on_folds() -> None:
    everybody = people.people()
    plain, crossed = (split_population(everybody, people.plan(folds=folds)) for folds in (0, 3))
    assert names(plain.heldout) == names(crossed.heldout)
    assert names(crossed.train) == names(crossed.calibration) == names(plain.train) | names(plain.calibration)
    assert not names(crossed.train) & names(crossed.heldout)


def test_a_cohort_larger_than_a_folds_training_users_is_refused() -> None:
    """32 of 40 users train, and half of them train in each fold."""
    split_population(people.people(), people.plan(folds=2, cohort=16))
    with refused(PopulationError, "the cohort is 17 of 16 nodes"):
        split_population(people.people(), people.plan(folds=2, cohort=17))


# --- the trainings, with a trainer that only records its calls ----------------------------------------------------


class RecordingTrainer:
    """Trains nothing and records its calls. The parameters of the k-th training are k."""

    def __init__(self) -> None:
        self.rounds: list[int] = []
        self.calls: list[tuple[set[str], set[str] | None, Path | None]] = []

    def __call__(
        self,
        training: Population,
        validating: Population | None,
        plan: TrainingPlan,
        progress: Progress,
        checkpoints: Path | None,
    ) -> Trained:
        rounds = plan.rounds or 0
        self.rounds.append(rounds)
        self.calls.append((names(training), None if validating is None else names(validating), checkpoints))
        meta: Tree = {"number": np.asarray(len(self.calls))}
        for number in range(1, rounds + 1):
            progress.round(RoundProgress(number, rounds, 10, 10 * number, 0.5 * number, meta))
        validations = () if validating is None else (Validation(2, 1.0, 1.0 + len(self.calls), 5.0, 1.0, 0.3, 0.3),)
        return Trained(meta, 2.0, 30, 7, rounds, validations)


def test_no_user_evaluates_parameters_that_it_trained(tmp_path: Path) -> None:
    plan, train = people.plan(rounds=3, folds=4), RecordingTrainer()
    split = split_population(people.people(), plan)
    found = cross_fit_population(split, plan, train, checkpoints=tmp_path)
    *for_folds, last = train.calls
    assert last == (names(split.train), None, tmp_path), "all users take part in the last training"
    assert [folder for *_, folder in for_folds] == [tmp_path / f"fold-{number}" for number in range(4)]
    for (trained_by, validated_by, _), (meta, evaluating) in zip(for_folds, found.evaluators, strict=True):
        assert validated_by == names(evaluating)
        assert not trained_by & names(evaluating)
        assert meta["number"] == 1 + [each for each, *_ in for_folds].index(trained_by)
    assert set.union(*(names(evaluating) for _, evaluating in found.evaluators)) == names(split.train)
    assert found.trained.meta["number"] == 5
    assert (found.trained.seconds, found.trained.user_rounds, found.trained.received) == (10.0, 150, 35)
    assert found.trained.validations == (Validation(2, 1.0, 3.5, 5.0, 1.0, pytest.approx(0.15), pytest.approx(0.15)),)


def test_without_folds_there_is_one_training_and_other_users_evaluate_it() -> None:
    plan, train = people.plan(), RecordingTrainer()
    split = split_population(people.people(), plan)
    found = cross_fit_population(split, plan, train)
    assert train.calls == [(names(split.train), names(split.calibration), None)]
    assert [(each.meta, names(each.population)) for each in found.evaluators] == [
        (found.trained.meta, names(split.calibration))
    ]


def test_progress_counts_the_rounds_of_all_trainings() -> None:
    plan, progress = people.plan(rounds=3, folds=2), Recorded()
    cross_fit_population(split_population(people.people(), plan), plan, RecordingTrainer(), progress)
    assert [(each.round, each.rounds) for each in progress.rounds] == [(number, 7) for number in range(1, 8)]
    assert [each.user_rounds for each in progress.rounds] == [10 * number for number in range(1, 8)]
    assert [each.seconds for each in progress.rounds] == [0.5 * number for number in range(1, 8)]


@pytest.mark.parametrize(("folds", "rounds"), [(0, [10]), (2, [5, 5, 10]), (3, [7, 7, 7, 10]), (4, [8, 8, 8, 8, 10])])
def test_a_user_takes_part_as_often_without_a_fold_as_in_the_last_training(folds: int, rounds: list[int]) -> None:
    """A fold's training has a share of `(folds - 1) / folds` of the users, and of the rounds, rounded up."""
    plan, train = people.plan(rounds=10, folds=folds), RecordingTrainer()
    cross_fit_population(split_population(people.people(), plan), plan, train)
    assert train.rounds == rounds


# --- a run ----------------------------------------------------------------------------------------------------------


def run(**options: Any) -> Run:
    return run_plan(people.people(), people.learner(), people.plan(folds=3), **options)


def test_a_run_keeps_the_training_of_all_users_and_the_schedule_of_the_folds() -> None:
    """Against separate trainings of the folds, with two thirds of the users and of the 6 rounds."""
    plan, learner = people.plan(), people.learner()
    engine = make_engine(learner, compile_learner(learner))
    found = run()
    folds = make_folds(found.split.train, 3, plan.seed)
    fewer = replace(plan, rounds=4)
    metas = [train_in_process(engine, fold.train, learner.init(plan.seed), fewer).meta for fold in folds]
    evaluators = [Evaluator(meta, fold.calibration) for meta, fold in zip(metas, folds, strict=True)]
    alone = train_in_process(engine, found.split.train, learner.init(plan.seed), plan)
    assert digest(found.bundle.meta) == digest(alone.meta)
    assert [digest(one.meta) for one in found.fold_evaluators] == [digest(meta) for meta in metas]
    assert len({digest(meta) for meta in (*metas, alone.meta)}) == 4
    expected = calibrate(engine, evaluators, (1, 3), ACCURACY, plan.seed)
    assert found.bundle.manifest.schedule == expected
    assert [len(entry.losses) for entry in expected] == [32, 32], "all users that are not held out"
    assert found.bundle.manifest.training["folds"] == 3
    assert found.final_validation is not None
    assert found.final_validation.round == found.bundle.manifest.training["fold_rounds"] == 4


def test_a_resumed_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    """The run is interrupted in the second fold, after the first is finished."""
    whole, rounds = run(), 0

    def interrupt(progress: RoundProgress) -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(checkpoints=tmp_path, progress=Recorded(interrupt))
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["fold-0", "fold-1", "run.json"]
    recorded = Recorded()
    resumed = run(checkpoints=tmp_path, progress=recorded)
    assert digest(resumed.bundle.meta) == digest(whole.bundle.meta)
    assert [digest(one.meta) for one in resumed.fold_evaluators] == [digest(one.meta) for one in whole.fold_evaluators]
    assert [each.round for each in recorded.rounds] == list(range(7, 19)), "6 of 18 rounds were done before"


@pytest.mark.parametrize(
    ("users", "options", "folds"),
    [
        (40, {}, 2),
        (40, {"cohort": 17}, 4),
        (40, {"folds": 0}, 0),
        (40, {"patience": 1}, 0),
        (700, {}, 0),
        (41, {"cohort": 24}, 4),
        (41, {"cohort": 25}, 0),
        (41, {"nodes": 25}, 0),
    ],
)
def test_few_users_are_cross_fitted_by_default(users: int, options: dict[str, Any], folds: int) -> None:
    """32 of 40 users and 33 of 41 are not held out. Of 33, 16 train without one of two folds, and 24 of four."""
    plan = people.plan(1, **{"cohort": 4, "ks": (1,), "folds": None, **options})
    assert simulate(people.people(users), people.learner(), plan=plan).plan.calibration.folds == folds
    assert resolve_folds(plan, people.people(users), "ray").calibration.folds == (options.get("folds") or 0)
