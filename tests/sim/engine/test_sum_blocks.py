"""The sum of blocks has the same bits however they are divided into batches, and keeps none of them."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest
from tests.federation.tiny import bundle, looped_engine, population

from tegu.core.data.batch import NumpyBatch
from tegu.core.data.tree import Tree, digest
from tegu.core.sampling.episode import EpisodeRule
from tegu.sim.data.cohort import draw_cohort
from tegu.sim.engine.sum_blocks import BlockSum


@pytest.mark.parametrize("shape", [(), (1,), (3, 2), (1, 40)])
def test_the_order_alone_decides_the_bits(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    blocks = rng.normal(size=(257, *shape)).astype(np.float32)
    found = set()
    for size in (1, 2, 7, 128, 257):
        total = BlockSum({"w": np.zeros(shape, np.float32)})
        for begin in range(0, 257, size):
            total.add({"w": blocks[begin : begin + size]})
        np.testing.assert_allclose(total.total["w"], blocks.astype(np.float64).sum(0), rtol=1e-4, atol=1e-4)
        found.add(digest(total.total))
    assert len(found) == 1


def test_rows_of_tables_are_added_at_their_ids() -> None:
    total = BlockSum({"items": np.zeros((4, 2), np.float32)})
    for _ in range(2):
        total.add({"items/rows": np.ones((3, 2, 2), np.float32), "items/ids": np.asarray([[0, 1], [1, 3], [1, 1]])})
    assert total.total["items"][:, 0].tolist() == [2, 8, 0, 2]


def test_a_round_keeps_no_batch() -> None:
    """One worker, which hands over a batch before it takes the next."""
    engine = looped_engine()
    made, most = list[weakref.ref[np.ndarray]](), 0

    class Watched:
        name, adapt, predict, summed_update = "watched", None, None, engine.backend.summed_update

        def block_sums(
            self, meta: Tree, support: NumpyBatch, query: NumpyBatch, noise: np.ndarray, block: int, limit: float
        ) -> Tree:
            nonlocal most
            most = max(most, sum(each() is not None for each in made))
            sums = engine.backend.block_sums(meta, support, query, noise, block, limit)
            made.extend(weakref.ref(value) for value in sums.values())
            return sums

    users = population(200)
    cohort = draw_cohort(users, np.arange(200), EpisodeRule(1, 6, 4), 7, 3)
    watched = replace(engine, backend=Watched(), workers=1, memory=8 * (1 << 16))
    total = watched.sum_updates(bundle().meta, cohort, 0.4)
    assert len(made) > 20 * len(total)
    assert most <= 2 * len(total)
