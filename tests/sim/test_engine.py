"""Batched graphs, the device's graphs in a loop, and a plain torch loop: the same numbers."""

from __future__ import annotations

import logging
import math
from functools import partial

import numpy as np
import pytest
from tests.sim import people
from tests.sim.conftest import Tiny

from tegu.core.batch import Array, NumpyBatch, stack_batches
from tegu.core.episode import Episode, EpisodeRule, draw_episode, rows_rng
from tegu.core.errors import CompileError
from tegu.core.tree import Tree, add, clip, max_difference, norm, scale, subtract
from tegu.learners import Learner, fedavg, joint
from tegu.server.compile import CohortGraphs
from tegu.sim.engine import CHUNK, BatchedEngine, Engine, LoopedEngine, engine_like, make_engine
from tegu.sim.trials import draw_trials, stacked_inputs, stacked_supports

KINDS = ("batched", "looped")
LIMIT = 0.6
CLOSE = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)


def episodes(users: int) -> list[Episode]:
    population = people.people(users)
    rule = EpisodeRule(1, 6, 6)
    return [draw_episode(*population.rows(i), rule, rows_rng("test", i)) for i in range(users)]


def users_batch(users: int) -> tuple[NumpyBatch, Array, list[tuple[Array, Array]]]:
    """Supports of different sizes, padded; inputs; and the supports as they were."""
    chosen = [episode.support for episode in episodes(users)]
    x = np.random.default_rng(1).normal(size=(users, 7, 2)).astype(np.float32)
    return stack_batches(chosen), x, [(support.x, support.y) for support in chosen]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_adapt_and_predict_are_plain_torch(tiny: Tiny, kind: str, steps: int) -> None:
    engine: Engine = getattr(tiny, kind)
    meta = tiny.learner.init(0)
    supports, x, rows = users_batch(9)
    states = engine.adapt(meta, supports, {"steps": float(steps), "lr": 0.4, "prior": 2.0})
    outputs = engine.predict(meta, states, x)
    assert outputs.shape == (9, 7, 3)
    moved = 0.0
    for user, (sx, sy) in enumerate(rows):
        model = people.torch_adapted(meta, sx, sy, steps, 0.4, 2.0)
        for name, value in people.parameters(model).items():
            CLOSE(states[name][user], value)
        CLOSE(outputs[user], people.torch_outputs(model, x[user]))
        moved = max(moved, max_difference(meta, people.parameters(model)))
    assert (moved > 0.01) == (steps > 0)


def reptile_update(meta: Tree, episode: Episode) -> Tree:
    adapted = people.torch_adapted(meta, *people.all_rows(episode), 3, 0.3, 1.0)
    return subtract(meta, people.parameters(adapted))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [math.inf, LIMIT])
def test_summed_updates_are_plain_torch(tiny: Tiny, kind: str, limit: float) -> None:
    engine: Engine = getattr(tiny, kind)
    meta, users = tiny.learner.init(0), episodes(CHUNK + 5)
    updates = [reptile_update(meta, episode) for episode in users]
    assert max(map(norm, updates)) > LIMIT > min(map(norm, updates)), "the limit must cut some and leave some"
    total = clip(updates[0], limit)
    for update in updates[1:]:
        total = add(total, clip(update, limit))
    found = engine.sum_updates(meta, users, limit)
    assert max_difference(found, total) < 1e-4 * max(1.0, norm(total))


def test_both_engines_agree_beyond_a_chunk(tiny: Tiny) -> None:
    meta, (supports, x, _) = tiny.learner.init(1), users_batch(2 * CHUNK + 3)
    batched, looped = (engine.adapt(meta, supports, people.KNOBS) for engine in (tiny.batched, tiny.looped))
    assert max_difference(batched, looped) < 1e-5
    CLOSE(tiny.batched.predict(meta, batched, x), tiny.looped.predict(meta, looped, x))


def test_a_method_takes_chunks_of_users_in_order(tiny: Tiny) -> None:
    from tegu.sim.evaluate import adapted

    population = people.people(90)
    trials = draw_trials(population, 2, 0, draws=2)
    assert len(trials.trials) > CHUNK
    meta = tiny.learner.init(0)
    outputs = adapted(tiny.batched, meta, people.KNOBS)(trials)
    states = tiny.looped.adapt(meta, stacked_supports(trials), people.KNOBS)
    CLOSE(np.stack(outputs), tiny.looped.predict(meta, states, stacked_inputs(trials)))


@pytest.mark.usefixtures("compiled_once")
def test_a_comparators_engine_differs_in_its_update_alone(tiny: Tiny) -> None:
    meta, users = tiny.learner.init(0), episodes(6)
    supports, _, _ = users_batch(6)
    for kind in KINDS:
        engine = getattr(tiny, kind)
        for build, one in ((joint, _joint_update), (fedavg, reptile_update)):
            other = engine_like(engine, build(people.classifier(), tiny.learner))
            assert type(other) is type(engine)
            assert (
                max_difference(other.adapt(meta, supports, people.KNOBS), engine.adapt(meta, supports, people.KNOBS))
                == 0
            )
            expected = [one(meta, episode) for episode in users]
            total = expected[0]
            for update in expected[1:]:
                total = add(total, update)
            assert max_difference(other.sum_updates(meta, users, math.inf), total) < 1e-4
    assert norm(scale(total, 1 / 6)) > 0.01


def _joint_update(meta: Tree, episode: Episode) -> Tree:
    model = people.with_parameters(meta)
    people.torch_loss(model, *people.all_rows(episode)).backward()
    return {name: np.asarray(parameter.grad) for name, parameter in model.named_parameters()}


def test_a_model_without_batched_operators_runs_user_by_user(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(learner: Learner) -> CohortGraphs:
        raise CompileError("GRU has no batched form")

    monkeypatch.setattr("tegu.sim.engine.compile_cohort", refuse)
    with caplog.at_level(logging.INFO, "tegu.sim.engine"):
        engine = make_engine(tiny.learner, tiny.looped.graphs)
    assert isinstance(engine, LoopedEngine)
    assert "reptile runs user by user: GRU has no batched form" in caplog.text


@pytest.mark.usefixtures("compiled_once")
def test_a_model_with_batched_operators_is_batched(tiny: Tiny) -> None:
    assert isinstance(make_engine(tiny.learner, tiny.looped.graphs), BatchedEngine)
