"""Residual correction: kernel regression around the initialisation's outputs for a user.

The initialisation is trained as in Reptile, or through the correction (`correction_training`). On the device no
parameter changes. Kernel regression on the user's own interactions, in the model's own features, corrects the
initialisation's outputs:

    f(x) = f0(x) + weight * shrinkage * K(x, S) a

f0 is the model's output: values, or logits of labels. For values, a = (K(S, S) + ridge I)^-1 (y - f0(S)) is ridge
regression on the residuals. For labels, a is that of regularised logistic regression with f0 as its offset
(`tegu.learners.solvers.kernel_regression`). The features are the input of the model's last linear layer, scaled to
length 1. K is a weighted mean, by `mix`, of their cosine and an RBF kernel. A correction starts from the
initialisation's output, so that a user with few rows stays close to it. Ridge and logistic regression as base learners:
Bertinetto et al. 2019 (R2-D2 and LR-D2), arXiv:1805.08136.

With `level`, the kernel is K + level. The correction then knows what a person does whatever the input, such as how
often each class occurs. With `ordered`, the kernel is multiplied by a factor that falls with the number of interactions
between two rows (`tegu.learners.solvers.drifting_kernel`), so that the last interactions count for more than older
ones. Kernel regression is that of a Gaussian process, whose kernel may be any such sum or product.
Calibration chooses the knobs of both like any other.

The device computes `shrinkage`. What the correction would be at a row that is left out costs nothing extra: it follows
from the diagonal of the inverse. It gives the correction's gain on the user's own interactions, the leave-one-out
improvement e. Among users that took no part in training, the mean gain at improvement e was `intercept + slope * e`,
with standard deviation `residual_sd`; calibration estimates these three. P is then the probability that this user
gains. Shrinkage rises from `floor` to 1 with `guard * (P - 1/2)`, and is 1 if `guard` is 0. A small share of a
correction harms few users: the share t increases the error only if less than t / 2 of the correction is right. With one
interaction the leave-one-out improvement is 0, and the population's values alone decide.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from tegu.core.calibration.guard import Guard
from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.learners.algorithms.correction_candidates import correction_candidates
from tegu.learners.algorithms.correction_form import CorrectionForm, adaptation, fully_corrected, prediction
from tegu.learners.algorithms.correction_training import TRAINING, Seen, train_through
from tegu.learners.algorithms.reptile import reptile
from tegu.learners.learner import CalibrationOptions, Encoded, Learner, TorchTree
from tegu.learners.modules.checks import checked_module
from tegu.learners.modules.features import forward_with_features
from tegu.learners.modules.initial_values import reset_statistics
from tegu.learners.modules.losses import find_loss
from tegu.learners.modules.named_output import OutputName
from tegu.learners.solvers.kernel import kernel, unit_length

__all__ = ["PAPER", "residual_correction"]

PAPER = "Bertinetto et al. 2019, Meta-learning with differentiable closed-form solvers, arXiv:1805.08136"
_KNOBS = {
    "steps": 1.0,
    "mix": 0.0,
    "ridge": 0.1,
    **asdict(Guard(weight=0.5, guard=0.0, floor=0.0, intercept=0.0, slope=0.0, residual_sd=1.0)),
}
_WINDOW = 256  # rows: the cost of the inverse grows with their cube, 20 ms for 100 rows
_LEVEL = {"level": 0.0}
_DRIFT = {"recency": 0.0, "half_life": 1.0}


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
    squared residual (of its probabilities, for labels), and `shrinkage`. For classification the outputs are
    log-probabilities.

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
    form = CorrectionForm(spec, kernel if normalise_features else _dot_product, level, ordered)
    knobs = {**_KNOBS, **(_LEVEL if level else {}), **(_DRIFT if ordered else {})}

    def seen(meta: TorchTree, x: Tensor) -> Seen:
        found = forward_with_features(module, meta, x)
        features = unit_length(found.features) if normalise_features else found.features
        return Seen(found.output, features)

    def encode(meta: TorchTree, x: Tensor) -> Tensor:
        return torch.cat(seen(meta, x), -1)

    def decoded(meta: TorchTree, codes: Tensor) -> Seen:
        del meta
        return Seen(codes[..., : spec.outputs], codes[..., spec.outputs :])

    plain = adaptation(form, seen), prediction(form, seen)
    if through:
        rows_loss = find_loss(training.get("loss"), spec)
        untrained = (*like.fixed_parameters, *(name for name in like.init(0) if "/" in name))
        update, summed = train_through(module, rows_loss, seen, fully_corrected(form), untrained)
        execution = replace(like.execution, summed_update=summed, order_invariant=True, merges_query=False)
        like = replace(like, update=update, execution=execution, recommended=TRAINING)
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
                for each in correction_candidates(
                    normalised=normalise_features, level=level, ordered=ordered, values=spec.kind == "regression"
                )
            ],
            guarded=True,
            window=_WINDOW,
            row_losses=like.calibration.row_losses,
        ),
        gradient_learner=gradient_learner,
        execution=replace(
            like.execution, encoded=Encoded(encode, adaptation(form, decoded), prediction(form, decoded), plain)
        ),
    )


def _dot_product(a: Tensor, b: Tensor, mix: Tensor | float) -> Tensor:
    del mix
    return a @ b.T
