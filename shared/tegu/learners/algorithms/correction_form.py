"""How residual correction adapts and predicts, for rows that are seen through the module or through their codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tegu.core.calibration.guard import LOO_IMPROVEMENT, SHRINKAGE, Guard
from tegu.core.data.spec import Spec
from tegu.learners.algorithms.correction_training import Corrected, See, Seen
from tegu.learners.algorithms.shrinkage import shrinkage
from tegu.learners.learner import Iterated, Predict, TorchBatch, TorchKnobs, TorchTree
from tegu.learners.operators.exportable import one_hot
from tegu.learners.solvers.drifting_kernel import ages, drift, drift_to_next
from tegu.learners.solvers.kernel_regression import LINKS, fit

__all__ = ["CorrectionForm", "adaptation", "fully_corrected", "prediction"]

_TRAINING_RIDGE = 0.1
_TRAINING_ITERATIONS = 5  # of the solver: training goes through each of them
_STATE = ("inputs", "weights", SHRINKAGE, LOO_IMPROVEMENT)


class CorrectionForm(NamedTuple):
    """The layout of targets, the kernel of features, and whether a level and a drift are part of the whole kernel."""

    spec: Spec
    features_kernel: Callable[[Tensor, Tensor, Any], Tensor]
    level: bool
    ordered: bool

    @property
    def state(self) -> tuple[str, ...]:
        """The knobs that `predict` needs, and that the state therefore holds."""
        return ("mix", "level") if self.level else ("mix",)

    @property
    def step_identity(self) -> str:
        """What the step of the adaptation computes: it depends on no model, and on no size but those of its inputs."""
        kernel = f"{self.features_kernel.__module__}.{self.features_kernel.__qualname__}"
        return f"correction {self.spec.kind} {kernel} level={self.level} ordered={self.ordered}"

    def kernel(self, a: Tensor, b: Tensor, given: Mapping[str, Tensor] | Mapping[str, float]) -> Tensor:
        """The kernel of the rows' features, and the level, `[rows of a, rows of b]`."""
        found = self.features_kernel(a, b, given["mix"])
        return found + given["level"] if self.level else found


def adaptation(form: CorrectionForm, seen: See) -> Iterated:
    """`Learner.adapt` for rows that `seen` looks at."""

    def begin(meta: TorchTree, support: TorchBatch) -> TorchTree:
        start, inputs = seen(meta, support.x)
        spec = form.spec
        targets = one_hot(support.y, spec.outputs) if spec.kind == "classification" else support.y
        residuals = targets - LINKS[spec.kind].mean(start)
        scalars = {name: start.new_zeros(()) for name in (*form.state, SHRINKAGE, LOO_IMPROVEMENT)}
        return {"inputs": inputs, "start": start, "residuals": residuals, "weights": torch.zeros_like(start), **scalars}

    def step(meta: TorchTree, carry: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        del meta, noise
        matrix = form.kernel(carry["inputs"], carry["inputs"], knobs)
        if form.ordered:
            matrix = matrix * drift(ages(support.mask), knobs["recency"], knobs["half_life"])
        start, link = carry["start"], LINKS[form.spec.kind]
        targets = carry["residuals"] + link.mean(start)
        fitted = fit(matrix, start, targets, support.mask, knobs["ridge"], link)
        left_out = targets - link.mean(start + fitted.left_out)
        reduction = carry["residuals"].square().sum(-1) - left_out.square().sum(-1)
        improvement = (reduction * support.mask).sum() / support.mask.sum().clamp(min=1)
        own = Guard[Any].of(knobs)
        kept = shrinkage(own, improvement)
        weights = own.weight * kept * fitted.weights
        if form.ordered:
            next_row = drift_to_next(ages(support.mask), knobs["recency"], knobs["half_life"])
            weights = weights * next_row.unsqueeze(-1)
        changed = {"weights": weights, SHRINKAGE: kept, LOO_IMPROVEMENT: improvement}
        return {**carry, **changed, **{name: carry[name] * 0 + knobs[name] for name in form.state}}

    return Iterated(
        begin, step, lambda carry: {name: carry[name] for name in (*_STATE, *form.state)}, form.step_identity
    )


def prediction(form: CorrectionForm, seen: See) -> Predict:
    """`Learner.predict` for rows that `seen` looks at."""

    def predict(meta: TorchTree, state: TorchTree, x: Tensor) -> Tensor:
        output, features = seen(meta, x)
        corrected = output + form.kernel(features, state["inputs"], state) @ state["weights"]
        return torch.log_softmax(corrected, -1) if form.spec.kind == "classification" else corrected

    return predict


def fully_corrected(form: CorrectionForm) -> Corrected:
    """The fully corrected outputs, for training through the correction."""

    def corrected(known: Seen, support: TorchBatch, query: Seen) -> Tensor:
        begun = adaptation(form, lambda meta, x: known).begin({}, support)
        matrix = form.features_kernel(begun["inputs"], begun["inputs"], 1.0)
        link = LINKS[form.spec.kind]
        link = link._replace(iterations=min(link.iterations, _TRAINING_ITERATIONS))
        targets = begun["residuals"] + link.mean(begun["start"])
        fitted = fit(matrix, begun["start"], targets, support.mask, _TRAINING_RIDGE, link)
        return query.output + form.features_kernel(query.features, begun["inputs"], 1.0) @ fitted.weights

    return corrected
