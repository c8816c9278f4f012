"""Likelihood and coverage of a state's members, compared with mixtures of `torch.distributions` and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.learners import platipus
from tegu.sim import Population, Run, simulate
from tegu.sim.evaluation.heldout import evaluate_heldout
from tegu.sim.evaluation.uncertainty import MemberOutputs, class_coverage, observation_variance, value_coverage
from tegu.sim.reporting.table import table_rows

VALUES = Spec.regression((2,), 1)


def drawn(rng: np.random.Generator, trials: int, rows: int = 30, members: int = 4, noise: float = 0.5) -> list:
    """Targets around one of the members' outputs, which differ by 1, with the given deviation."""
    found = []
    for _ in range(trials):
        outputs = rng.normal(size=(members, rows, 1))
        chosen = outputs[rng.integers(members, size=rows), np.arange(rows)]
        found.append(MemberOutputs(outputs, (chosen + noise * rng.normal(size=(rows, 1))).astype(np.float32)))
    return found


def mixture(outputs: Array, variance: float) -> MixtureSameFamily:
    """The mixture of one row's members, by torch."""
    means = torch.from_numpy(outputs)
    return MixtureSameFamily(Categorical(torch.ones(len(means))), Normal(means, variance**0.5))


def test_values_have_the_figures_of_torchs_mixture() -> None:
    (found,) = drawn(np.random.default_rng(0), 1)
    rows = [(mixture(found.outputs[:, row, 0], 0.4), torch.tensor(found.y[row, 0])) for row in range(len(found.y))]
    result = value_coverage([found], 0.4)
    assert result.nll == pytest.approx(-np.mean([float(law.log_prob(y)) for law, y in rows]), rel=1e-6)
    assert result.coverage == np.mean([0.05 <= float(law.cdf(y)) <= 0.95 for law, y in rows])


def test_the_true_variance_is_found_and_covers_nine_of_ten() -> None:
    trials = drawn(np.random.default_rng(1), 100)
    variance = observation_variance(trials)
    assert variance == pytest.approx(0.25, rel=0.15)
    result = value_coverage(trials, variance)
    assert result.coverage == pytest.approx(0.9, abs=0.02)
    assert all(value_coverage(trials, variance * factor).nll > result.nll for factor in (0.5, 2.0))


def test_classes_have_the_mean_of_probabilities() -> None:
    chances = np.asarray([[[0.80, 0.15, 0.05], [0.5, 0.3, 0.2]], [[0.60, 0.35, 0.05], [0.4, 0.4, 0.2]]])
    result = class_coverage(
        [MemberOutputs(np.log(chances), np.asarray([2, 1]))]
    )  # means: 0.70 0.25 0.05, 0.45 0.35 0.2
    assert result.nll == pytest.approx(-np.log([0.05, 0.35]).mean())
    assert result.coverage == 0.5  # the first row's set is the classes 0 and 1, the second's is all three


def sloped(users: int = 40, rows: int = 16) -> Population:
    """Users with a slope of their own, in noise."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(users * rows, 2)).astype(np.float32)
    slopes = np.repeat(rng.normal(size=(users, 2)), rows, 0)
    y = ((x * slopes).sum(1, keepdims=True) + 0.3 * rng.normal(size=(len(x), 1))).astype(np.float32)
    return Population.from_arrays(x, y, np.repeat(np.arange(users), rows), VALUES)


@pytest.fixture(scope="module")
def bayesian() -> Run:
    """A short run of a learner with several members."""
    learner = platipus(torch.nn.Linear(2, 1), VALUES, steps=1, samples=2)
    return simulate(sloped(), learner, rounds=2, seed=0)


@pytest.mark.slow
def test_a_run_with_members_says_both_figures_in_its_table(bayesian: Run) -> None:
    curve = evaluate_heldout(bayesian, {}).curve
    assert all(set(entry["uncertainty"]) == {"members", "constant_spread", "deviation"} for entry in curve)
    rows = {row[0]: row[1:] for row in table_rows(bayesian.evaluate(baselines=False).metrics)}
    assert rows["negative log-likelihood"] == [f"{entry['uncertainty']['members']['nll']:.3f}" for entry in curve]
    assert rows["coverage at 90%"] == [f"{entry['uncertainty']['members']['coverage']:.1%}" for entry in curve]


@pytest.mark.slow
def test_a_learner_without_members_has_none(bayesian: Run) -> None:
    run = replace(bayesian, learner=replace(bayesian.learner, members=None))
    assert all("uncertainty" not in entry for entry in evaluate_heldout(run, {}).curve)
