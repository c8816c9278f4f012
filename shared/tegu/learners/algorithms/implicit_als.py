"""Implicit feedback by alternating least squares: item vectors for all people, a taste vector for each person.

Hu, Koren, Volinsky 2008, "Collaborative Filtering for Implicit Feedback Datasets". A person with taste u has the loss

    sum over clicked items i of c_i (1 - q_i . u)^2  +  unseen * sum over other items j of (q_j . u)^2
    + ridge * sum over all items of w (|u|^2 + |q|^2)

where c is the confidence in the person's feedback, and w the weight of an item in the first line, c or `unseen`. The
ridge of a vector thus grows with the feedback about it, as in Rendle, Krichene, Zhang, Koren 2022, "Revisiting the
Performance of iALS on Item Recommendation Benchmarks", arXiv:2110.14037, and suits catalogues of any size.

The best u for given item vectors has a closed form. What it needs of the whole catalogue is the Gram matrix
`sum of q q^T`, `[factors, factors]`. The server follows the gradient of the loss at that u with respect to the item
vectors, as in Ammad-ud-din et al. 2019, "Federated Collaborative Filtering", arXiv:1901.09888.

The score of an item is its popularity, the share of people who clicked it, plus `taste` times `q . u`. Without
interactions, u is 0 and popularity alone ranks.

A row with weight m, as its mask says, counts as m clicked and 1 - m not clicked, and so does a confidence m below 1.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tegu.core.data.scaling import Scaling
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.core.scalars import real_number, whole_number
from tegu.learners.inner_loop.gradient_steps import concatenate
from tegu.learners.inner_loop.query_gradient import summed_update_of, update_of
from tegu.learners.learner import (
    CalibrationOptions,
    Execution,
    Iterated,
    Learner,
    RecommendedTraining,
    TorchBatch,
    TorchKnobs,
    TorchTree,
)
from tegu.learners.modules.losses import click_confidence
from tegu.learners.operators.embeddings import from_table
from tegu.learners.solvers.conjugate_gradients import Progress, next_progress, no_progress

__all__ = ["PAPER", "implicit_als"]

PAPER = "Hu, Koren, Volinsky 2008, Collaborative Filtering for Implicit Feedback Datasets"
_STEPS, _TRAINING_STEPS = 12, 6  # of conjugate gradients: errors of 1e-4 and 1e-2 with condition numbers around 10
_FIRST_VECTORS = 0.1  # standard deviation
_TASTES = (0.5, 1.0, 2.5, 7.0, 20.0)
_RIDGE_FACTORS = (4.0, 2.0, 1.0)
_WEIGHTS = Scaling(np.asarray([1.0], np.float32), np.asarray([0.2], np.float32))  # of example rows: never negative
_TRAINING = RecommendedTraining("Adam", 0.03, decay=True, rounds=300, cohort=100)


def implicit_als(spec: Spec, *, factors: int = 64, unseen: float = 0.1, ridge: float = 0.027) -> Learner:
    """A learner for rankings of clicks, plays or purchases.

    The initialisation holds `items` `[items, factors]` and `popularity` `[items]`. The state is `user` `[factors]`, the
    person's vector times the knob `taste`. The device solves for it by conjugate gradients, which `steps` counts.

    Args:
        spec: of a ranking; see `Spec.ranking`.
        factors: length of an item's vector; at most the number of items is used.
        unseen: weight of an item without feedback, where a click has 1; from 0 to 1.
        ridge: weight of the vectors' squared lengths per unit of weight of the feedback, above 0. On a device
            calibration also tries twice and four times as much for the person's vector.

    Raises:
        DataError: the spec is for another problem, or a number is out of range.
    """
    if spec.kind != "ranking":
        raise DataError(
            f"the spec is a {spec.kind}: expected a ranking, Spec.ranking(items); use residual_correction for others"
        )
    factors = min(whole_number("factors", factors, 1), spec.items)
    unseen, ridge = _checked(unseen, ridge)
    identity = torch.eye(factors, dtype=torch.float32)
    knobs = {"steps": float(_STEPS), "taste": 2.5, "ridge": ridge, "unseen": unseen}

    def begin(meta: TorchTree, support: TorchBatch) -> TorchTree:
        vectors, confidence = from_table(support.x, meta["items"]), click_confidence(support.y)
        progress = no_progress((support.mask * confidence) @ vectors)
        return {
            **progress._asdict(),
            "user": torch.zeros_like(progress.solution),
            "gram": meta["items"].T @ meta["items"],
            "vectors": vectors,
            "clicked": support.mask * confidence,
            "seen": support.mask * confidence.clamp(max=1),
        }

    def step(meta: TorchTree, carry: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        del meta, support, noise
        weights = carry["clicked"] - knobs["unseen"] * carry["seen"]
        shrinking = knobs["ridge"] * (weights.sum() + knobs["unseen"] * spec.items)

        def product(user: Tensor) -> Tensor:
            own = (weights * (carry["vectors"] @ user)) @ carry["vectors"]
            return own + knobs["unseen"] * (carry["gram"] @ user) + shrinking * user

        progress = next_progress(Progress(*(carry[name] for name in Progress._fields)), product)
        return {**carry, **progress._asdict(), "user": knobs["taste"] * progress.solution}

    def best_taste(items: Tensor, vectors: Tensor, clicked: Tensor, seen: Tensor) -> Tensor:
        # As the steps on a device, with the matrix written out: unrolled in a graph, its products are fewer operators.
        weights = clicked - unseen * seen
        shrinking = ridge * (weights.sum() + unseen * spec.items)
        of_clicks = vectors.T @ (weights.unsqueeze(-1) * vectors)
        matrix = of_clicks + unseen * (items.T @ items) + shrinking * identity.to(items.dtype)
        progress = no_progress(clicked @ vectors)
        for _ in range(_TRAINING_STEPS):
            progress = next_progress(progress, lambda user: (matrix * user).sum(-1))
        return progress.solution

    adapt = Iterated(begin, step, lambda carry: {"user": carry["user"]})

    def objective(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> tuple[Tensor, TorchTree]:
        del noise
        rows = concatenate(support, query)
        confidence, items = click_confidence(rows.y), meta["items"]
        vectors, seen = from_table(rows.x, items), confidence.clamp(max=1)
        user = best_taste(items.detach(), vectors.detach(), rows.mask * confidence, rows.mask * seen)
        scores, lengths = vectors @ user, ridge * vectors.square().sum(-1)
        clicked = confidence * ((1 - scores).square() + lengths) - unseen * seen * (scores.square() + lengths)
        of_catalogue = unseen * (user @ (items.T @ items) @ user + ridge * items.square().sum())
        popular = from_table(rows.x, meta["popularity"]) * seen * rows.mask
        return ((clicked * rows.mask).sum() + of_catalogue + meta["popularity"].square().sum()) / 2 - popular.sum(), {}

    def row_losses(meta: TorchTree, batch: TorchBatch) -> Tensor:
        return -torch.log_softmax(meta["popularity"], -1)[batch.x] * click_confidence(batch.y)

    return Learner(
        name="implicit_als",
        paper=PAPER,
        spec=spec,
        adapted_parameters=(),
        knobs=knobs,
        unadapted={**knobs, "steps": 0.0},
        init=lambda seed: _initial(spec.items, factors, seed),
        adapt=adapt,
        predict=lambda meta, state, x: from_table(x, meta["popularity"]) + from_table(x, meta["items"]) @ state["user"],
        update=update_of(objective, ()),
        calibration=CalibrationOptions(
            candidates=[
                {**knobs, "taste": taste, "ridge": ridge * factor} for taste in _TASTES for factor in _RIDGE_FACTORS
            ],
            row_losses=row_losses,
        ),
        execution=Execution(
            summed_update=summed_update_of(objective, ()),
            order_invariant=True,
            merges_query=True,
            example_scaling=(None, _WEIGHTS),
        ),
        recommended=_TRAINING,
    )


def _initial(items: int, factors: int, seed: int) -> Tree:
    vectors = _FIRST_VECTORS * keyed_rng("implicit_als", seed).standard_normal((items, factors))
    return {"items": vectors.astype(np.float32), "popularity": np.zeros(items, np.float32)}


def _checked(unseen: float, ridge: float) -> tuple[float, float]:
    unseen, ridge = real_number("unseen", unseen), real_number("ridge", ridge)
    if not 0 <= unseen <= 1:
        raise DataError(f"unseen is {unseen}: expected a weight from 0 to 1, as a click has 1")
    if not ridge > 0:
        raise DataError(f"ridge is {ridge}: expected a weight above 0")
    return unseen, ridge
