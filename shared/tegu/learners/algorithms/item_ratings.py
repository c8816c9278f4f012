"""Ratings by item id: item effects and features for all people, a level, a spread and a taste for each person.

With the targets standardised, a person's rating of an item is

    offset + (1 + spread) * effect of the item + level + taste . features of the item + noise
    level ~ N(0, deviation^2), spread ~ N(0, 0.3^2), each entry of taste ~ N(0, 1), noise ~ N(0, NOISE)

which is factor analysis with one loading that all items share and one that is their effect. The spread says how far
the person sets good items apart from bad ones: some use the whole scale, others two points of it. The best prediction
from some ratings is then linear in them: ridge regression on the vector [deviation, 0.3 effect, features]. The device
computes it in closed form, with a ridge each for level, spread and taste.

Training is variational (Lim and Teh 2007, "Variational Bayesian Approach to Movie Rating Prediction"). Features are not
points but normal distributions with a mean and a deviation for each entry, so that training counts how little it knows
of an item with few ratings. The server follows the gradient of the variational bound on the likelihood of each person's
ratings. It needs no gradient through the device's regression: the bound is an expectation under the person's posterior,
at which its own gradient vanishes. Effects are points with a normal prior. They follow the bound as means alone, not as
loadings of the spread, which makes worse means of them (decision 079). What is shared by all people, the prior of
effects and the divergence of features from theirs, counts once among them. The device uses the means of the features.

Standardised units make the settings of this file, which are shares of the variance of ratings, right for any scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor

from tegu.core.calibration.guard import LOO_IMPROVEMENT, SHRINKAGE, Guard
from tegu.core.data.batch import Array
from tegu.core.data.scaling import Scaling
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.core.scalars import real_number, whole_number
from tegu.learners.algorithms.shrinkage import shrinkage
from tegu.learners.inner_loop.gradient_steps import concatenate
from tegu.learners.inner_loop.query_gradient import summed_update_of, update_of
from tegu.learners.learner import (
    CalibrationOptions,
    Execution,
    Learner,
    RecommendedTraining,
    TorchBatch,
    TorchKnobs,
    TorchTree,
)
from tegu.learners.operators.embeddings import from_table
from tegu.learners.solvers.linear_ridge import LinearFit, fit_linear

__all__ = ["PAPER", "item_ratings"]

PAPER = "Lim and Teh 2007, Variational Bayesian Approach to Movie Rating Prediction"
NOISE = 0.6  # variances, as shares of the variance of all ratings
_EFFECT_VARIANCE, _TASTE_VARIANCE = 0.3, 0.3
_KNOWN_EFFECT_VARIANCE, _KNOWN_TASTE_VARIANCE = 0.1, 0.2
_DEVIATION = 0.45  # before training
_SPREAD_DEVIATION = 0.3  # fixed: a trained one fits the training people's ratings, and is three times as large
_LEVEL, _SPREAD = 0, 1  # their places among a person's numbers, before the taste
_FIRST_FEATURES, _FIRST_DEVIATION = 0.3, 0.5  # of features and their deviations, in standard deviations of the prior
_KNOBS = {
    "level_ridge": 1.0,
    "spread_ridge": 1.0,
    "taste_ridge": 1.0,
    **asdict(Guard(weight=1.0, guard=0.0, floor=0.0, intercept=0.0, slope=0.0, residual_sd=1.0)),
}
_LEVEL_RIDGES, _TASTE_RIDGES = (2.0, 1.0, 0.5), (2.0, 1.0, 0.6, 0.35, 0.2)
_SPREAD_RIDGES = (30.0, 1.0)  # 30 leaves hardly any spread: where people use the scale alike, learning it costs
_TRAINING = RecommendedTraining("Adam", 0.02, decay=True, rounds=600)
_COHORT = 100  # but at most half of the training people, so that folds can fill it
_KNOWN = "known"
_POINTS = ("effects", "effects_of_known", "features_of_known")  # with a prior, and no distribution of their own


def item_ratings(
    spec: Spec, *, level: float, scale: float, factors: int = 32, users: int = 500, known: Array | None = None
) -> Learner:
    """A learner for one number per item id, such as ratings, minutes or prices.

    The state is the person's `level` and `spread` (scalars) and `taste` `[factors]`, in standardised units, with the
    scalars `loo_improvement` and `shrinkage`, as in residual correction.

    Args:
        spec: of a regression of one target on one item id; see `Spec.regression(items=)`.
        level: mean of the training people's targets.
        scale: standard deviation of the training people's targets, above 0.
        factors: length of an item's feature vector.
        users: number of training people, among whom priors count once. More people mean weaker priors.
        known: float32 `[items, attributes]`, known attributes of the items, such as genres. Effects and features then
            are those of the attributes plus the item's own (Agarwal and Chen 2009). None if there are none.

    Raises:
        DataError: the spec is for another problem, or a number is out of range.
    """
    _check_spec(spec)
    level, scale = real_number("level", level), real_number("scale", scale)
    factors, users = whole_number("factors", factors, 1), whole_number("users", users, 1)
    if not scale > 0:
        raise DataError(f"scale is {scale}: expected a standard deviation above 0, in the unit of the targets")
    known = None if known is None else _checked_known(known, spec.items)
    fixed = () if known is None else (_KNOWN,)

    def fitted(
        meta: TorchTree, rows: TorchBatch, features: Tensor, ridges: TorchKnobs, variances: Tensor | None = None
    ) -> tuple[Tensor, LinearFit]:
        residuals = (rows.y.squeeze(-1) - level) / scale - _expected(meta, rows.x)
        level_only, spread_only = _at(features, _LEVEL), _at(features, _SPREAD)
        of_taste = (1 - level_only - spread_only) * ridges["taste_ridge"]
        penalties = NOISE * (level_only * ridges["level_ridge"] + spread_only * ridges["spread_ridge"] + of_taste)
        if variances is not None:
            penalties = penalties + rows.mask @ variances
        return residuals, fit_linear(features, residuals, rows.mask, penalties)

    def adapt(meta: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        del noise
        residuals, found = fitted(meta, support, _features(meta, support.x), knobs)
        reduction = residuals.square() * support.mask - found.loo_residuals.square()
        improvement = scale**2 * reduction.sum() / support.mask.sum().clamp(min=1)
        own = Guard[Any].of(knobs)
        kept = shrinkage(own, improvement)
        weights = own.weight * kept * found.weights
        person = {"level": weights[_LEVEL], "spread": weights[_SPREAD], "taste": weights[_SPREAD + 1 :]}
        return {**person, SHRINKAGE: kept, LOO_IMPROVEMENT: improvement}

    def predict(meta: TorchTree, state: TorchTree, x: Tensor) -> Tensor:
        features = _features(meta, x)
        own = features[:, _LEVEL] * state["level"] + features[:, _SPREAD] * state["spread"]
        own = own + features[:, _SPREAD + 1 :] @ state["taste"]
        return (level + scale * (_expected(meta, x) + own)).unsqueeze(-1)

    def objective(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> tuple[Tensor, TorchTree]:
        del noise
        rows = concatenate(support, query)
        features, variances = _features(meta, rows.x), _variances(meta, rows.x)
        held = {name: value.detach() for name, value in meta.items()}
        _, posterior = fitted(held, rows, features.detach(), _KNOBS, variances.detach())
        mean, covariance = posterior.weights.detach(), NOISE * posterior.inverse.detach()
        target = (rows.y.squeeze(-1) - level) / scale
        squares = (target - _expected(meta, rows.x) - features @ mean).square()
        of_person = ((features @ covariance) * features).sum(-1)
        of_items = variances @ (mean.square() + covariance.diagonal())
        likelihood = ((squares + of_person + of_items) * rows.mask).sum() / (2 * NOISE)
        return likelihood + _shared(meta) / users, {}

    def row_losses(meta: TorchTree, batch: TorchBatch) -> Tensor:
        return (batch.y.squeeze(-1) - level - scale * _expected(meta, batch.x)).square()

    return Learner(
        name="item_ratings",
        paper=PAPER,
        spec=spec,
        adapted_parameters=(),
        knobs=_KNOBS,
        unadapted={**_KNOBS, "weight": 0.0},
        init=lambda seed: _initial(spec.items, factors, known, seed),
        adapt=adapt,
        predict=predict,
        update=update_of(objective, fixed),
        calibration=CalibrationOptions(candidates=_candidates(), guarded=True, row_losses=row_losses),
        execution=Execution(
            summed_update=summed_update_of(objective, fixed),
            order_invariant=True,
            merges_query=True,
            example_scaling=(None, Scaling(np.asarray([level], np.float32), np.asarray([scale], np.float32))),
        ),
        fixed_parameters=fixed,
        recommended=_TRAINING._replace(cohort=min(_COHORT, max(1, users // 2))),
    )


def _expected(meta: TorchTree, x: Tensor) -> Tensor:
    """`[rows]`, standardised ratings of somebody about whom nothing is known."""
    found = meta["offset"] + math.sqrt(_EFFECT_VARIANCE) * from_table(x, meta["effects"])
    if _KNOWN not in meta:
        return found
    return found + from_table(x, meta[_KNOWN]) @ (math.sqrt(_KNOWN_EFFECT_VARIANCE) * meta["effects_of_known"])


def _features(meta: TorchTree, x: Tensor) -> Tensor:
    """`[rows, 2 + factors]`: what a level, a spread and a taste of prior variance 1 are multiplied by."""
    own = from_table(x, meta["features"]) * math.sqrt(_TASTE_VARIANCE / meta["features"].shape[1])
    if _KNOWN in meta:
        of_known = meta["features_of_known"] * math.sqrt(_KNOWN_TASTE_VARIANCE / meta["features"].shape[1])
        own = own + from_table(x, meta[_KNOWN]) @ of_known
    padded = F.pad(own, (2, 0))  # torch.cat of a batched and a shared tensor fixes the number of rows in a graph
    effect = (_expected(meta, x) - meta["offset"]).detach().unsqueeze(-1)
    return padded + meta["deviation"] * _at(padded, _LEVEL) + _SPREAD_DEVIATION * effect * _at(padded, _SPREAD)


def _variances(meta: TorchTree, x: Tensor) -> Tensor:
    """`[rows, 2 + factors]`: of the features' distributions, 0 for level and spread."""
    entry = _TASTE_VARIANCE / meta["features"].shape[1]
    return F.pad(entry * (2 * from_table(x, meta["log_deviations"])).exp(), (2, 0))


def _at(features: Tensor, place: int) -> Tensor:
    """`[features]`: 1 at this place and 0 elsewhere."""
    return (torch.arange(features.shape[-1], device=features.device) == place).to(features.dtype)


def _shared(meta: TorchTree) -> Tensor:
    """The divergence of features from their prior, and minus the logarithm of the prior density of what are points.

    Up to a constant. Entries are stored in standard deviations of the prior.
    """
    points = [meta[name].square().sum() for name in _POINTS if name in meta]
    logarithms = meta["log_deviations"]
    divergence = meta["features"].square() + (2 * logarithms).exp() - 2 * logarithms
    return torch.stack([*points, divergence.sum()]).sum() / 2


def _initial(items: int, factors: int, known: Array | None, seed: int) -> Tree:
    rng = keyed_rng("item_ratings", seed)

    def features(rows: int) -> Array:
        drawn: Array = (_FIRST_FEATURES * rng.standard_normal((rows, factors))).astype(np.float32)
        return drawn

    meta = {
        "offset": np.zeros(1, np.float32),
        "deviation": np.full(1, _DEVIATION, np.float32),
        "effects": np.zeros(items, np.float32),
        "features": features(items),
        "log_deviations": np.full((items, factors), math.log(_FIRST_DEVIATION), np.float32),
    }
    if known is None:
        return meta
    attributes = known.shape[1]
    of_known = {"effects_of_known": np.zeros(attributes, np.float32), "features_of_known": features(attributes)}
    return {**meta, **of_known, _KNOWN: known}


def _candidates() -> list[Mapping[str, float]]:
    """Stronger ridges first; they stay closer to the initialisation."""
    return [
        {**_KNOBS, "level_ridge": level, "spread_ridge": spread, "taste_ridge": taste}
        for level, spread, taste in product(_LEVEL_RIDGES, _SPREAD_RIDGES, _TASTE_RIDGES)
    ]


def _check_spec(spec: Spec) -> None:
    if spec.kind != "regression" or not spec.items or spec.outputs != 1:
        raise DataError(
            f"the spec is a {spec.kind} with {spec.outputs} outputs and {spec.items} items: expected one number per "
            "item id, Spec.regression((), items=...); use residual_correction for other inputs"
        )


def _checked_known(known: Array, items: int) -> Array:
    found = np.asarray(known)
    if found.ndim != 2 or len(found) != items or found.dtype.kind not in "fiub" or not np.isfinite(found).all():
        raise DataError(
            f"known has shape {found.shape} and dtype {found.dtype}: expected finite numbers [{items}, attributes]"
        )
    return found.astype(np.float32)
