"""Learners with noise and learners without steps: batched, user by user, in torch, on a device, in a federation."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from tests.learners.closed_forms import TOYS
from tests.learners.toys import CLASSES, FEATURES, SPEC
from tests.sim.people import plan as small_plan

from tegu.client import Personalizer
from tegu.client.federation.evaluation import evaluate_users
from tegu.client.federation.updates import sum_of_updates
from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.compile import make_bundle
from tegu.core.bundle.file import Bundle, read_bundle
from tegu.core.bundle.manifest import ScheduleEntry
from tegu.core.calibration.evaluation_request import CandidateSet, EvaluationRequest
from tegu.core.data.batch import Array, Batch, NumpyBatch
from tegu.core.data.tree import Tree, max_difference, norm, subtract
from tegu.core.metrics import METRICS
from tegu.core.sampling.episode import EpisodeRule, episode_keys, episode_noise
from tegu.core.sampling.trials import stacked_inputs, stacked_noise, stacked_supports
from tegu.learners import Learner
from tegu.sim.data.cohort import Cohort, draw_cohort
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine import Engine, EngineKind, make_engine
from tegu.sim.engine.onnx_batched import OnnxBatched
from tegu.sim.federation import evaluation_round as batched
from tegu.sim.run import run_plan
from tegu.sim.training.in_process import train_in_process

RULE_ROWS = 6, 5
RULE = EpisodeRule(1, *RULE_ROWS)
KINDS = get_args(EngineKind)
SEED, ROUND = 4, 3


@cache
def bundle(name: str) -> Bundle:
    return make_bundle(TOYS[name](), TOYS[name]().init(1))


@cache
def engine(name: str, kind: EngineKind) -> Engine:
    return make_engine(TOYS[name](), bundle(name).graphs, kind)


def population(users: int = 21, seed: int = 0) -> Population:
    """Users with 4 to 12 rows, each with its own labelling rule."""
    rng = np.random.default_rng(seed)
    user = np.repeat([f"user {i}" for i in range(users)], rng.integers(4, 13, users))
    x = rng.normal(size=(len(user), FEATURES)).astype(np.float32)
    rules = {name: rng.normal(size=(FEATURES, CLASSES)) for name in np.unique(user)}
    return Population.from_arrays(x, np.asarray([(x[i] @ rules[user[i]]).argmax() for i in range(len(x))]), user, SPEC)


def cohort(seed: int = SEED, number: int = ROUND) -> Cohort:
    people = population()
    return draw_cohort(people, np.arange(len(people)), RULE, seed, number)


def in_torch(
    learner: Learner, meta: Tree, knobs: dict[str, float], support: NumpyBatch, noise: Array, x: Array
) -> Array:
    """One user's outputs by the learner's own functions."""
    tree = {name: torch.tensor(value) for name, value in meta.items()}
    state = learner.adapt(tree, Batch(*map(torch.tensor, support)), knobs, torch.tensor(noise))
    return learner.predict(tree, state, torch.tensor(x)).detach().numpy()


def close(found: Tree, expected: Tree) -> None:
    assert max_difference(found, expected) < 2e-5 * max(1.0, norm(expected))


@pytest.mark.parametrize("name", TOYS)
def test_they_have_a_batched_graph(name: str) -> None:
    assert isinstance(engine(name, "onnx").backend, OnnxBatched)


@pytest.mark.parametrize("limit", [0.3, math.inf])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TOYS)
def test_updates_match_devices_with_the_noise_of_seed_round_and_user(name: str, kind: EngineKind, limit: float) -> None:
    made, people = bundle(name), population()
    local = [people.local(user) for user in range(len(people))]
    options = {"seed": SEED, "round_number": ROUND, "clip_norm": limit, "episodes": RULE, "noise": made.manifest.noise}
    expected, users, _, _ = sum_of_updates(OnnxRuntime(made.graphs), made.meta, local, **options)
    assert users == len(people)
    close(engine(name, kind).sum_updates(made.meta, cohort(), limit), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["noisy closed form", "noisy steps"])
def test_noise_depends_on_seed_and_round_and_not_on_the_batch(name: str, kind: EngineKind) -> None:
    chosen, meta = engine(name, kind), bundle(name).meta
    people, parted = cohort(), cohort()
    whole = chosen.sum_updates(meta, people, math.inf)
    halves = [chosen.sum_updates(meta, parted.select(part), math.inf) for part in (slice(0, 8), slice(8, None))]
    close({entry: halves[0][entry] + halves[1][entry] for entry in whole}, whole)
    other = people._replace(keys=episode_keys(SEED, ROUND + 1, people.population.users[people.users]))
    order = np.arange(people.population.counts.max())[None].repeat(len(people.users), 0)
    same_rows = [each._replace(order=order) for each in (people, other)]
    one, two = (chosen.sum_updates(meta, each, math.inf) for each in same_rows)
    assert norm(subtract(one, two)) > 1e-3, "the same rows with the noise of another round"


@pytest.mark.parametrize("name", ["noisy closed form", "noisy steps"])
def test_a_users_noise_does_not_depend_on_the_division_of_the_cohort(name: str) -> None:
    chosen, meta, people = engine(name, "onnx"), bundle(name).meta, population(200)
    everybody = draw_cohort(people, np.arange(200), RULE, SEED, ROUND)
    one_block = int(1.01 * 8 * chosen.user_bytes(sum(RULE_ROWS)))
    small = replace(chosen, memory=one_block, workers=1).sum_updates(meta, everybody, 0.3)
    close(small, replace(chosen, workers=1).sum_updates(meta, everybody, 0.3))


def test_no_two_users_rounds_or_seeds_share_their_noise() -> None:
    names = np.asarray(["a", "b"])
    drawn = [episode_noise(5, episode_keys(seed, number, names)) for seed in (0, 1) for number in (1, 2)]
    rows = np.concatenate(drawn)
    assert rows.dtype == np.float32
    assert len({row.tobytes() for row in rows}) == 8
    np.testing.assert_array_equal(episode_noise(5, episode_keys(0, 1, names[1:])), drawn[0][1:])
    assert episode_noise(0, episode_keys(0, 1, names)).shape == (2, 0)


@pytest.mark.parametrize("adapts", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TOYS)
def test_batched_users_adapt_as_in_plain_torch_despite_padding(name: str, kind: EngineKind, adapts: bool) -> None:
    learner, meta = TOYS[name](), bundle(name).meta
    trials = draw_trials(population(), 3, 0, draws=1)
    supports, inputs, noise = stacked_supports(trials), stacked_inputs(trials), stacked_noise(trials, learner.noise)
    supports.mask[::2, 2] = 0  # every other user has two rows, and one of padding
    knobs = dict(learner.knobs if adapts else learner.unadapted)
    chosen = engine(name, kind)
    outputs = chosen.predict(meta, chosen.adapt(meta, supports, knobs, noise), inputs)
    for user, output in enumerate(outputs):
        real = 2 if user % 2 == 0 else 3
        own = NumpyBatch(*(part[user][:real] for part in supports))
        expected = in_torch(learner, meta, knobs, own, noise[user], inputs[user])
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", TOYS)
def test_a_device_evaluates_as_batches_do(name: str) -> None:
    made, people = bundle(name), population(40)
    options = [dict(each) for each in made.manifest.candidates]
    questions = [CandidateSet(k, options, measure) for k in (1, 3) for measure in ("gains", "scores")]
    request = EvaluationRequest("accuracy", 6, 0.5, questions)
    local = [people.local(user) for user in range(len(people))]
    found = evaluate_users(OnnxRuntime(made.graphs), made.meta, local, made.manifest, request)
    selector = batched.select_users(people, None, request)
    for kind in KINDS:
        expected = batched.evaluate_batched(engine(name, kind), made.meta, selector, request, METRICS)
        for one, other in zip(found, expected, strict=True):
            assert one.users == other.users > 5
            np.testing.assert_allclose(one.sums, other.sums, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TOYS)
def test_training_is_the_same_batched_and_user_by_user(name: str) -> None:
    people, plan, meta = population(), replace(small_plan(4), episodes=RULE), bundle(name).meta
    found = {kind: train_in_process(engine(name, kind), people, meta, plan).meta for kind in KINDS}
    assert norm(subtract(found["onnx"], meta)) > 0.01
    for kind in KINDS[1:]:
        assert norm(subtract(found[kind], found["onnx"])) < 1e-3 * norm(subtract(found["onnx"], meta))


@pytest.mark.parametrize("name", TOYS)
def test_a_run_ends_in_a_bundle_that_a_device_adapts(name: str, tmp_path: Path) -> None:
    learner = TOYS[name]()
    plan = replace(small_plan(3, ks=(2, 4)), episodes=RULE)
    run = run_plan(population(60), learner, plan)
    assert [entry.k for entry in run.bundle.manifest.schedule] == [2, 4]
    always = replace(run.bundle.manifest, schedule=(ScheduleEntry(2, learner.knobs),))
    replace(run, bundle=replace(run.bundle, manifest=always)).write(tmp_path / "init.tegu")
    made, rng = read_bundle(tmp_path / "init.tegu"), np.random.default_rng(0)
    assert (made.manifest.noise, made.manifest.unadapted) == (learner.noise, learner.unadapted)
    x, y = rng.normal(size=(6, FEATURES)).astype(np.float32), rng.integers(0, CLASSES, 6)
    none = NumpyBatch(x[:1], y[:1], np.zeros(1, np.float32))
    initial = in_torch(learner, made.meta, dict(learner.unadapted), none, np.zeros(learner.noise, np.float32), x)
    with Personalizer.open(made) as p, Personalizer.open(made) as other:
        np.testing.assert_allclose(p.predict(x), initial, rtol=1e-4, atol=1e-5)
        p.observe(x[:1], y[:1])
        report = p.adapt()
        assert (report.steps, report.scheduled_steps) == (0, 0), "below the schedule"
        np.testing.assert_allclose(p.predict(x), initial, rtol=1e-4, atol=1e-5)
        p.observe(x[1:], y[1:])
        report = p.adapt(budget_ms=None)
        assert report.steps == report.scheduled_steps == learner.knobs.get("steps", 1)
        adapted = p.predict(x)
        assert np.abs(adapted - initial).max() > 0.01
        p.adapt()
        np.testing.assert_array_equal(p.predict(x), adapted)
        other.observe(x, y)
        other.adapt()
        np.testing.assert_array_equal(other.predict(x), adapted)


def test_without_steps_a_spent_budget_still_adapts_completely() -> None:
    made = bundle("closed form")
    x, y = np.ones((4, FEATURES), np.float32), np.arange(4) % CLASSES
    with Personalizer.open(made) as hurried, Personalizer.open(made) as patient:
        for person in (hurried, patient):
            person.observe(x, y)
        reports = hurried.adapt(budget_ms=0), patient.adapt()
        assert [report.steps for report in reports] == [1, 1]
        np.testing.assert_array_equal(hurried.predict(x), patient.predict(x))
