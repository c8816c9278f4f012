"""Residual correction: what the initialisation gets wrong about a user, regressed on in closed form.

The initialisation is trained as Reptile's. On the device no parameter moves: kernel ridge regression on the residuals
of the user's own interactions, in the model's own features, corrects the initialisation's answer.

    f(x) = f0(x) + weight * trust * K(x, S) (K(S, S) + ridge I)^-1 (y - f0(S))

f0 is the model's output, or its probabilities where it classifies; the features are the input of its last linear
layer, scaled to length 1; K is the mean, by `mix`, of their cosine and an RBF of it. Whoever starts from what is known
already, and learns only what it gets wrong, is rarely worse off for it. Ridge regression as a base learner: Bertinetto
et al. 2019 (R2-D2), arXiv:1805.08136.

`shrinkage` is decided on the device. Leaving out each interaction in turn costs nothing (its residual is the weight over
the diagonal of the inverse), so the correction's gain on the user's own interactions is known: the evidence. Among
people never trained on, those with the evidence e gained `intercept + slope * e`, give or take `residual_sd`; calibration
found these three. P is then the probability that this user gains, and trust rises from `floor` to 1 with
`guard * (P - 1/2)`; it is 1 where `guard` is 0. A small part of a correction hurts few: the part t makes things worse
only for whom less than t / 2 of the correction is right. With one interaction there is no evidence, and the population
alone decides.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from tegu.core.calibration.guard import LOO_IMPROVEMENT, SHRINKAGE, Guard
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.learners.algorithms.reptile import reptile
from tegu.learners.learner import CalibrationOptions, Iterated, Learner, TorchBatch, TorchKnobs, TorchTree
from tegu.learners.modules.checks import checked_module
from tegu.learners.modules.features import forward_with_features
from tegu.learners.operators.exportable import one_hot
from tegu.learners.solvers.ridge import fit, kernel, normalised

__all__ = ["PAPER", "residual_correction", "shrinkage"]

PAPER = "Bertinetto et al. 2019, Meta-learning with differentiable closed-form solvers, arXiv:1805.08136"
_KNOBS = {
    "steps": 1.0,
    "mix": 0.0,
    "ridge": 0.1,
    **asdict(Guard(weight=0.5, guard=0.0, floor=0.0, intercept=0.0, slope=0.0, residual_sd=1.0)),
}
_WINDOW = 256  # rows: the inverse takes their number to the third, 20 ms for a hundred
_STATE = ("inputs", "weights", "mix", SHRINKAGE, LOO_IMPROVEMENT)
_LEAST = 1e-4  # a corrected probability is no smaller, before all are scaled to add up to 1
_SCALED = tuple((mix, ridge) for mix in (0.0, 1.0) for ridge in (0.03, 0.1, 0.3, 1.0))  # mix and ridge
_UNSCALED = tuple((1.0, ridge) for ridge in (0.1, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0))


def residual_correction(model: nn.Module, spec: Spec, *, normalise_features: bool = True, **training: Any) -> Learner:
    """Reptile's initialisation, adapted by residual correction.

    The state is the user's features and their weights: `inputs` `[rows, width]`, `weights` `[rows, outputs]`, `mix`,
    and what was found of the user: `evidence` (how much smaller the squared residual of an interaction is for the
    others) and `shrinkage`. For classification the outputs are logarithms of probabilities.

    Args:
        model: maps `x` `[rows, *spec.x.shape]` to `[rows, spec.outputs]`. It is not changed.
        spec: what the model takes and gives: classification or regression.
        normalise_features: scale features to length 1. Where they are not, the kernel is their product alone, whatever `mix`: ridge
            regression on the last layer, for features whose size means something, such as those of items.
        training: of `reptile`: loss, fast, steps, lr, prior, minibatches, inner, momentum, learned. Step sizes that are
            learned serve training alone, for the correction takes no gradient steps.

    Raises:
        DataError: the spec is of a ranking; or as `reptile`.
        CompileError: as `reptile`.
        UnknownNameError: as `reptile`.
    """
    if spec.kind == "ranking":
        raise DataError(
            "a ranking has no residuals to correct: use reptile with adapted_parameters= the user's own parameters"
        )
    like = reptile(model, spec, **training)
    module, likeness = checked_module(model, spec), kernel if normalise_features else _product

    def answers(meta: TorchTree, x: Tensor) -> tuple[Tensor, Tensor]:
        seen = forward_with_features(module, meta, x)
        output = torch.softmax(seen.output, -1) if spec.kind == "classification" else seen.output
        return output, normalised(seen.features) if normalise_features else seen.features

    def begin(meta: TorchTree, support: TorchBatch) -> TorchTree:
        answer, inputs = answers(meta, support.x)
        targets = one_hot(support.y, spec.outputs) if spec.kind == "classification" else support.y
        missed = targets - answer
        scalars = {name: missed.new_zeros(()) for name in ("mix", SHRINKAGE, LOO_IMPROVEMENT)}
        return {"inputs": inputs, "missed": missed, "weights": torch.zeros_like(missed), **scalars}

    def step(meta: TorchTree, carry: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        del meta, noise
        alike = likeness(carry["inputs"], carry["inputs"], knobs["mix"])
        found = fit(alike, carry["missed"], support.mask, knobs["ridge"])
        missed = carry["missed"] * support.mask.sqrt().unsqueeze(-1)
        saved = missed.square().sum(-1) - found.left_out.square().sum(-1)
        evidence = saved.sum() / support.mask.sum().clamp(min=1)
        own = Guard[Any].of(knobs)
        kept = shrinkage(own, evidence)
        moved = {"weights": own.weight * kept * found.weights, SHRINKAGE: kept, LOO_IMPROVEMENT: evidence}
        return {**carry, **moved, "mix": carry["mix"] * 0 + knobs["mix"]}

    def predict(meta: TorchTree, state: TorchTree, x: Tensor) -> Tensor:
        answer, features = answers(meta, x)
        corrected = answer + likeness(features, state["inputs"], state["mix"]) @ state["weights"]
        if spec.kind != "classification":
            return corrected
        chances = corrected.clamp(_LEAST, 1.0)
        return (chances / chances.sum(-1, keepdim=True)).log()

    return replace(
        like,
        name="residual_correction",
        paper=PAPER,
        adapted_parameters=(),
        knobs=_KNOBS,
        unadapted={**_KNOBS, "steps": 0.0},
        adapt=Iterated(begin, step, lambda carry: {name: carry[name] for name in _STATE}),
        predict=predict,
        calibration=CalibrationOptions(
            candidates=[
                {**_KNOBS, "mix": mix, "ridge": ridge} for mix, ridge in (_SCALED if normalise_features else _UNSCALED)
            ],
            guarded=True,
            window=_WINDOW,
            row_losses=like.calibration.row_losses,
        ),
        gradient_learner=like,
    )


def shrinkage(own: Guard[Any], evidence: Tensor) -> Tensor:
    """How much of a correction to keep, from `floor` to 1; see the module's text.

    Args:
        own: scalars, numbers or tensors.
        evidence: a scalar.
    """
    score = (own.intercept + own.slope * evidence) / own.residual_sd
    gains = 0.5 * (1 + torch.erf(score / math.sqrt(2)))
    off = torch.as_tensor(own.guard == 0).to(evidence.dtype)
    sure = (own.guard * (gains - 0.5) + off).clamp(0.0, 1.0)
    kept: Tensor = own.floor + (1 - own.floor) * sure
    return kept


def _product(a: Tensor, b: Tensor, mix: Tensor | float) -> Tensor:
    del mix
    return a @ b.T
