"""Running statistics of a population: training users alone decide them, and the run starts from them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from tegu.sim import Population, reestimate_statistics

USERS, ROWS = 20, 8


def people(heldout_shift: float) -> Population:
    """People whose rows have mean 5; those who do not train are shifted by `heldout_shift` more."""
    rng = np.random.default_rng(0)
    x = (5 + 2 * rng.standard_normal((USERS, ROWS, 4))).astype(np.float32)
    y = np.tile([0, 1], USERS * ROWS // 2)
    names = [f"p{number:02d}" for number in range(USERS)]
    given = Population.from_arrays(x.reshape(-1, 4), y, np.repeat(names, ROWS), kind="classification")
    trains = set(given.split(0).train.users)
    x[[name not in trains for name in names]] += heldout_shift
    return Population.from_arrays(x.reshape(-1, 4), y, np.repeat(names, ROWS), kind="classification")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))


def test_training_users_alone_decide_them_and_the_module_is_not_changed() -> None:
    model, given = network(), people(0.0)
    found, shifted = (reestimate_statistics(each, model, seed=0) for each in (given, people(1000.0)))
    x, _ = given.split(0).train.all_rows()
    first = found[0]
    assert np.allclose(first.running_mean, x.mean(0), atol=1e-4)
    assert np.allclose(first.running_var, x.var(0), rtol=1e-4)
    assert all(
        torch.equal(a, b) for a, b in zip(found.state_dict().values(), shifted.state_dict().values(), strict=True)
    )
    assert not model[0].running_mean.any()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), found.parameters(), strict=True))


def test_rounds_and_cohort_may_be_given() -> None:
    one = reestimate_statistics(people(0.0), network(), rounds=1, cohort=3)
    other = reestimate_statistics(people(0.0), network(), rounds=1, cohort=3, seed=1)
    assert abs(one[0].running_mean - 5).max() < 1
    assert not torch.equal(one[0].running_mean, other[0].running_mean)
