"""A held-out user's support and query are disjoint, of the right size, and the same for every method."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.people import Rows, leaks
from tests.core.samples import refused
from tests.sim.row_units import population_of, row_positions, users_with_row_units

from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError, PopulationError
from tegu.core.metrics import METRICS
from tegu.core.sampling.trials import DRAWS, MAX_QUERY, Trial, stacked_inputs, stacked_supports, user_scores
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials

ROWS = (2, 3, 7, 12)


def numbered(spec: Spec | None = None, rows: tuple[int, ...] = ROWS) -> Population:
    """x of a row is its index, which identifies it."""
    place = np.arange(sum(rows))
    user = np.repeat(np.arange(len(rows)), rows)
    if spec is not None and spec.kind == "ranking":
        return Population.from_arrays(place, np.ones(len(place)), user, spec)
    return Population.from_arrays(place[:, None].astype(np.float32), place.astype(np.float32), user)


def row_indices(trial: Trial) -> tuple[list[int], list[int]]:
    return tuple(part.x.reshape(-1).astype(int).tolist() for part in (trial.support, trial.query))  # type: ignore[return-value]


@pytest.mark.parametrize("k", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", ["regression", "ranking"])
def test_support_and_query_share_no_row(kind: str, k: int) -> None:
    population = numbered(Spec.ranking(sum(ROWS)) if kind == "ranking" else None)
    trials = draw_trials(population, k, seed=0)
    assert (trials.k, trials.spec) == (k, population.spec)
    for trial in trials.trials:
        support, query = row_indices(trial)
        assert len(support) == k
        own = population.rows(trial.user)[0].reshape(-1).astype(int).tolist()
        assert sorted(support + query) == own
        assert trial.support.mask.tolist() == [1] * k
        if kind == "regression":
            assert trial.query.y.reshape(-1).tolist() == query


@given(users_with_row_units(), st.integers(1, 5), st.integers(0, 99))
@settings(deadline=None, max_examples=200)
def test_row_units_are_on_one_side(people: list[Rows], k: int, seed: int) -> None:
    able = [user for user, rows in enumerate(people) if rows.ties.max_support[0] >= k]
    if not able:
        with refused(PopulationError, f"k = {k}", "rows that must stay together", "smaller k"):
            draw_trials(population_of(people), k, seed)
        return
    trials, again = (draw_trials(population_of(people), k, seed, draws=3) for _ in range(2))
    assert [trial.user for trial in trials.trials] == [user for user in able for _ in range(3)]
    for trial, same in zip(trials.trials, again.trials, strict=True):
        support, query = row_positions(trial.support.y), row_positions(trial.query.y)
        assert (len(support), len(query) > 0) == (k, True)
        assert leaks(people[trial.user], support, query) == []
        assert (row_positions(same.support.y), row_positions(same.query.y)) == (support, query)


def test_users_with_too_few_rows_are_left_out() -> None:
    for k, users in ((1, [0, 1, 2, 3]), (2, [1, 2, 3]), (3, [2, 3]), (7, [3]), (11, [3])):
        trials = draw_trials(numbered(), k, seed=0)
        assert [trial.user for trial in trials.trials] == [user for user in users for _ in range(DRAWS)]
        scores = user_scores(trials, stacked_inputs(trials), METRICS["mse"])
        assert len(scores) == len(users)


def test_too_large_a_k_is_an_error_that_names_the_largest_number_of_rows() -> None:
    with refused(PopulationError, "k = 12", "the most is 12", "smaller k"):
        draw_trials(numbered(), 12, seed=0)
    with refused(PopulationError, "the most is 0"):
        draw_trials(numbered().with_rows(99), 1, seed=0)


@pytest.mark.parametrize("k", [0, -1])
def test_a_support_has_at_least_one_row(k: int) -> None:
    with refused(DataError, f"k is {k}", "at least one row"):
        draw_trials(numbered(), k, seed=0)


def test_every_method_gets_the_same_draws() -> None:
    first, again, other = (draw_trials(numbered(), 3, seed) for seed in (0, 0, 1))
    assert [row_indices(trial) for trial in first.trials] == [row_indices(trial) for trial in again.trials]
    assert [row_indices(trial) for trial in first.trials] != [row_indices(trial) for trial in other.trials]
    supports = {tuple(row_indices(trial)[0]) for trial in first.trials if trial.user == 3}
    assert len(supports) > 1


def test_a_users_draws_do_not_depend_on_other_users() -> None:
    whole, alone = numbered(), numbered().subset([3])
    theirs = [row_indices(trial) for trial in draw_trials(whole, 3, 0).trials if trial.user == 3]
    assert [row_indices(trial) for trial in draw_trials(alone, 3, 0).trials] == theirs


def test_long_queries_are_cut_except_for_ranking() -> None:
    rows = MAX_QUERY + 50
    assert len(draw_trials(numbered(rows=(rows,)), 5, 0).trials[0].query.x) == MAX_QUERY
    ranking = numbered(Spec.ranking(rows), (rows,))
    assert len(draw_trials(ranking, 5, 0).trials[0].query.x) == rows - 5


def test_inputs_are_padded_queries_or_for_ranking_the_whole_catalogue() -> None:
    trials = draw_trials(numbered(), 3, 0, draws=1)
    assert stacked_supports(trials).x.shape == (2, 3, 1)
    inputs = stacked_inputs(trials)
    assert inputs.shape == (2, 9, 1)
    assert inputs[0, :4, 0].tolist() == row_indices(trials.trials[0])[1]
    assert not inputs[0, 4:].any()
    ranking = draw_trials(numbered(Spec.ranking(30)), 3, 0, draws=2)
    assert stacked_inputs(ranking).tolist() == [list(range(30))] * 4


def test_a_users_score_is_the_mean_over_its_draws_without_padding() -> None:
    """Predictions for padded rows are ignored, even if they are NaN."""
    trials = draw_trials(numbered(), 3, 0, draws=2)
    errors = (1.0, 3.0, 2.0, 6.0)
    outputs: list[Array] = []
    for trial, error in zip(trials.trials, errors, strict=True):
        rows = np.full((9, 1), np.nan)
        rows[: len(trial.query.y)] = trial.query.y + error
        outputs.append(rows)
    assert user_scores(trials, outputs, METRICS["mse"]).tolist() == [(1 + 9) / 2, (4 + 36) / 2]


def test_a_ranking_is_evaluated_without_the_support() -> None:
    population = numbered(Spec.ranking(60))
    trials = draw_trials(population, 3, 0, draws=1)
    # The support's items score highest, then the query's: a perfect ranking without the support.
    outputs = []
    for trial in trials.trials:
        scores = np.zeros(60)
        scores[trial.support.x], scores[trial.query.x] = 2, 1
        outputs.append(scores)
    assert user_scores(trials, outputs, METRICS["recall@10"]).tolist() == [1.0, 1.0]


def test_each_trial_needs_one_output() -> None:
    trials = draw_trials(numbered(), 3, 0, draws=1)
    with pytest.raises(ValueError, match="zip"):
        user_scores(trials, [np.zeros((9, 1))], METRICS["mse"])
