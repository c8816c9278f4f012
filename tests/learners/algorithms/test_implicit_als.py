"""Implicit ALS against numpy: the person's vector, the partial gradient, popularity, and what a weight means."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.learners.toys import NO_NOISE, meta_of

from tegu.compile import compile_cohort, compile_learner, make_bundle
from tegu.compile.examples import example_batch
from tegu.core.bundle.file import Bundle, write_bundle
from tegu.core.bundle.manifest import ScheduleEntry
from tegu.core.data.batch import Batch
from tegu.core.data.confidence import confidence
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.learners import implicit_als

ITEMS, FACTORS, UNSEEN, RIDGE = 12, 5, 0.2, 0.3
SPEC = Spec.ranking(ITEMS)
LEARNER = implicit_als(SPEC, factors=FACTORS, unseen=UNSEEN, ridge=RIDGE)


def parameters(seed: int = 0):
    drawn = np.random.default_rng(seed)
    meta = {
        "items": torch.from_numpy(drawn.normal(size=(ITEMS, FACTORS))),
        "popularity": torch.from_numpy(drawn.uniform(size=ITEMS)),
    }
    return meta, meta["items"].numpy(), meta["popularity"].numpy()


def clicks(items, weights, mask=None):
    mask = [1.0] * len(items) if mask is None else mask
    x = torch.tensor(items, dtype=torch.int64)
    return Batch(x, torch.tensor(weights, dtype=torch.float64), torch.tensor(mask, dtype=torch.float64))


def dense(batch):
    """Preference and weight of every item, as Hu et al. write them."""
    preference, weight = np.zeros(ITEMS), np.full(ITEMS, UNSEEN)
    for item, given in zip(batch.x.tolist(), confidence(batch.y.numpy()).tolist(), strict=True):
        preference[item], weight[item] = 1, given
    return preference, weight


def loss(items, popularity, user, batch):
    """What the server minimises, for one person whose vector is held fixed."""
    preference, weight = dense(batch)
    lengths = np.square(items).sum(1) + np.square(user).sum()
    squares = weight @ (np.square(preference - items @ user) + RIDGE * lengths)
    return (squares + np.square(popularity - preference).sum()) / 2


def best_user(items, batch, ridge=RIDGE):
    preference, weight = dense(batch)
    matrix = (items.T * weight) @ items + ridge * weight.sum() * np.eye(FACTORS)
    return np.linalg.solve(matrix, items.T @ (weight * preference))


SUPPORT = clicks([3, 7, 1], [1.0, 20.0, 1.0])


@pytest.mark.parametrize(("taste", "ridge"), [(1.0, RIDGE), (7.0, 0.9)])
def test_the_scores_are_those_of_the_closed_form(taste: float, ridge: float) -> None:
    meta, items, popularity = parameters()
    state = LEARNER.adapt(meta, SUPPORT, {**LEARNER.knobs, "taste": taste, "ridge": ridge}, NO_NOISE)
    expected = popularity + taste * items @ best_user(items, SUPPORT, ridge)
    found = LEARNER.predict(meta, state, torch.arange(ITEMS)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_update_is_the_partial_gradient_of_the_loss() -> None:
    meta, items, popularity = parameters()
    query = clicks([0, 5], [1.0, 3.0])
    rows = clicks([3, 7, 1, 0, 5], [1.0, 20.0, 1.0, 1.0, 3.0])
    user, small = best_user(items, rows), 1e-5
    update = {name: value.numpy() for name, value in LEARNER.update(meta, SUPPORT, query, NO_NOISE).items()}
    preference = dense(rows)[0]
    np.testing.assert_allclose(update["popularity"], popularity - preference, atol=1e-7)
    for item, factor in [(3, 0), (7, 2), (2, 4), (11, 1)]:
        moved = np.zeros_like(items)
        moved[item, factor] = small
        slope = loss(items + moved, popularity, user, rows) - loss(items - moved, popularity, user, rows)
        # Six steps in training solve for five factors up to rounding.
        assert update["items"][item, factor] == pytest.approx(slope / (2 * small), rel=1e-4, abs=1e-6)


def test_training_solves_as_a_device_does_in_six_steps() -> None:
    learner = implicit_als(Spec.ranking(60), factors=40, unseen=UNSEEN, ridge=RIDGE)
    drawn = np.random.default_rng(1)
    meta = {"items": torch.from_numpy(drawn.normal(size=(60, 40))), "popularity": torch.zeros(60).double()}
    rows, nothing = clicks([3, 7, 1, 50], [1.0, 20.0, 1.0, 2.0]), clicks([], [])
    user = learner.adapt(meta, rows, {**learner.knobs, "taste": 1.0, "steps": 6.0}, NO_NOISE)["user"]
    found = learner.update(meta, rows, nothing, NO_NOISE)["items"]
    # An item without a click: unseen * (q . u) u + unseen * ridge * q.
    item = meta["items"][2]
    torch.testing.assert_close(found[2], UNSEEN * ((item @ user) * user + RIDGE * item))


def test_the_summed_update_is_the_sum() -> None:
    meta = parameters()[0]
    people = [(clicks([3, 7], [1.0, 2.0]), clicks([4], [1.0])), (clicks([0, 2], [1.0, 1.0], [1.0, 0.0]), SUPPORT)]
    people[0] = (people[0][0], clicks([4, 0, 0], [1.0, 1.0, 1.0], [1.0, 0.0, 0.0]))
    stacked = [Batch(*(torch.stack(parts) for parts in zip(*each, strict=True))) for each in zip(*people, strict=True)]
    assert LEARNER.execution.summed_update is not None
    found = LEARNER.execution.summed_update.compute(meta, *stacked, NO_NOISE)
    each = [LEARNER.update(meta, *person, NO_NOISE) for person in people]
    for name, value in found.items():
        torch.testing.assert_close(value, each[0][name] + each[1][name])


@pytest.mark.parametrize("knobs", [LEARNER.unadapted, {**LEARNER.knobs, "taste": 7.0}])
def test_without_interactions_popularity_alone_ranks(knobs) -> None:
    meta, _, popularity = parameters()
    support = SUPPORT if knobs is LEARNER.unadapted else clicks([2], [1.0], [0.0])
    state = LEARNER.adapt(meta, support, knobs, NO_NOISE)
    assert LEARNER.predict(meta, state, torch.arange(ITEMS)).tolist() == popularity.tolist()


def test_a_padded_row_and_a_weight_of_zero_change_nothing() -> None:
    meta = parameters()[0]
    expected = LEARNER.adapt(meta, SUPPORT, LEARNER.knobs, NO_NOISE)["user"]
    for batch in (
        clicks([3, 7, 1, 6], [1.0, 20.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0]),
        clicks([3, 7, 1, 6], [1.0, 20.0, 1.0, 0.0]),
    ):
        torch.testing.assert_close(LEARNER.adapt(meta, batch, LEARNER.knobs, NO_NOISE)["user"], expected)


def central_scores(people, factors: int, unseen: float, ridge: float):
    """Scores by ALS in one place, where the ridge of either side grows with the weight of its feedback."""
    clicked = np.stack([dense(each)[0] for each in people])
    weight = np.where(clicked > 0, 1, unseen)
    items = 0.1 * np.random.default_rng(1).normal(size=(ITEMS, factors))

    def solved(vectors, preference, weights):
        right = (vectors.T * weights) @ preference
        return np.linalg.solve((vectors.T * weights) @ vectors + ridge * weights.sum() * np.eye(factors), right)

    for _ in range(500):
        users = np.stack([solved(items, *each) for each in zip(clicked, weight, strict=True)])
        items = np.stack([solved(users, *each) for each in zip(clicked.T, weight.T, strict=True)])
    return users @ items.T


def test_training_arrives_where_central_als_does() -> None:
    learner = implicit_als(SPEC, factors=4, ridge=0.05)
    meta = {name: value.double() for name, value in meta_of(learner).items()}
    people = [clicks(items, [1.0] * len(items)) for items in ([0, 1, 2], [0, 1], [7, 8], [8, 9, 7], [1, 2])]
    rows = clicks([[0, 1, 2], [0, 1, 0], [7, 8, 0], [8, 9, 7], [1, 2, 0]], [[1.0] * 3] * 5)
    rows = rows._replace(mask=torch.tensor([[1.0] * 3, [1.0, 1, 0], [1.0, 1, 0], [1.0] * 3, [1.0, 1, 0]]).double())
    none = Batch(*(part[:, :0] for part in rows))
    assert learner.execution.summed_update is not None
    for _ in range(400):
        total = learner.execution.summed_update.compute(meta, rows, none, NO_NOISE)
        meta = {name: value - 1.2 * total[name] / len(people) for name, value in meta.items()}
    states = [learner.adapt(meta, each, {**learner.knobs, "taste": 1.0}, NO_NOISE)["user"] for each in people]
    found, expected = (torch.stack(states) @ meta["items"].T).numpy(), central_scores(people, 4, 0.1, 0.05)
    assert expected.max() > 0.6
    np.testing.assert_allclose(found, expected, atol=0.01)
    shares = [np.mean([item in each.x for each in people]) for item in range(ITEMS)]
    np.testing.assert_allclose(meta["popularity"].numpy(), shares, atol=1e-6)


def test_the_catalogue_limits_the_factors() -> None:
    assert implicit_als(Spec.ranking(6)).init(0)["items"].shape == (6, 6)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """With parameters of any size; its graphs were checked against torch as they were compiled."""
    learner = implicit_als(SPEC, factors=3)
    drawn = np.random.default_rng(4)
    meta = {name: drawn.uniform(size=array.shape).astype(np.float32) for name, array in learner.init(0).items()}
    knobs = {**learner.knobs, "taste": 7.0}
    entry = ScheduleEntry(k=1, knobs=knobs, gain=0.1, gain_sd=0.1)
    made = make_bundle(learner, meta, compile_learner(learner))
    return Bundle(replace(made.manifest, schedule=(entry,)), made.meta, made.graphs)


def test_a_device_recommends_by_the_closed_form_and_needs_no_torch(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "init.tegu"
    write_bundle(path, bundle)
    script = """
import json, sys
from tegu.client import Personalizer
with Personalizer.open(sys.argv[1]) as person:
    before = person.recommend(12)
    person.observe([3, 7])
    report = person.adapt()
    after = person.recommend(12)
    print(json.dumps([[each.tolist() for each in (*before, *after)], report.kept, "torch" in sys.modules]))
"""
    printed = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True).stdout
    (before, popular, after, scores), kept, with_torch = json.loads(printed)
    assert kept
    assert not with_torch
    popularity, items = (bundle.meta[name].astype(float) for name in ("popularity", "items"))
    assert before == np.argsort(-popularity).tolist()
    np.testing.assert_allclose(popular, popularity[before], atol=1e-6)
    seen = np.isin(np.arange(ITEMS), [3, 7])
    weight = np.where(seen, 1, 0.1)
    matrix = (items.T * weight) @ items + 0.027 * weight.sum() * np.eye(3)
    expected = popularity + 7 * items @ np.linalg.solve(matrix, items[seen].sum(0))
    assert after == [item for item in np.argsort(-expected).tolist() if item not in (3, 7)]
    np.testing.assert_allclose(scores, expected[after], atol=1e-4)


def test_the_gentler_candidates_come_first(bundle: Bundle) -> None:
    tastes = [each["taste"] for each in bundle.manifest.candidates]
    assert tastes == sorted(tastes)


def test_example_rows_have_weights_that_feedback_can_have() -> None:
    """With negative ones the system is indefinite, and its solution drowns in rounding."""
    weights = example_batch(LEARNER, 500, np.random.default_rng(0)).y
    assert weights.min() > 0
    assert 200 < (weights > 1).sum() < 300


@pytest.mark.slow
def test_it_compiles_for_many_users() -> None:
    """The graphs are checked against torch as they are compiled, with a ridge that hardly helps."""
    assert compile_cohort(implicit_als(Spec.ranking(60), factors=20, ridge=0.01)).summed_update is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unseen": 1.5}, "unseen is 1.5: expected a weight from 0 to 1"),
        ({"ridge": 0.0}, "ridge is 0.0: expected a weight above 0"),
        ({"factors": 0}, "factors is 0: expected at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(options, message: str) -> None:
    with pytest.raises(DataError, match=message):
        implicit_als(SPEC, **options)


def test_other_problems_are_refused() -> None:
    with pytest.raises(DataError, match=r"the spec is a regression: expected a ranking, Spec.ranking\(items\)"):
        implicit_als(Spec.regression((), items=4))
