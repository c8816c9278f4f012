"""False users in a simulation: what they send, node by node, and what a robust rule makes of it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.core.samples import refused
from tests.sim import people
from tests.sim.conftest import Tiny

from tegu.core.data.spec import Spec
from tegu.core.data.tree import max_difference, norm, scale
from tegu.core.errors import DataError, FederationError, UnknownNameError
from tegu.server.progress import SILENT
from tegu.server.training.plan import UpdatePlan
from tegu.sim.attacks.attack import Attack, false_update, false_users, with_false_labels
from tegu.sim.compare_attack import compare_attack
from tegu.sim.data.cohort import draw_cohort
from tegu.sim.data.population import Population
from tegu.sim.engine.each_update import each_update
from tegu.sim.training.in_process import train_in_process

POPULATION = people.people(20)
UPDATE = {"w": np.asarray([3.0, 4.0], np.float32)}


def test_each_users_update_adds_up_to_the_sum(tiny: Tiny) -> None:
    """On every engine; the sum is computed in batches."""
    plan = people.plan()
    for engine in tiny.engines.values():
        cohort = draw_cohort(POPULATION, np.arange(20), plan.episodes, 0, 1)
        meta = tiny.learner.init(0)
        each = list(each_update(engine, meta, cohort))
        assert len(each) == 20
        total = {name: np.sum([one[name] for one in each], axis=0) for name in meta}
        assert max_difference(total, engine.sum_updates(meta, cohort, math.inf)) < 1e-4


@pytest.mark.parametrize("clip", [math.inf, 0.5])
def test_honest_replies_one_by_one_train_as_one_reply_does(tiny: Tiny, clip: float) -> None:
    plan = replace(people.plan(4), updates=UpdatePlan(clip=clip))
    engine, first = tiny.engines["onnx"], tiny.learner.init(0)
    jointly = train_in_process(engine, POPULATION, first, plan)
    one_by_one = train_in_process(engine, POPULATION, first, plan, attack=Attack("signflip", 0.0))
    assert max_difference(jointly.meta, one_by_one.meta) < 1e-5
    assert jointly.user_rounds == one_by_one.user_rounds


def test_as_many_users_are_false_as_the_share_says() -> None:
    false = false_users(POPULATION, Attack("nan", 0.3))
    assert false.sum() == 6
    assert (false_users(POPULATION, Attack("nan", 0.1)) <= false).all()


def test_what_false_users_send() -> None:
    assert (false_update(UPDATE, Attack("signflip"))["w"] == [-3, -4]).all()
    assert (false_update(UPDATE, Attack("scale"))["w"] == [300, 400]).all()
    assert np.isnan(false_update(UPDATE, Attack("nan"))["w"]).all()
    noise = false_update(UPDATE, Attack("noise"), 1, 2)
    assert norm(noise) == pytest.approx(50, rel=1e-5)
    assert max_difference(noise, false_update(UPDATE, Attack("noise"), 1, 2)) == 0
    assert max_difference(noise, false_update(UPDATE, Attack("noise"), 1, 3)) > 0
    assert false_update(UPDATE, Attack("labelflip")) is UPDATE
    assert max_difference(scale(UPDATE, 1.0), UPDATE) == 0


@pytest.mark.parametrize(
    ("spec", "y", "expected"),
    [
        (Spec.classification((1,), 3), [0, 1, 2], [2, 1, 0]),
        (Spec.regression((1,)), [[1.0], [-2.0], [0.5]], [[-1.0], [2.0], [-0.5]]),
    ],
)
def test_labels_are_flipped_for_false_users_alone(spec: Spec, y: list[object], expected: list[object]) -> None:
    x = np.zeros((6, 1), np.float32)
    dtype = np.float32 if spec.kind == "regression" else np.int64
    both = np.asarray([*y, *y], dtype)
    given = Population.from_arrays(x, both, np.repeat([0, 1], 3), spec)
    flipped = with_false_labels(given, np.asarray([False, True]))
    assert flipped.rows(0)[1].tolist() == y
    assert flipped.rows(1)[1].tolist() == expected
    assert given.rows(1)[1].tolist() == y, "the given population stays as it is"


def test_a_robust_rule_keeps_what_the_mean_loses(tiny: Tiny) -> None:
    """A hundred times the update, from a fifth of the users."""
    plan, engine, first = people.plan(12, cohort=10), tiny.engines["onnx"], tiny.learner.init(0)
    clean = train_in_process(engine, POPULATION, first, plan).meta
    robust = replace(plan, updates=UpdatePlan(clip="adaptive", aggregation="median"))
    attack = Attack("scale", 0.2)
    lost = train_in_process(engine, POPULATION, first, plan, attack=attack).meta
    kept = train_in_process(engine, POPULATION, first, robust, attack=attack).meta
    quiet = train_in_process(engine, POPULATION, first, robust).meta  # the rule itself takes another way than the mean
    assert max_difference(kept, quiet) < 0.5 * max_difference(lost, clean)


def test_nan_from_a_fifth_of_the_users_is_left_out(tiny: Tiny) -> None:
    plan, engine, first = people.plan(4, cohort=10), tiny.engines["onnx"], tiny.learner.init(0)
    found = train_in_process(engine, POPULATION, first, plan, attack=Attack("nan", 0.2))
    assert all(np.isfinite(array).all() for array in found.meta.values())
    assert found.user_rounds < 40
    one = people.plan(40, cohort=1)
    with pytest.raises(FederationError, match="no usable reply"):
        train_in_process(engine, POPULATION, first, one, attack=Attack("nan", 0.4))


def test_the_comparison_shows_the_mean_beside_the_rules() -> None:
    found = compare_attack(people.experiment(), Attack("scale", 0.2), ["median"], SILENT)
    assert [each.name for each in found.results] == [
        "no attack, mean",
        "scale, mean",
        "scale, mean with a clip",
        "scale, median",
    ]
    assert found.metric == "accuracy"
    assert all(each.metric is not None and 0 <= each.metric <= 1 for each in found.results)


def test_what_an_attack_cannot_be_is_refused(tiny: Tiny) -> None:
    with refused(UnknownNameError, "no attack is called 'signflop'", "Did you mean 'signflip'"):
        Attack("signflop")  # type: ignore[arg-type]
    with refused(DataError, "share of attackers is 0.5"):
        Attack("nan", 0.5)
    rounded = replace(people.plan(), updates=UpdatePlan("int8", aggregation="median"))
    with refused(DataError, "precision is int8 with aggregation median"):
        train_in_process(tiny.engines["onnx"], POPULATION, tiny.learner.init(0), rounded)
