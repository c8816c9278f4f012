"""Sums of unclipped updates, computed at once if possible: every engine against a plain torch loop."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from tests.core.samples import refused
from torch import Tensor

from tegu.compile import compile_learner
from tegu.compile.examples import example_batch
from tegu.core.data.batch import Batch
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree, clip, digest, max_difference, norm
from tegu.core.errors import DataError
from tegu.core.sampling.episode import Episode, EpisodeRule, draw_episode, episode_key
from tegu.learners import Learner, fedsgd, reptile
from tegu.sim.data.cohort import Cohort, draw_cohort
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine, EngineKind, engine_like, make_engine
from tegu.sim.engine.engine import MAX_SUMMED_USERS
from tegu.sim.engine.footprint import Allocated, footprint, summed_update_footprint
from tegu.sim.experiments.models.film_taste import FilmTaste

pytestmark = pytest.mark.xdist_group("unclipped")  # its engines are made once
FILMS, STEPS, LR, PRIOR = 60, 3, 2.0, 4.0
KINDS = get_args(EngineKind)
RULE = EpisodeRule(1, 5, 9)


def learner(films: int = FILMS) -> Learner:
    return reptile(
        FilmTaste(films, 5),
        Spec.ranking(films),
        adapted_parameters=["user"],
        steps=STEPS,
        lr=LR,
        prior=PRIOR,
        init="fresh",
    )


@pytest.fixture(scope="module")
def engines() -> dict[str, Engine]:
    graphs = compile_learner(learner())
    return {kind: make_engine(learner(), graphs, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def meta() -> Tree:
    """Embeddings that are large enough for users to differ."""
    rng = np.random.default_rng(0)
    return {name: rng.normal(0, 0.5, value.shape).astype(np.float32) for name, value in learner().init(0).items()}


def population(users: int) -> Population:
    """Users with 2 to 20 weighted clicks on different films."""
    rng = np.random.default_rng(1)
    counts = rng.integers(2, 21, users)
    films = np.concatenate([rng.permutation(FILMS)[:count] for count in counts])
    weights = rng.uniform(0.5, 1, len(films)).astype(np.float32)
    return Population.from_arrays(films, weights, np.repeat(np.arange(users), counts), Spec.ranking(FILMS))


def cohort(users: int) -> Cohort:
    return draw_cohort(population(users), np.arange(users), RULE, 0, 1)


def episodes(users: int) -> list[Episode]:
    people = population(users)
    names = map(str, people.users)
    return [draw_episode(*people.rows(i), RULE, episode_key(0, 1, name)) for i, name in enumerate(names)]


def by_hand(meta: Tree, episode: Episode) -> Tree:
    """One user's update in float64, computed by torch.autograd."""
    film, bias, first = (
        torch.tensor(meta[name]).double().requires_grad_() for name in ("film.weight", "bias.weight", "user")
    )
    support, query = ([torch.tensor(part) for part in batch[:2]] for batch in (episode.support, episode.query))

    def loss(user: Tensor, x: Tensor, y: Tensor, offered: Tensor) -> Tensor:
        scores = torch.where(offered, film @ user + bias[:, 0], -math.inf)
        return -(torch.log_softmax(scores, 0)[x] * y).mean()

    every, user, rows = torch.ones(FILMS, dtype=torch.bool), first, len(support[0])
    for _ in range(STEPS):
        (slope,) = torch.autograd.grad(loss(user, *support, every), user, create_graph=True)
        user = user - LR * rows / (rows + PRIOR) * slope
    unseen = every.index_fill(0, support[0], value=False)
    slow = torch.autograd.grad(loss(user, *query, unseen), (film, bias))
    update = dict(zip(("film.weight", "bias.weight", "user"), (*slow, (first - user).detach()), strict=True))
    return {name: value.numpy() for name, value in update.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("users", [1, 5, 75])
def test_sums_match_plain_torch_with_and_without_clipping(
    engines: dict[str, Engine], meta: Tree, kind: str, users: int
) -> None:
    updates = [by_hand(meta, episode) for episode in episodes(users)]
    middle = float(np.median([norm(update) for update in updates]))
    for limit in (math.inf, 1e9, middle):
        cut = [clip(update, limit) for update in updates]
        expected = {name: np.sum([update[name] for update in cut], 0, np.float32) for name in meta}
        found = engines[kind].sum_updates(meta, cohort(users), limit)
        assert {name: value.dtype for name, value in found.items()} == dict.fromkeys(meta, np.float32)
        assert max_difference(found, expected) < 1e-4 * max(1.0, norm(expected))
        assert norm(expected) > 0.5


def test_batched_backends_sum_unclipped_updates_at_once(engines: dict[str, Engine]) -> None:
    has = {kind: engine.backend.summed_update(99) is not None for kind, engine in engines.items()}
    assert has == {"onnx": True, "onnx-loop": False, "torch-vmap": True, "torch-loop": False}
    baseline = engine_like(engines["onnx"], fedsgd(FilmTaste(FILMS, 5), learner()))
    assert baseline.backend.summed_update(1) is None


@pytest.mark.parametrize("kind", KINDS)
def test_bits_do_not_depend_on_memory_or_cores(engines: dict[str, Engine], meta: Tree, kind: str) -> None:
    results = {
        digest(replace(engines[kind], memory=memory, workers=workers).sum_updates(meta, cohort(75), math.inf))
        for memory, workers in ((4 << 20, 1), (8 << 20, 2), (1 << 30, 1), (1 << 30, 3))
    }
    assert len(results) == 1


def test_too_little_memory_for_a_block_is_refused(engines: dict[str, Engine], meta: Tree) -> None:
    with refused(DataError, "memory is 1000 bytes", "2 blocks of 38 users", "allow more"):
        replace(engines["onnx"], memory=1000, workers=2).sum_updates(meta, cohort(75), math.inf)


def test_a_summed_update_takes_less_memory_than_separate_updates() -> None:
    separate, summed = footprint(learner(2000)), summed_update_footprint(learner(2000))
    assert 0 < summed(10) < separate(10) / 2
    assert summed(10) < summed(500)
    assert summed(10) > 10 * summed_update_footprint(learner(100))(10)
    whole = reptile(FilmTaste(9, 2), Spec.ranking(9), init="fresh")
    assert summed_update_footprint(whole)(10) == 0


def test_the_memory_of_many_users_is_that_measured_for_them() -> None:
    own, meta = learner(100), {name: torch.tensor(value) for name, value in learner(100).init(0).items()}
    assert own.execution.summed_update is not None
    single = example_batch(own, 12, np.random.default_rng(0))
    many = Batch(*(values.expand(MAX_SUMMED_USERS, *values.shape) for values in single))
    with Allocated() as allocated:
        own.execution.summed_update.compute(meta, many, many, torch.zeros(MAX_SUMMED_USERS, 0))
    measured = allocated.bytes / MAX_SUMMED_USERS
    assert summed_update_footprint(own)(24) == pytest.approx(measured, rel=0.1)
