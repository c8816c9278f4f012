"""Learners that see a row through an embedding alone, and train on episodes.

    adapt    embeds the support and summarises it in a small state, without steps
    predict  embeds rows and compares them with the state
    update   the gradient of the query's loss through `adapt`, by the embedding's parameters and the learner's own

A row is embedded once in training, and once in calibration however many supports and knobs are tried on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from torch import Tensor, nn

from tegu.core.data.spec import Kind, Spec
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.learners.inner_loop.query_gradient import summed_update_of, update_of
from tegu.learners.learner import (
    CalibrationOptions,
    Encoded,
    Execution,
    Learner,
    RecommendedTraining,
    Source,
    TorchBatch,
    TorchKnobs,
    TorchTree,
)
from tegu.learners.modules.initial_values import Init, check_init, initial_parameters, reset_statistics
from tegu.learners.networks.embedding import Embedding

__all__ = ["TRAINING", "Episodic", "check_kind", "episodic_learner", "module_entries", "module_parameters"]

_Adapt: TypeAlias = Callable[[TorchTree, TorchBatch, TorchKnobs], TorchTree]
_Loss: TypeAlias = Callable[[TorchTree, TorchTree, TorchBatch], Tensor]
TRAINING = RecommendedTraining("Adam", 0.003, averaged=True, until_flat=True)
"""Adam with a constant step, an average of the parameters, and rounds by validation: see decision 040."""

_NEAREST: Mapping[Kind, str] = {
    "regression": "r2d2, snail or residual_correction",
    "multilabel": "residual_correction",
    "ranking": "implicit_als, or reptile with adapted_parameters= the user's own parameters",
}


class Episodic(NamedTuple):
    """What an algorithm does with embedded rows, whose `x` is `[rows, width]`.

    Attributes:
        adapt: (meta, support, knobs) -> state.
        predict: (meta, state, embeddings `[rows, width]`) -> outputs `[rows, outputs]`.
        loss: (meta, state, query) -> the loss that training follows, a scalar. The state is that of `knobs`.
        knobs: default knobs; training uses them.
        unadapted: knobs for which the state is that of an empty support.
        candidates: knobs that differ between candidates; the more cautious first.
        own: seed -> the algorithm's own entries of meta, with a `/` in their names.
        recommended: how the server best trains it.
        window: number of a user's newest rows that a device adapts on; 0 means all.
        order_invariant: whether the order of rows has no effect.
    """

    adapt: _Adapt
    predict: Callable[[TorchTree, TorchTree, Tensor], Tensor]
    loss: _Loss
    knobs: Mapping[str, float]
    unadapted: Mapping[str, float]
    candidates: Sequence[Mapping[str, float]]
    own: Callable[[int], Tree]
    recommended: RecommendedTraining
    window: int = 0
    order_invariant: bool = True


def check_kind(name: str, spec: Spec, kinds: Sequence[Kind], reason: str) -> None:
    """Refuse a spec of another kind than `kinds`, and name the nearest learner that takes it.

    Args:
        name: of the learner.
        spec: for which a learner is to be made.
        kinds: what the learner can do.
        reason: why it cannot do others, as a clause.

    Raises:
        DataError: the spec is of another kind.
    """
    if spec.kind not in kinds:
        raise DataError(
            f"{name} {reason}, and the spec is for {spec.kind}: expected {' or '.join(kinds)}; "
            f"use {_NEAREST.get(spec.kind, 'reptile')}"
        )


def episodic_learner(
    name: str, paper: str, spec: Spec, embedding: Embedding, form: Episodic, init: Init = "module"
) -> Learner:
    """The learner of an algorithm on embedded rows.

    Args:
        name: the name in `LEARNERS`.
        paper: the publication it follows.
        spec: the inputs and outputs.
        embedding: the embedding network.
        form: the algorithm.
        init: where the embedding's parameters start; see `reptile`. The algorithm's own are drawn from the seed.

    Raises:
        UnknownNameError: no such `init`.
    """
    init = check_init(init)
    if init == "fresh":
        reset_statistics(embedding.module)

    def adapt(meta: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        del noise
        return form.adapt(meta, support._replace(x=embedding(meta, support.x)), knobs)

    def predict(meta: TorchTree, state: TorchTree, x: Tensor) -> Tensor:
        return form.predict(meta, state, embedding(meta, x))

    def adapt_codes(meta: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        del noise
        return form.adapt(meta, support, knobs)

    def objective(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> tuple[Tensor, TorchTree]:
        del noise
        # Embedded apart: the gradient of a slice of both, batched over users, fixes the number of users in a graph.
        known, asked = (rows._replace(x=embedding(meta, rows.x)) for rows in (support, query))
        return form.loss(meta, form.adapt(meta, known, form.knobs), asked), {}

    return Learner(
        name=name,
        paper=paper,
        spec=spec,
        adapted_parameters=(),
        knobs=form.knobs,
        unadapted=form.unadapted,
        init=lambda seed: {**initial_parameters(embedding.module, seed, init), **form.own(seed)},
        adapt=adapt,
        predict=predict,
        update=update_of(objective, embedding.fixed),
        calibration=CalibrationOptions(
            candidates=[{**form.knobs, **each} for each in form.candidates], window=form.window
        ),
        execution=Execution(
            summed_update=summed_update_of(objective, embedding.fixed),
            order_invariant=form.order_invariant,
            encoded=Encoded(embedding, adapt_codes, form.predict, (adapt, predict)),
        ),
        fixed_parameters=embedding.fixed,
        source=Source(embedding.module) if embedding.classifier else None,
        recommended=form.recommended,
    )


def module_entries(prefix: str, module: nn.Module, seed: int) -> Tree:
    """First parameters of an algorithm's own module, drawn from the seed, as entries of meta `<prefix>/<name>`."""
    return {f"{prefix}/{name}": value for name, value in initial_parameters(module, seed).items()}


def module_parameters(prefix: str, meta: TorchTree) -> TorchTree:
    """The parameters of an algorithm's own module in meta, by their names in the module."""
    return {name.removeprefix(f"{prefix}/"): value for name, value in meta.items() if name.startswith(f"{prefix}/")}
