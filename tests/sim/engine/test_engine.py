"""Every engine against a plain torch loop, and against itself for different divisions of a cohort."""

from __future__ import annotations

import logging
import math
import os
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from tests.core.samples import refused
from tests.sim import people
from tests.sim.conftest import Tiny

from tegu.compile import CohortGraphs, compile_learner
from tegu.core.data.batch import Array, NumpyBatch, stack_batches
from tegu.core.data.tree import Tree, add, clip, digest, max_difference, norm, scale, subtract
from tegu.core.errors import CompileError, DataError, UnknownNameError
from tegu.core.sampling.episode import Episode, EpisodeRule, draw_episode, episode_key
from tegu.core.sampling.trials import stacked_inputs, stacked_supports
from tegu.learners import Learner, fedavg, fedsgd, reptile, residual_correction
from tegu.sim.data.cohort import Cohort, draw_cohort
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine import Engine, check_engine, engine_like, fastest, make_engine
from tegu.sim.engine.footprint import footprint

KINDS = ("onnx", "onnx-loop", "torch-vmap", "torch-loop")
LIMIT, RULE = 0.6, EpisodeRule(1, 6, 6)
CLOSE = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)


def cohort(users: int) -> Cohort:
    return draw_cohort(people.people(users), np.arange(users), RULE, 0, 1)


def episodes(users: int) -> list[Episode]:
    """The same cohort, with each user drawn separately."""
    population = people.people(users)
    names = map(str, population.users)
    return [draw_episode(*population.rows(i), RULE, episode_key(0, 1, name)) for i, name in enumerate(names)]


def users_batch(users: int) -> tuple[NumpyBatch, Array, list[tuple[Array, Array]]]:
    """Padded supports of different sizes, inputs, and the supports without padding."""
    chosen = [episode.support for episode in episodes(users)]
    x = np.random.default_rng(1).normal(size=(users, 7, 2)).astype(np.float32)
    return stack_batches(chosen), x, [(support.x, support.y) for support in chosen]


def test_the_default_is_one_worker_per_processor_on_every_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS and Windows do not tell which processors a process may use."""
    made = make_engine(reptile(people.classifier(), people.people().spec, init="fresh"), {}, "torch-loop")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert Engine(made.backend, made.manifest).workers == 3


def test_residual_corrections_run_user_by_user_too() -> None:
    """Their states contain scalars."""
    learner = residual_correction(people.classifier(), people.people().spec, init="fresh")
    looped, batched = (make_engine(learner, compile_learner(learner), kind) for kind in ("onnx-loop", "onnx"))
    meta, (supports, x, _) = learner.init(0), users_batch(5)
    states = [engine.adapt(meta, supports, learner.knobs) for engine in (looped, batched)]
    CLOSE(looped.predict(meta, states[0], x), batched.predict(meta, states[1], x))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_adapt_and_predict_match_plain_torch(tiny: Tiny, kind: str, steps: int) -> None:
    engine = tiny.engines[kind]
    meta = tiny.learner.init(0)
    supports, x, rows = users_batch(9)
    states = engine.adapt(meta, supports, {"steps": float(steps), "lr": 0.4, "prior": 2.0})
    outputs = engine.predict(meta, states, x)
    assert np.shape(outputs) == (9, 7, 3)
    moved = 0.0
    for user, (sx, sy) in enumerate(rows):
        model = people.torch_adapted(meta, sx, sy, steps, 0.4, 2.0)
        for name, value in people.parameters(model).items():
            CLOSE(states[name][user], value)
        CLOSE(outputs[user], people.torch_outputs(model, x[user]))
        moved = max(moved, max_difference(meta, people.parameters(model)))
    assert (moved > 0.01) == (steps > 0)


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_of_padded_rows_are_not_computed_user_by_user(tiny: Tiny, kind: str) -> None:
    engine, meta = tiny.engines[kind], tiny.learner.init(0)
    supports, x, _ = users_batch(9)
    rows, states = [1, 7, 3, 2, 7, 5, 4, 6, 1], engine.adapt(meta, supports, tiny.learner.knobs)
    outputs = engine.predict(meta, states, x, rows)
    assert [len(own) for own in outputs] == (rows if kind.endswith("loop") else [7] * 9)
    for own, padded, number in zip(outputs, engine.predict(meta, states, x), rows, strict=True):
        CLOSE(own[:number], padded[:number])


def reptile_update(meta: Tree, episode: Episode) -> Tree:
    adapted = people.torch_adapted(meta, *people.all_rows(episode), 3, 0.3, 1.0)
    return subtract(meta, people.parameters(adapted))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [math.inf, LIMIT])
def test_summed_updates_match_plain_torch(tiny: Tiny, kind: str, limit: float) -> None:
    meta, users = tiny.learner.init(0), 133
    updates = [reptile_update(meta, episode) for episode in episodes(users)]
    assert max(map(norm, updates)) > LIMIT > min(map(norm, updates)), (
        "the limit must clip some updates and leave others"
    )
    total = clip(updates[0], limit)
    for update in updates[1:]:
        total = add(total, clip(update, limit))
    found = tiny.engines[kind].sum_updates(meta, cohort(users), limit)
    assert max_difference(found, total) < 1e-4 * max(1.0, norm(total))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "torch-vmap"])
def test_bits_do_not_depend_on_how_a_cohort_is_divided(tiny: Tiny, kind: str) -> None:
    """Memory and cores do not matter, except to torch-vmap: torch's matrix products depend on the batch size."""
    meta, whole = tiny.learner.init(0), cohort(90)
    block = 8 * tiny.engines[kind].user_bytes(16)
    results = {
        digest(
            replace(tiny.engines[kind], memory=int(blocks * workers * block), workers=workers).sum_updates(
                meta, whole, LIMIT
            )
        )
        for blocks, workers in ((1.01, 1), (1.01, 2), (2.5, 1), (4, 3), (1000, 1), (1000, 2))
    }
    assert len(results) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_batch_stops_the_others(tiny: Tiny, workers: int) -> None:
    engine, meta = tiny.engines["onnx"], tiny.learner.init(0)
    calls: list[int] = []

    class Failing:
        name, by_user, adapt, predict = "failing", False, engine.backend.adapt, engine.backend.predict

        def summed_update(self, rows: int) -> None:
            """None."""

        def block_sums(
            self, meta: Tree, support: NumpyBatch, query: NumpyBatch, noise: Array, block: int, limit: float
        ) -> Tree:
            calls.append(len(calls))
            if len(calls) == 3:
                raise ArithmeticError("the third")
            return engine.backend.block_sums(meta, support, query, noise, block, limit)

    one_block = int(1.01 * workers * 8 * engine.user_bytes(16))
    failing = replace(engine, backend=Failing(), memory=one_block, workers=workers)
    for _ in range(2):  # the threads are usable again
        calls.clear()
        with pytest.raises(ArithmeticError, match="the third"):
            failing.sum_updates(meta, cohort(200), LIMIT)
        assert len(calls) <= 3 + 2 * (
            workers - 1
        )  # of 25: the other worker finishes its batch, and starts one more at most
    assert max_difference(replace(failing, backend=engine.backend).sum_updates(meta, cohort(9), LIMIT), meta) > 0


def in_order(engine: Engine, invariant: bool) -> Engine:
    return replace(engine, execution=replace(engine.execution, order_invariant=invariant))


@pytest.mark.parametrize("minibatches", [1, 2])
def test_rows_are_in_the_drawn_order_unless_the_learner_is_order_invariant(minibatches: int) -> None:
    population = people.people(30)
    learner = reptile(people.classifier(), population.spec, steps=3, lr=0.3, minibatches=minibatches, init="fresh")
    assert learner.execution.order_invariant == (minibatches == 1)
    engine, meta = make_engine(learner, compile_learner(learner)), learner.init(0)
    every_row = draw_cohort(population, np.arange(30), EpisodeRule(1, 64, 64), 0, 1)
    assert every_row.merged(engine.execution.order_invariant).in_storage_order == (minibatches == 1)
    as_drawn = in_order(engine, False).sum_updates(meta, every_row, math.inf)
    CLOSE(norm(subtract(engine.sum_updates(meta, every_row, math.inf), as_drawn)), 0)
    other = in_order(engine, True).sum_updates(meta, every_row, math.inf)
    assert (norm(subtract(other, as_drawn)) > 0.01) == (minibatches == 2)


def test_batches_fit_into_the_memory_limit(tiny: Tiny) -> None:
    engine, meta = tiny.engines["onnx"], tiny.learner.init(0)
    sizes: list[int] = []

    class Counting:
        name = "counting"

        def summed_update(self, rows: int) -> None:
            """None."""

        def block_sums(
            self, meta: Tree, support: NumpyBatch, query: NumpyBatch, noise: Array, block: int, limit: float
        ) -> Tree:
            sizes.append(support.mask.shape[0] * int(engine.user_bytes(support.mask.shape[1] + query.mask.shape[1])))
            return engine.backend.block_sums(meta, support, query, noise, block, limit)

        adapt, predict = engine.backend.adapt, engine.backend.predict

    memory = int(50 * engine.user_bytes(16))
    counting = Engine(
        Counting(), engine.manifest, engine.execution, user_bytes=engine.user_bytes, memory=memory, workers=2
    )
    counting.sum_updates(meta, cohort(90), LIMIT)
    assert memory / 8 < max(sizes) <= memory / 2
    with refused(DataError, "memory is 1000 bytes", "2 blocks of 8 users", "allow more"):
        replace(engine, memory=1000, workers=2).sum_updates(meta, cohort(90), LIMIT)


def test_a_footprint_grows_with_rows_and_parameters() -> None:
    small, large = (footprint(people.learner()), footprint(wide()))
    assert small(64) > small(8) > 0
    assert large(8) > 20 * small(8)


def wide() -> Learner:
    from torch import nn

    return reptile(nn.Sequential(nn.Linear(2, 400), nn.Tanh(), nn.Linear(400, 3)), people.SPEC, steps=3, init="fresh")


@pytest.mark.parametrize("kind", KINDS)
def test_more_users_than_a_batch_are_adapted_in_order(tiny: Tiny, kind: str) -> None:
    meta, (supports, x, rows) = tiny.learner.init(1), users_batch(259)
    engine = tiny.engines[kind]
    states = engine.adapt(meta, supports, people.KNOBS)
    outputs = engine.predict(meta, states, x)
    for user in (0, 127, 128, 258):
        model = people.torch_adapted(meta, *rows[user], 3, 0.3, 1.0)
        CLOSE(outputs[user], people.torch_outputs(model, x[user]))


def test_adapted_predictions_are_in_the_order_of_trials(tiny: Tiny) -> None:
    from tegu.sim.engine.predictions import adapted_predictions

    trials = draw_trials(people.people(140), 2, 0, draws=2)
    assert len(trials.trials) > 256
    meta = tiny.learner.init(0)
    outputs = adapted_predictions(tiny.engines["onnx"], meta, people.KNOBS)(trials)
    looped = tiny.engines["onnx-loop"]
    states = looped.adapt(meta, stacked_supports(trials), people.KNOBS)
    CLOSE(np.stack(outputs), looped.predict(meta, states, stacked_inputs(trials)))


@pytest.mark.usefixtures("compiled_once")
@pytest.mark.parametrize("kind", KINDS)
def test_a_baselines_engine_differs_in_its_update_alone(tiny: Tiny, kind: str) -> None:
    meta, users = tiny.learner.init(0), 6
    supports, _, _ = users_batch(users)
    engine = replace(tiny.engines[kind], workers=3, memory=1 << 29)
    for build, one in ((fedsgd, _joint_update), (fedavg, reptile_update)):
        other = engine_like(engine, build(people.classifier(), tiny.learner))
        assert type(other.backend) is type(engine.backend)
        assert (other.workers, other.memory) == (3, 1 << 29)
        states = (each.adapt(meta, supports, people.KNOBS) for each in (other, engine))
        assert max_difference(*states) == 0
        expected = [one(meta, episode) for episode in episodes(users)]
        total = expected[0]
        for update in expected[1:]:
            total = add(total, update)
        assert max_difference(other.sum_updates(meta, cohort(users), math.inf), total) < 1e-4
        assert norm(scale(total, 1 / users)) > 0.01


def _joint_update(meta: Tree, episode: Episode) -> Tree:
    model = people.with_parameters(meta)
    people.torch_loss(model, *people.all_rows(episode)).backward()
    return {name: np.asarray(parameter.grad) for name, parameter in model.named_parameters()}


def test_a_model_without_batched_operators_runs_user_by_user(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(learner: Learner) -> CohortGraphs:
        raise CompileError("GRU has no batched form")

    monkeypatch.setattr("tegu.sim.engine.choose.compile_cohort", refuse)
    with caplog.at_level(logging.INFO, "tegu.sim.engine"):
        engine = make_engine(tiny.learner, dict(tiny.graphs))
    assert engine.backend.name == "onnx-loop"
    assert "reptile runs user by user: GRU has no batched form" in caplog.text


@pytest.mark.usefixtures("compiled_once")
def test_the_fastest_engine_is_reported_with_all_times(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = {"onnx": 3.0, "onnx-loop": 2.0, "torch-vmap": 1.0, "torch-loop": 4.0}
    monkeypatch.setattr("tegu.sim.engine.choose._seconds", lambda engine, meta, cohort: slow[engine.backend.name])
    reported: list[str] = []
    engine = fastest(tiny.learner, dict(tiny.graphs), tiny.learner.init(0), cohort(5), report=reported.append)
    assert engine.backend.name == "torch-vmap"
    assert reported == [
        "engine torch-vmap: the fastest for the first 5 users "
        "(torch-vmap 1000.0 ms, onnx-loop 2000.0 ms, onnx 3000.0 ms, torch-loop 4000.0 ms)"
    ]


def test_an_unknown_engine_is_refused() -> None:
    check_engine("auto")
    with refused(UnknownNameError, "engine", "onxx", "onnx"):
        check_engine("onxx")
