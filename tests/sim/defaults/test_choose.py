"""Which learner is trained by default: by what the population holds, and never against what is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.sim import people
from torch import nn

from tegu.core.data.spec import Spec
from tegu.learners import reptile, residual_correction
from tegu.learners.learner import RecommendedTraining
from tegu.sim.data.population import Population
from tegu.sim.defaults.choose import choose_learner
from tegu.sim.simulation import simulate


def rated(users: int = 40) -> Population:
    rng = np.random.default_rng(0)
    user, item = np.repeat(np.arange(users), 12), rng.integers(0, 9, users * 12)
    stars = 50 + 4 * rng.normal(size=users)[user] + rng.normal(size=9)[item] + rng.normal(size=len(user))
    return Population.from_arrays(item, stars.astype(np.float32), user, Spec.regression((), items=9))


def test_a_learner_stays_and_a_module_is_corrected(capsys: pytest.CaptureFixture[str]) -> None:
    population = people.people()
    own = people.learner()
    assert choose_learner(population, own, 0) is own
    assert choose_learner(population, people.classifier(), 0).name == "residual_correction"


def test_a_module_trains_through_its_correction_until_validations_are_flat() -> None:
    learner = choose_learner(people.people(), people.classifier(), 0)
    through = residual_correction(people.classifier(), people.SPEC, through=True)
    assert learner.recommended == through.recommended
    assert learner.recommended is not None
    found = learner.recommended
    assert (found.optimiser, found.decay, found.averaged, found.until_flat) == ("AdamW", False, True, True)
    assert not learner.execution.merges_query, "Reptile's training would"
    assert residual_correction(people.classifier(), people.SPEC).recommended is None


def test_ratings_by_item_id_need_no_module() -> None:
    population = rated()
    learner = choose_learner(population, None, 0)
    assert learner.name == "item_ratings"
    meta = learner.init(0)
    untrained = np.asarray(population.split(0).train.all_rows()[1]).mean()
    assert 40 < untrained < 60
    assert all(np.abs(value).max() < 20 for value in meta.values()), "units are standardised"


def test_several_targets_by_item_id_get_a_network() -> None:
    population = rated()
    item, stars = population.all_rows()
    user = np.repeat(np.arange(len(population)), population.counts)
    two = Population.from_arrays(item, np.hstack([stars, -stars]), user, Spec.regression((), 2, items=9))
    learner = choose_learner(two, None, 0)
    assert learner.name == "residual_correction"
    assert any(isinstance(each, nn.Embedding) for each in learner.source.module.modules())


def test_a_module_over_item_ids_may_correct_a_persons_level() -> None:
    learner = choose_learner(rated(), nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(4, 1)), 0)
    assert any(each["level"] > 0 for each in learner.calibration.candidates)


def test_a_ranking_needs_no_module() -> None:
    rng = np.random.default_rng(0)
    clicks = Population.from_arrays(rng.integers(0, 20, 400), np.ones(400), np.arange(400) % 40, Spec.ranking(20))
    learner = choose_learner(clicks, None, 0)
    assert learner.spec.kind == "ranking"


def test_a_default_network_is_the_same_for_the_same_seed() -> None:
    population = people.people()
    first, again, other = (choose_learner(population, None, 0).init(seed) for seed in (3, 3, 4))
    assert all(np.array_equal(value, again[name]) for name, value in first.items())
    assert any(not np.array_equal(value, other[name]) for name, value in first.items())


def test_simulate_without_a_module_learns_and_says_what() -> None:
    population = people.people(60, least=10)
    run = simulate(population, plan=people.plan(40, cohort=16, ks=(3,)), engine="torch-vmap")
    found = run.evaluate(baselines=False).curve[0]
    assert found["initialisation"] > 0.45, "three classes, one is the most frequent"
    assert run.learner.name == "residual_correction"


def test_a_plan_without_values_takes_those_of_the_learner() -> None:
    learner = reptile(people.classifier(), people.SPEC, init="fresh")
    advised = replace(learner, recommended=learner_advice())
    plan = replace(people.plan(2, ks=(3,)), rounds=None, outer=None)
    run = simulate(people.people(), advised, plan=plan, engine="torch-loop")
    assert (run.plan.rounds, run.plan.cohort.size) == (3, 5)
    assert run.plan.outer is not None
    assert (run.plan.outer.name, run.plan.outer.lr) == ("Adam", 0.02)
    assert (run.bundle.manifest.training["rounds"], run.bundle.manifest.training["outer"]) == (3, "Adam")


def learner_advice() -> RecommendedTraining:
    return RecommendedTraining("Adam", 0.02, rounds=3, cohort=7)
