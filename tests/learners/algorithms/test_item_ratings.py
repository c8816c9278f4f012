"""Ratings by item id: adaptation is the conditional mean of a normal distribution, training follows a bound on it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from tests.learners.toys import NO_NOISE, assert_trees_close
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from tegu.core.data.batch import Array, Batch
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.learners.algorithms.item_ratings import NOISE, item_ratings
from tegu.learners.learner import Learner, TorchTree

ITEMS, FACTORS, USERS, LEVEL, SCALE = 9, 3, 40, 3.0, 2.5
SPEC = Spec.regression((), items=ITEMS)
KNOWN = np.random.default_rng(5).normal(size=(ITEMS, 2)).astype(np.float32)


def built(**options: Any) -> Learner:
    return item_ratings(SPEC, **{"level": LEVEL, "scale": SCALE, "factors": FACTORS, "users": USERS} | options)


def meta_of(learner: Learner, dtype: torch.dtype = torch.float32) -> TorchTree:
    """Parameters as after some training: every one differs from its first value."""
    generator = torch.Generator().manual_seed(3)
    first = {name: torch.from_numpy(value) for name, value in learner.init(0).items()}
    return {
        name: (value if name == "known" else value + 0.5 * torch.randn(value.shape, generator=generator)).to(dtype)
        for name, value in first.items()
    }


def rated(count: int, padding: int = 0, seed: int = 0, dtype: torch.dtype = torch.float32) -> Batch[Tensor]:
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.permutation(ITEMS)[np.arange(count + padding) % ITEMS])
    mask = torch.ones(count + padding, dtype=dtype)
    mask[count:] = 0
    return Batch(x, torch.from_numpy(rng.normal(LEVEL, SCALE, (count + padding, 1))).to(dtype), mask)


def means_and_covariance(
    meta: TorchTree,
    items: Tensor,
    level_ridge: float = 1.0,
    spread_ridge: float = 1.0,
    taste_ridge: float | Tensor = 1.0,
    known: bool = False,
) -> tuple[Tensor, Tensor]:
    """Of standardised ratings without their noise, in numbers written out by hand.

    The covariance has no gradient in the effects, which follow the likelihood as means alone.
    """
    means = meta["offset"] + math.sqrt(0.3) * meta["effects"][items]
    features = math.sqrt(0.3 / FACTORS) * meta["features"][items]
    if known:
        attributes = torch.from_numpy(KNOWN).to(features)[items]
        means = means + math.sqrt(0.1) * (attributes @ meta["effects_of_known"])
        features = features + attributes @ meta["features_of_known"] * math.sqrt(0.2 / FACTORS)
    effects = 0.3 * (means - meta["offset"]).detach()
    of_scale = meta["deviation"] ** 2 / level_ridge + torch.outer(effects, effects) / spread_ridge
    return means, of_scale + (features / taste_ridge) @ features.T


def conditional(meta: TorchTree, support: Batch[Tensor], x: Tensor, **options: Any) -> Array:
    """The mean of ratings of `x`, given those of the support."""
    items = torch.cat([support.x, x])
    means, covariance = (part.double().numpy() for part in means_and_covariance(meta, items, **options))
    k = len(support.x)
    residuals = (support.y[:, 0].double().numpy() - LEVEL) / SCALE - means[:k]
    solved = np.linalg.solve(covariance[:k, :k] + 0.6 * np.eye(k), residuals)
    return np.asarray(LEVEL + SCALE * (means[k:] + covariance[k:, :k] @ solved))


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(("count", "padding"), [(1, 0), (5, 0), (5, 3), (9, 0)])
def test_predictions_are_conditional_means(count: int, padding: int, known: bool) -> None:
    learner = built(known=KNOWN if known else None)
    meta, support, x = meta_of(learner), rated(count, padding), torch.arange(ITEMS)
    ridges = {"level_ridge": 0.7, "spread_ridge": 0.2, "taste_ridge": 1.6}
    state = learner.adapt(meta, support, {**learner.knobs, **ridges}, NO_NOISE)
    real = Batch(support.x[:count], support.y[:count], support.mask[:count])
    expected = conditional(meta, real, x, known=known, **ridges)
    found = learner.predict(meta, state, x)
    assert found.shape == (ITEMS, 1)
    np.testing.assert_allclose(found[:, 0].numpy(), expected, atol=1e-4)
    start = learner.predict(meta, learner.adapt(meta, support, learner.unadapted, NO_NOISE), x)[:, 0]
    np.testing.assert_allclose(start, LEVEL + SCALE * means_and_covariance(meta, x, known=known)[0], atol=1e-5)
    assert np.abs(start.numpy() - expected).max() > 0.05


@pytest.mark.parametrize("known", [False, True])
def test_the_update_is_the_gradient_of_the_variational_bound(known: bool) -> None:
    """The bound at the person's best posterior, by densities of torch, which know nothing of that posterior.

    The expectation over features adds their variances to the precision of a taste. What is left is a normal density of
    the ratings, and the ratio of the two normalising constants of the taste. Divergences are torch's own.
    """
    learner = built(known=KNOWN if known else None)
    meta = meta_of(learner, torch.float64)
    support, query = rated(4, 0, 1, torch.float64), rated(3, 0, 2, torch.float64)
    trained = {name: value.requires_grad_() for name, value in meta.items() if name != "known"}
    items, y = torch.cat([support.x, query.x]), torch.cat([support.y, query.y])[:, 0]
    deviations = meta["log_deviations"].exp()
    precision = 1 + 0.3 / FACTORS * deviations[items].square().sum(0) / 0.6
    means, covariance = means_and_covariance(meta, items, taste_ridge=precision, known=known)
    density = MultivariateNormal(means, covariance + 0.6 * torch.eye(7)).log_prob((y - LEVEL) / SCALE)
    divergence = kl_divergence(Normal(meta["features"], deviations), Normal(0.0, 1.0)).sum()
    points = [meta[name] for name in trained if name in ("effects", "effects_of_known", "features_of_known")]
    shared = divergence - sum(Normal(0.0, 1.0).log_prob(each).sum() for each in points)
    bound = density - precision.log().sum() / 2 - shared / USERS
    expected = torch.autograd.grad(-bound, list(trained.values()))
    plain = {name: value.detach() for name, value in meta.items()}
    assert_trees_close(
        learner.update(plain, support, query, NO_NOISE), dict(zip(trained, expected, strict=True)), rtol=1e-4, atol=1e-5
    )


def test_a_cohorts_update_is_the_sum_of_its_users() -> None:
    learner = built()
    meta, users = meta_of(learner), [(rated(4, 1, seed), rated(3, 0, seed + 9)) for seed in range(3)]
    each = [learner.update(meta, *pair, NO_NOISE) for pair in users]
    supports, queries = (Batch(*map(torch.stack, zip(*batches, strict=True))) for batches in zip(*users, strict=True))
    assert learner.execution.summed_update is not None
    total = learner.execution.summed_update.compute(meta, supports, queries, NO_NOISE)
    assert_trees_close(total, {name: sum(one[name] for one in each) for name in meta}, rtol=1e-4, atol=1e-5)


def test_any_scale_of_ratings_gives_the_same_result() -> None:
    """Ratings in another unit, with the mean and the deviation in that unit."""
    learner, other = built(), built(level=100 + 40 * LEVEL, scale=40 * SCALE)
    meta, support = meta_of(learner), rated(6)
    moved = support._replace(y=100 + 40 * support.y)
    states = [each.adapt(meta, rows, each.knobs, NO_NOISE) for each, rows in ((learner, support), (other, moved))]
    for name in ("level", "spread", "taste", "shrinkage"):
        torch.testing.assert_close(states[0][name], states[1][name], rtol=1e-3, atol=1e-4)
    assert float(states[1]["loo_improvement"]) == pytest.approx(1600 * float(states[0]["loo_improvement"]), rel=1e-3)
    updates = [each.update(meta, rows, rows, NO_NOISE) for each, rows in ((learner, support), (other, moved))]
    assert_trees_close(*updates, rtol=1e-3, atol=1e-4)


def test_the_improvement_is_that_of_left_out_rows_in_the_unit_of_the_targets() -> None:
    learner = built()
    meta, support = meta_of(learner), rated(5)
    means = LEVEL + SCALE * means_and_covariance(meta, support.x)[0].numpy()
    before, after = 0.0, 0.0
    for row in range(5):
        others = Batch(*(part[torch.arange(5) != row] for part in support))
        target = float(support.y[row, 0])
        before += (target - means[row]) ** 2
        after += (target - conditional(meta, others, support.x[row : row + 1])[0]) ** 2
    found = learner.adapt(meta, support, learner.knobs, NO_NOISE)
    assert float(found["loo_improvement"]) == pytest.approx((before - after) / 5, abs=1e-3)


def test_the_guard_scales_the_state() -> None:
    learner = built()
    meta, support = meta_of(learner), rated(5)
    whole, half = (learner.adapt(meta, support, {**learner.knobs, "weight": part}, NO_NOISE) for part in (1.0, 0.5))
    for name in ("level", "spread", "taste"):
        torch.testing.assert_close(half[name], whole[name] / 2)


def test_calibration_may_leave_the_spread_out() -> None:
    """With the large ridge among the candidates, whoever sets items far apart is predicted as others are."""
    learner, items = built(), torch.arange(ITEMS)
    meta = {name: torch.zeros_like(value) for name, value in meta_of(learner).items()}
    meta["effects"] = torch.linspace(-2, 2, ITEMS)
    effect = SCALE * math.sqrt(0.3) * meta["effects"]
    support = Batch(items, (LEVEL + 1.5 * effect).unsqueeze(1), torch.ones(ITEMS))
    ridges = sorted({each["spread_ridge"] for each in learner.calibration.candidates})
    states = [learner.adapt(meta, support, {**learner.knobs, "spread_ridge": each}, NO_NOISE) for each in ridges]
    slopes = [
        float((learner.predict(meta, state, items)[:, 0] - LEVEL) @ effect / (effect @ effect)) for state in states
    ]
    precision = 0.3**2 * float((0.3 * meta["effects"].square()).sum()) / NOISE  # of the spread, in its deviations
    assert slopes == pytest.approx([1 + 0.5 * precision / (precision + ridge) for ridge in ridges], rel=1e-3)
    assert slopes[0] > 1.1
    assert slopes[-1] < 1.02


def test_row_losses_are_squared_errors_of_the_initialisation() -> None:
    learner = built()
    meta, support = meta_of(learner), rated(5)
    assert learner.calibration.row_losses is not None
    expected = (support.y[:, 0] - LEVEL - SCALE * means_and_covariance(meta, support.x)[0]).square()
    torch.testing.assert_close(learner.calibration.row_losses(meta, support), expected)


def test_known_attributes_are_fixed() -> None:
    learner = built(known=KNOWN)
    assert learner.fixed_parameters == ("known",)
    np.testing.assert_array_equal(learner.init(1)["known"], KNOWN)
    assert "known" not in learner.update(meta_of(learner), rated(3), rated(2), NO_NOISE)


def test_the_cohort_fits_few_people() -> None:
    cohorts = [each.recommended.cohort for each in (built(users=30), built(users=9000)) if each.recommended]
    assert cohorts == [15, 100]
    assert NOISE == 0.6


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (Spec.ranking(4), {}, "the spec is a ranking with 1 outputs and 4 items: expected one number per item id"),
        (Spec.regression((3,)), {}, "the spec is a regression with 1 outputs and 0 items"),
        (Spec.regression((), 2, items=4), {}, "the spec is a regression with 2 outputs and 4 items"),
        (SPEC, {"scale": 0.0}, "scale is 0.0: expected a standard deviation above 0"),
        (SPEC, {"factors": 0}, "factors is 0: expected at least 1"),
        (SPEC, {"known": KNOWN[:4]}, r"known has shape \(4, 2\) and dtype float32: expected finite numbers \[9, attr"),
    ],
)
def test_what_does_not_fit_raises(spec: Spec, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        item_ratings(spec, **{"level": LEVEL, "scale": SCALE} | options)
