"""Robust rules over nodes' mean updates, against numpy written from the papers; and under attack."""

from __future__ import annotations

import numpy as np
import pytest
from tests.core.samples import refused
from tests.server.fake import random_tree

from tegu.core.data.tree import Tree, norm, scale, subtract
from tegu.core.errors import DataError, UnknownNameError
from tegu.server.replies.aggregation import Aggregation, aggregate
from tegu.server.training.plan import UpdatePlan
from tegu.wire import Reply

ROBUST: tuple[Aggregation, ...] = ("trimmed_mean", "median", "krum", "multi_krum")


def replies(number: int, users: int = 1) -> list[Reply]:
    return [Reply(scale(random_tree(seed), users), users) for seed in range(number)]


def flat(tree: Tree) -> np.ndarray:
    return np.concatenate([np.ravel(tree[name]) for name in sorted(tree)])


def means(given: list[Reply]) -> np.ndarray:
    return np.stack([flat(reply.update) / reply.users for reply in given])


@pytest.mark.parametrize("number", [1, 2, 3, 9, 10])
def test_the_rules_are_those_of_the_papers(number: int) -> None:
    given = [*replies(number - 1, 3), Reply(random_tree(99), 1)]
    each, false = np.sort(means(given), axis=0), int(np.ceil(0.2 * number))
    cut = min(false, (number - 1) // 2)
    np.testing.assert_allclose(
        flat(aggregate(given, "trimmed_mean", 0.2)), each[cut : number - cut].mean(0), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(flat(aggregate(given, "median", 0.2)), np.median(each, axis=0), rtol=1e-5, atol=1e-6)


def test_krum_takes_the_update_nearest_to_its_neighbours() -> None:
    given, false = replies(9, 2), 2
    each = means(given)
    distances = np.square(np.linalg.norm(each[:, None] - each[None], axis=2))
    scores = np.sort(distances, axis=1)[:, 1 : 9 - false - 2 + 1].sum(1)
    np.testing.assert_allclose(flat(aggregate(given, "krum", 0.2)), each[scores.argmin()], rtol=1e-5)
    best = each[scores.argsort()[: 9 - false]].mean(0)
    np.testing.assert_allclose(flat(aggregate(given, "multi_krum", 0.2)), best, rtol=1e-5, atol=1e-6)


def test_the_mean_counts_users() -> None:
    given = [Reply(random_tree(0), 3), Reply(random_tree(1), 1)]
    expected = (flat(given[0].update) + flat(given[1].update)) / 4
    np.testing.assert_allclose(flat(aggregate(given, "mean", 0.2)), expected, rtol=1e-6)


@pytest.mark.parametrize("rule", ROBUST)
@pytest.mark.parametrize("size", [-50.0, 1e30])
def test_a_fifth_of_false_nodes_moves_a_robust_rule_little(rule: Aggregation, size: float) -> None:
    """Honest updates are near 1. The mean goes where the false ones want."""
    honest = [Reply({name: 1 + 0.1 * array for name, array in random_tree(seed).items()}, 1) for seed in range(8)]
    false = [Reply({name: np.full_like(array, size) for name, array in random_tree(0).items()}, 1)] * 2
    ones = {name: np.ones_like(array) for name, array in random_tree(0).items()}
    found = aggregate([*honest, *false], rule, 0.2)
    assert norm(subtract(found, ones)) < 1.0
    assert norm(subtract(aggregate([*honest, *false], "mean", 0.2), ones)) > 20
    assert all(array.dtype == np.float32 for array in found.values())


def test_an_unknown_rule_or_share_is_refused() -> None:
    with refused(UnknownNameError, "no aggregation is called 'medain'", "Did you mean 'median'"):
        UpdatePlan(aggregation="medain")  # type: ignore[arg-type]
    with refused(DataError, "attackers is 0.5", "below 0.5"):
        UpdatePlan(aggregation="median", attackers=0.5)
