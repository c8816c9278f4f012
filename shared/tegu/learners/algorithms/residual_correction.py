"""Residual correction: closed-form regression on the initialisation's residuals for a user.

The initialisation is trained as in Reptile, or through the correction (`correction_training`). On the device no
parameter changes. Kernel ridge regression on the residuals of the user's own interactions, in the model's own
features, corrects the initialisation's output:

    f(x) = f0(x) + weight * shrinkage * K(x, S) (K(S, S) + ridge I)^-1 (y - f0(S))

f0 is the model's output, or its probabilities for labels. The features are the input of its last linear layer,
scaled to length 1. K is a weighted mean, by `mix`, of their cosine and an RBF kernel. A correction of residuals starts
from the initialisation's output, so that a user with few rows stays close to it. Ridge regression as a base learner:
Bertinetto et al. 2019 (R2-D2), arXiv:1805.08136.

With `level`, the kernel is K + level. The correction then knows what a person does whatever the input, such as how
often each class occurs. With `ordered`, the kernel is multiplied by a factor that falls with the number of interactions
between two rows (`tegu.learners.solvers.drifting_kernel`), so that the last interactions count for more than older
ones. Kernel ridge regression is the mean of a Gaussian process, whose kernel may be any such sum or product.
Calibration chooses the knobs of both like any other.

The device computes `shrinkage`. Leave-one-out residuals cost nothing extra: each is the row's regression weight divided
by the diagonal of the inverse. They give the correction's gain on the user's own interactions, the leave-one-out
improvement e. Among users that took no part in training, the mean gain at improvement e was `intercept + slope * e`,
with standard deviation `residual_sd`; calibration estimates these three. P is then the probability that this user
gains. Shrinkage rises from `floor` to 1 with `guard * (P - 1/2)`, and is 1 if `guard` is 0. A small share of a
correction harms few users: the share t increases the error only if less than t / 2 of the correction is right. With one
interaction the leave-one-out improvement is 0, and the population's values alone decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from tegu.core.calibration.guard import LOO_IMPROVEMENT, SHRINKAGE, Guard
from tegu.core.data.spec import Kind, Spec
from tegu.core.errors import DataError
from tegu.learners.algorithms.correction_candidates import correction_candidates
from tegu.learners.algorithms.correction_training import Corrected, train_through
from tegu.learners.algorithms.reptile import reptile
from tegu.learners.learner import (
    CalibrationOptions,
    Encoded,
    Iterated,
    Learner,
    Predict,
    TorchBatch,
    TorchKnobs,
    TorchTree,
)
from tegu.learners.modules.checks import checked_module
from tegu.learners.modules.features import forward_with_features
from tegu.learners.modules.initial_values import reset_statistics
from tegu.learners.modules.losses import find_loss
from tegu.learners.modules.named_output import OutputName
from tegu.learners.operators.exportable import one_hot
from tegu.learners.solvers.drifting_kernel import ages, drift, drift_to_next
from tegu.learners.solvers.ridge import differentiable_weights, fit, kernel, unit_length

__all__ = ["PAPER", "residual_correction", "shrinkage"]

PAPER = "Bertinetto et al. 2019, Meta-learning with differentiable closed-form solvers, arXiv:1805.08136"
_KNOBS = {
    "steps": 1.0,
    "mix": 0.0,
    "ridge": 0.1,
    **asdict(Guard(weight=0.5, guard=0.0, floor=0.0, intercept=0.0, slope=0.0, residual_sd=1.0)),
}
_TRAINING_RIDGE = 0.3
_WINDOW = 256  # rows: the cost of the inverse grows with their cube, 20 ms for 100 rows
_STATE = ("inputs", "weights", SHRINKAGE, LOO_IMPROVEMENT)
_LEVEL = {"level": 0.0}
_DRIFT = {"recency": 0.0, "half_life": 1.0}
_MIN_PROBABILITY = 1e-4  # lower bound of a corrected probability, before normalisation
_ANSWERS: dict[Kind, Callable[[Tensor], Tensor]] = {
    "classification": lambda logits: torch.softmax(logits, -1),
    "multilabel": torch.sigmoid,
    "regression": lambda values: values,
}


class _Seen(NamedTuple):
    """What the correction knows of rows: the `output` `[rows, outputs]` and the `features` `[rows, width]`."""

    output: Tensor
    features: Tensor


_See: TypeAlias = Callable[[TorchTree, Tensor], _Seen]


class _Form(NamedTuple):
    """The layout of targets, the kernel of features, and whether a level and a drift are part of the whole kernel."""

    spec: Spec
    features_kernel: Callable[[Tensor, Tensor, Any], Tensor]
    level: bool
    ordered: bool

    @property
    def state(self) -> tuple[str, ...]:
        """The knobs that `predict` needs, and that the state therefore holds."""
        return ("mix", "level") if self.level else ("mix",)

    def kernel(self, a: Tensor, b: Tensor, given: Mapping[str, Tensor] | Mapping[str, float]) -> Tensor:
        """The kernel of the rows' features, and the level, `[rows of a, rows of b]`."""
        found = self.features_kernel(a, b, given["mix"])
        return found + given["level"] if self.level else found


def residual_correction(
    model: nn.Module,
    spec: Spec,
    *,
    normalise_features: bool = True,
    through: bool = False,
    level: bool = False,
    ordered: bool = False,
    output: OutputName | None = None,
    **training: Any,
) -> Learner:
    """Reptile's initialisation, adapted by residual correction.

    The state is the user's features and their regression weights: `inputs` `[rows, width]`, `weights`
    `[rows, outputs]` and `mix`, with two scalars: `loo_improvement`, the leave-one-out reduction of an interaction's
    squared residual, and `shrinkage`. For classification the outputs are log-probabilities.

    Args:
        model: maps `x` `[rows, *spec.x.shape]` to `[rows, spec.outputs]`. It is not changed.
        spec: the model's inputs and outputs, for any kind but a ranking.
        normalise_features: scale features to length 1. False uses the dot product of the features as the kernel,
            whatever `mix` is: ridge regression on the last layer, for features whose length carries information, such
            as those of items.
        through: train through the correction; see `tegu.learners.algorithms.correction_training`. False trains as
            Reptile does.
        level: whether calibration may add a level to the kernel.
        ordered: whether rows are in order, the newest last. Calibration may then let older rows count for less:
            `recency` and `half_life` are knobs, as is `level`.
        output: as in `reptile`.
        training: other arguments of `reptile`: loss, adapted_parameters, steps, lr, prior, minibatches, inner,
            momentum, learn_step_sizes, rows_per_weight, init. Learned step sizes are used in training only, because the
            correction takes no gradient steps. With `through` only loss and init matter.

    Raises:
        DataError: the spec is for ranking; or as `reptile`.
        CompileError: as `reptile`.
        UnknownNameError: as `reptile`.
    """
    if spec.kind == "ranking":
        raise DataError(
            "a ranking has no residuals to correct: expected a spec for labels or regression; use reptile with "
            "adapted_parameters= the user's own parameters"
        )
    module = checked_module(model, spec, output)
    like = gradient_learner = reptile(module, spec, **training)
    if training.get("init") == "fresh":
        reset_statistics(module)
    level = level or ordered
    form = _Form(spec, kernel if normalise_features else _dot_product, level, ordered)
    knobs = {**_KNOBS, **(_LEVEL if level else {}), **(_DRIFT if ordered else {})}

    def seen(meta: TorchTree, x: Tensor) -> _Seen:
        found = forward_with_features(module, meta, x)
        features = unit_length(found.features) if normalise_features else found.features
        return _Seen(_ANSWERS[spec.kind](found.output), features)

    def encode(meta: TorchTree, x: Tensor) -> Tensor:
        return torch.cat(seen(meta, x), -1)

    def decoded(meta: TorchTree, codes: Tensor) -> _Seen:
        del meta
        return _Seen(codes[..., : spec.outputs], codes[..., spec.outputs :])

    plain = _adaptation(form, seen), _prediction(form, seen)
    if through:
        rows_loss = find_loss(training.get("loss"), spec)
        untrained = (*like.fixed_parameters, *(name for name in like.init(0) if "/" in name))
        update, summed = train_through(module, rows_loss, spec, _corrected(form, seen), untrained)
        execution = replace(like.execution, summed_update=summed, order_invariant=True, merges_query=False)
        like = replace(like, update=update, execution=execution)
    return replace(
        like,
        name="residual_correction",
        paper=PAPER,
        adapted_parameters=(),
        knobs=knobs,
        unadapted={**knobs, "steps": 0.0},
        adapt=plain[0],
        predict=plain[1],
        calibration=CalibrationOptions(
            candidates=[
                {**knobs, **each}
                for each in correction_candidates(normalised=normalise_features, level=level, ordered=ordered)
            ],
            guarded=True,
            window=_WINDOW,
            row_losses=like.calibration.row_losses,
        ),
        gradient_learner=gradient_learner,
        execution=replace(
            like.execution, encoded=Encoded(encode, _adaptation(form, decoded), _prediction(form, decoded), plain)
        ),
    )


def _adaptation(form: _Form, seen: _See) -> Iterated:
    """`Learner.adapt` for rows that `seen` looks at."""

    def begin(meta: TorchTree, support: TorchBatch) -> TorchTree:
        output, inputs = seen(meta, support.x)
        spec = form.spec
        targets = one_hot(support.y, spec.outputs) if spec.kind == "classification" else support.y
        residuals = targets - output
        scalars = {name: residuals.new_zeros(()) for name in (*form.state, SHRINKAGE, LOO_IMPROVEMENT)}
        return {"inputs": inputs, "residuals": residuals, "weights": torch.zeros_like(residuals), **scalars}

    def step(meta: TorchTree, carry: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        del meta, noise
        matrix = form.kernel(carry["inputs"], carry["inputs"], knobs)
        if form.ordered:
            matrix = matrix * drift(ages(support.mask), knobs["recency"], knobs["half_life"])
        fitted = fit(matrix, carry["residuals"], support.mask, knobs["ridge"])
        weighted = carry["residuals"] * support.mask.sqrt().unsqueeze(-1)
        reduction = weighted.square().sum(-1) - fitted.loo_residuals.square().sum(-1)
        improvement = reduction.sum() / support.mask.sum().clamp(min=1)
        own = Guard[Any].of(knobs)
        kept = shrinkage(own, improvement)
        weights = own.weight * kept * fitted.weights
        if form.ordered:
            next_row = drift_to_next(ages(support.mask), knobs["recency"], knobs["half_life"])
            weights = weights * next_row.unsqueeze(-1)
        changed = {"weights": weights, SHRINKAGE: kept, LOO_IMPROVEMENT: improvement}
        return {**carry, **changed, **{name: carry[name] * 0 + knobs[name] for name in form.state}}

    return Iterated(begin, step, lambda carry: {name: carry[name] for name in (*_STATE, *form.state)})


def _prediction(form: _Form, seen: _See) -> Predict:
    """`Learner.predict` for rows that `seen` looks at."""

    def predict(meta: TorchTree, state: TorchTree, x: Tensor) -> Tensor:
        output, features = seen(meta, x)
        corrected = output + form.kernel(features, state["inputs"], state) @ state["weights"]
        if form.spec.kind == "regression":
            return corrected
        if form.spec.kind == "multilabel":
            kept = corrected.clamp(_MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
            return kept.log() - (1 - kept).log()
        probabilities = corrected.clamp(_MIN_PROBABILITY, 1.0)
        return (probabilities / probabilities.sum(-1, keepdim=True)).log()

    return predict


def _corrected(form: _Form, seen: _See) -> Corrected:
    """The fully corrected outputs, for training through the correction."""
    begin = _adaptation(form, seen).begin

    def corrected(meta: TorchTree, support: TorchBatch, x: Tensor) -> Tensor:
        begun, (output, features) = begin(meta, support), seen(meta, x)
        matrix = form.features_kernel(begun["inputs"], begun["inputs"], 1.0)
        weights = differentiable_weights(matrix, begun["residuals"], support.mask, _TRAINING_RIDGE)
        return output + form.features_kernel(features, begun["inputs"], 1.0) @ weights

    return corrected


def shrinkage(own: Guard[Any], loo_improvement: Tensor) -> Tensor:
    """The share of a correction that is kept, from `floor` to 1; the module docstring has the formula.

    Args:
        own: the guard; its fields are numbers or scalar tensors.
        loo_improvement: a scalar.
    """
    score = (own.intercept + own.slope * loo_improvement) / own.residual_sd
    probability = 0.5 * (1 + torch.erf(score / math.sqrt(2)))
    unguarded = torch.as_tensor(own.guard == 0).to(loo_improvement.dtype)
    confidence = (own.guard * (probability - 0.5) + unguarded).clamp(0.0, 1.0)
    kept: Tensor = own.floor + (1 - own.floor) * confidence
    return kept


def _dot_product(a: Tensor, b: Tensor, mix: Tensor | float) -> Tensor:
    del mix
    return a @ b.T
