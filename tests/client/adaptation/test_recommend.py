from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.client.graphs import ITEMS, linear_bundle, ranking_bundle, rating_bundle

from tegu.client import Personalizer
from tegu.client.adaptation.recommend import best_items
from tegu.core.errors import DataError


def test_the_best_come_first_with_their_scores() -> None:
    bundle = ranking_bundle()
    scores = bundle.meta["items"] @ bundle.meta["user"]
    with Personalizer.open(bundle) as p:
        ids, found = p.recommend(4)
    assert ids.tolist() == np.argsort(-scores)[:4].tolist()
    np.testing.assert_allclose(found, scores[ids], atol=1e-5)
    assert ids.dtype == np.int64
    assert found.dtype == np.float32


def test_adapting_moves_what_is_recommended() -> None:
    with Personalizer.open(ranking_bundle()) as p:
        worst = int(p.recommend(ITEMS)[0][-1])
        p.observe(worst)
        p.adapt()
        assert p.recommend(1, exclude_seen=False)[0].tolist() == [worst]


def test_seen_items_are_left_out_unless_asked_for() -> None:
    with Personalizer.open(ranking_bundle()) as p:
        best = p.recommend(3)[0].tolist()
        p.observe([best[0], best[0], best[2]])
        assert p.recommend(1)[0].tolist() == [best[1]]
        assert p.recommend(3, exclude_seen=False)[0].tolist() == best


def test_no_more_than_are_left() -> None:
    with Personalizer.open(ranking_bundle()) as p:
        p.observe(np.arange(ITEMS - 2))
        assert sorted(p.recommend(100)[0].tolist()) == [ITEMS - 2, ITEMS - 1]
        p.observe([ITEMS - 2, ITEMS - 1])
        ids, scores = p.recommend(1)
        assert len(ids) == len(scores) == 0


def test_ties_go_to_the_lower_id() -> None:
    bundle = ranking_bundle()
    equal = {**bundle.meta, "user": np.zeros_like(bundle.meta["user"])}
    with Personalizer.open(replace(bundle, meta=equal)) as p:
        assert p.recommend(5)[0].tolist() == [0, 1, 2, 3, 4]


def test_ties_go_to_the_lower_id_in_large_catalogues_too() -> None:
    scores = np.tile(np.array([1, 3, 2], np.float32), 1000)
    ids, found = best_items(scores, np.array([1, 4]), 2000)
    assert ids.tolist() == [*range(7, 3000, 3), *range(2, 3000, 3), 0, 3]
    assert found.tolist() == [3] * 998 + [2] * 1000 + [1] * 2


def test_ratings_recommend_too() -> None:
    bundle = rating_bundle()
    scores = bundle.meta["items"] @ bundle.meta["user"]
    with Personalizer.open(bundle) as p:
        ids, found = p.recommend(3)
    assert ids.tolist() == np.argsort(-scores)[:3].tolist()
    assert found.shape == (3,)


def test_a_model_without_items_has_nothing_to_recommend() -> None:
    with Personalizer.open(linear_bundle()) as p, pytest.raises(DataError, match="no items to recommend"):
        p.recommend(3)


def test_at_least_one_must_be_asked_for() -> None:
    with Personalizer.open(ranking_bundle()) as p, pytest.raises(DataError, match="n is 0"):
        p.recommend(0)
