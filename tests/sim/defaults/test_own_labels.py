"""Labels that mean something of their own to every user are found, and shared labels are not taken for such."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.sim.data.population import Population
from tegu.sim.defaults.choose import choose_learner
from tegu.sim.defaults.own_labels import agreement, labels_are_own

USERS, ROWS, CLASSES, WIDTH = 60, 20, 4, 6


def clusters(seed: int = 0) -> tuple[Array, Array, Array]:
    """Rows around one of twelve centres; each user has four of them. The centre of each row, and its user."""
    rng = np.random.default_rng(seed)
    centres, user = rng.normal(size=(12, WIDTH)), np.repeat(np.arange(USERS), ROWS)
    chosen = np.stack([rng.permutation(12)[:CLASSES] for _ in range(USERS)])
    centre = chosen[user, rng.integers(CLASSES, size=len(user))]
    return (centres[centre] + 0.3 * rng.normal(size=(len(user), WIDTH))).astype(np.float32), centre, user


def population(y: Array, x: Array, user: Array) -> Population:
    return Population.from_arrays(x, y, user, Spec.classification((WIDTH,), int(y.max()) + 1))


def own_labels() -> Population:
    """Each user numbers the own four centres anew."""
    x, centre, user = clusters()
    rng = np.random.default_rng(1)
    y = np.zeros(len(user), np.int64)
    for each in range(USERS):
        own = user == each
        y[own] = rng.permutation(CLASSES)[np.unique(centre[own], return_inverse=True)[1]]
    return population(y, x, user)


def shared_labels() -> Population:
    x, centre, user = clusters()
    return population(centre % CLASSES, x, user)


def own_taste() -> Population:
    """The label is shared, and a user's threshold is not."""
    x, _, user = clusters()
    level = np.random.default_rng(2).normal(size=USERS)[user]
    return population((x[:, 0] + level > 0).astype(np.int64), x, user)


def habits() -> Population:
    """Labels have frequencies of the user's own, and inputs say nothing."""
    x, _, user = clusters()
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.full(CLASSES, 0.5), USERS)[user].cumsum(1)
    return population((shares < rng.random(len(user))[:, None]).sum(1).clip(max=CLASSES - 1), x, user)


def test_own_labels_are_told_from_shared_ones() -> None:
    assert labels_are_own(own_labels(), 0)
    assert not labels_are_own(shared_labels(), 0)
    assert not labels_are_own(own_taste(), 0)
    assert not labels_are_own(habits(), 0)


def test_a_handful_of_users_and_other_kinds_of_inputs_count_as_shared() -> None:
    found = own_labels()
    assert not labels_are_own(found.subset(range(10)), 0)
    tokens = Population.from_arrays(
        np.arange(40) % 7, np.arange(40) % 2, np.repeat(np.arange(20), 2), Spec.classification((), 2, tokens=7)
    )
    assert not labels_are_own(tokens, 0)


def test_agreement_is_that_of_nearest_rows_in_plain_loops() -> None:
    found = own_labels().subset(range(20))
    x, y = found.all_rows()
    x = (x - x.mean(0)) / x.std(0)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    user = np.repeat(np.arange(20), ROWS)
    lifts: list[list[tuple[float, float]]] = [[], []]
    for each in range(20):
        for place, rows in enumerate((user == each, user != each)):
            hits = chance = 0.0
            for row in np.flatnonzero(user == each):
                among = np.flatnonzero(rows & (np.arange(len(x)) != row))
                hits += float(y[among[np.argmax(x[among] @ x[row])]] == y[row])
                chance += float((y[among] == y[row]).mean())
            lifts[place].append((hits / ROWS, chance / ROWS))
    for place, lift in enumerate((agreement(found, 0).own, agreement(found, 0).others)):
        hit, chance = np.asarray(lifts[place]).T
        assert lift == pytest.approx((hit - chance).mean() / (1 - chance.mean()), abs=1e-6)


def test_a_module_for_own_labels_trains_as_prototypical_networks_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "tegu")
    module = nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, CLASSES))
    assert choose_learner(own_labels(), module, 0).name == "prototypical_networks"
    assert "something else to every user" in caplog.text
    caplog.clear()
    assert choose_learner(shared_labels(), module, 0).name == "residual_correction"
    assert "something else to every user" not in caplog.text
