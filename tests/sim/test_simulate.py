"""`simulate` is a plan in words: every argument reaches the run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from tests.sim import people

from tegu.core.data.tree import digest
from tegu.core.errors import DataError
from tegu.core.metrics import METRICS
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.training.outer_optimiser import OuterRule
from tegu.sim import TrainingPlan, simulate
from tegu.sim.run import run_plan


def test_arguments_become_the_plan(tmp_path: Path) -> None:
    told = []
    run = simulate(
        people.people(),
        people.learner(),
        rounds=2,
        cohort=3,
        seed=7,
        outer=OuterRule("Yogi", 0.02),
        rule=EpisodeRule(2, 5, 4),
        clip=0.5,
        nodes=9,
        checkpoints=tmp_path,
        look_every=1,
        patience=5,
        ks=(2,),
        metric=METRICS["accuracy"],
        on_point=lambda progress, point: told.append(progress.round),
    )
    assert asdict(run.plan) == asdict(
        TrainingPlan(
            2,
            3,
            7,
            OuterRule("Yogi", 0.02),
            EpisodeRule(2, 5, 4),
            0.5,
            9,
            checkpoints=tmp_path,
            look_every=1,
            patience=5,
        )
    )
    assert run.ks == (2,)
    assert run.learner.units == (None, None)  # a learner is taken as it is
    assert told == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"round-{n:06d}.safetensors" for n in (1, 2)]


def test_the_number_of_initialisations_is_checked() -> None:
    with pytest.raises(DataError, match="initialisations is 0: expected at least 1"):
        simulate(people.people(), people.learner(), initialisations=0)


def test_it_is_the_plans_run_bit_for_bit() -> None:
    words = simulate(people.people(), people.learner(), rounds=3, cohort=4, seed=1, ks=(1,))
    plan = run_plan(people.people(), people.learner(), TrainingPlan(3, 4, 1, folds=4), ks=(1,))
    assert digest(words.bundle.meta) == digest(plan.bundle.meta)
    assert words.bundle.identity == plan.bundle.identity
