"""Reptile: move the initialisation toward each user's adapted parameters.

Nichol, Achiam, Schulman, "On First-Order Meta-Learning Algorithms", 2018, arXiv:1803.02999.

    adapt   K steps of gradient descent on the support
    update  meta - adapt(meta, all of the user's rows)

Where only some parameters adapt (`adapted_parameters`), the others have no adapted value to move toward. They follow the gradient
of the query loss *through* the adaptation (Finn et al. 2017, MAML), so that they learn to be adapted around; the fast
ones still follow Reptile's rule, on the support.

Step sizes and the prior may be learned as well (`learn_step_sizes`): `tegu.learners.parameters.step_sizes` says how.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.learners.inner_loop.dual_steps import summed_by_dual_steps
from tegu.learners.inner_loop.gradient_steps import (
    InnerOptimiser,
    concatenate,
    inner_loop,
    mean_loss,
    row_losses,
    run_steps,
)
from tegu.learners.inner_loop.query_gradient import summed_update_of, update_of
from tegu.learners.learner import (
    CalibrationOptions,
    Execution,
    Learner,
    SummedUpdate,
    TorchBatch,
    TorchTree,
    Update,
)
from tegu.learners.modules.checks import checked_module
from tegu.learners.modules.functional import adapted_parameter_names, call, initial_parameters
from tegu.learners.modules.losses import OutputLoss, find_loss
from tegu.learners.modules.table_lookups import looked_up
from tegu.learners.parameters.step_sizes import Learned, learned_entries, learning, learning_summed
from tegu.learners.parameters.table_rows import parameter_changes

__all__ = ["PAPER", "reptile"]

_RATES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
PAPER = "Nichol et al. 2018, On First-Order Meta-Learning Algorithms, arXiv:1803.02999"


def reptile(
    model: nn.Module,
    spec: Spec,
    *,
    loss: str | OutputLoss | None = None,
    adapted_parameters: Sequence[str] | None = None,
    steps: int = 5,
    lr: float = 0.1,
    prior: float = 0.0,
    minibatches: int = 1,
    inner: InnerOptimiser = "sgd",
    momentum: float = 0.0,
    learn_step_sizes: Learned | None = None,
    rows_per_weight: float = 0.0,
) -> Learner:
    """A Reptile learner for any module that is a function of its parameters and its input.

    Args:
        model: maps `x` `[rows, *spec.x.shape]` to `[rows, spec.outputs]`; for ranking, item ids `[rows]` to
            scores `[rows]`. It is not changed.
        spec: what the model takes and gives.
        loss: a name in `modules.losses.LOSSES`, a callable `(output, y) -> [rows]`, or the kind's usual loss.
        adapted_parameters: names or patterns of the parameters that adapt (all by default); the rest is learned by the server
            and stays fixed on the device.
        steps: inner steps in training, and the default on the device.
        lr: their step size.
        prior: how many interactions the initialisation counts for: with n rows a step is `lr * n / (n + prior)`.
        minibatches: in training, each inner step sees one of so many parts of the user's rows, in turn.
        inner: "sgd" or "adam".
        momentum: of the inner SGD.
        learn_step_sizes: "layers" to learn a factor on `lr` for each parameter tensor that adapts, "parameters" for each of its
            entries; and one on `prior`, unless that is 0. The query tells how, so that supports and queries are kept
            apart (`Execution.merges_query` is False). None for `lr` and `prior` as they are.
        rows_per_weight: where only some parameters adapt, so many query rows count as one user for the others: who has more
            tells them more, as clients weigh in McMahan et al. 2017 (arXiv:1602.05629). 0 to count everybody alike.

    Raises:
        CompileError: the module keeps running statistics, or is not a function of each row alone.
        DataError: a pattern in `adapted_parameters` matches nothing, the module does not fit `spec`, there would be a step size for
            every entry of a table that adapts by rows, or `rows_per_weight` is negative or means nothing.
        UnknownNameError: no such loss, inner optimiser or way to learn step sizes.
    """
    model = checked_module(model, spec)
    rows_loss = find_loss(loss, spec)
    names = adapted_parameter_names(model, adapted_parameters)
    tables = looked_up(model, rows_loss, spec, names)
    adapt = inner_loop(model, rows_loss, names, inner, momentum, tables)
    knobs = {"steps": float(steps), "lr": lr, "prior": prior}
    entries = learned_entries(model, names, tables, learn_step_sizes, prior)
    every_parameter_adapts = len(names) == len(dict(model.named_parameters()))
    _check_per_rows(rows_per_weight, every_parameter_adapts)

    def toward(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        del noise
        return parameter_changes(meta, run_steps(adapt, meta, concatenate(support, query), knobs, minibatches))

    def through(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> tuple[Tensor, TorchTree]:
        del noise
        adapted = run_steps(adapt, meta, support, knobs, minibatches)
        after = mean_loss(model, rows_loss, meta | adapted, query, support)
        return after * (query.mask.sum() / rows_per_weight) if rows_per_weight else after, parameter_changes(
            meta, adapted
        )

    def judged(meta: TorchTree, support: TorchBatch, query: TorchBatch) -> tuple[Tensor, Tensor]:
        # Without minibatches: step sizes are learned for devices, which have none.
        adapted = meta | run_steps(adapt, meta, support, knobs)
        before, after = (mean_loss(model, rows_loss, tree, query, support) for tree in (meta, adapted))
        return before, after

    update: Update = toward if every_parameter_adapts else update_of(through, (*names, *entries))
    summed: SummedUpdate | None = None
    if not every_parameter_adapts:
        summed = summed_update_of(through, (*names, *entries))
    elif inner == "sgd" and not (momentum or tables or entries):
        summed = summed_by_dual_steps(model, rows_loss, spec, knobs, minibatches)
    if entries:
        update, summed = learning(update, judged), summed and learning_summed(summed, judged)
    return Learner(
        name="reptile",
        paper=PAPER,
        spec=spec,
        adapted_parameters=names,
        knobs=knobs,
        unadapted={**knobs, "steps": 0.0},
        init=lambda seed: {**initial_parameters(model, seed), **entries},
        adapt=adapt,
        predict=lambda meta, state, x: call(model, meta | state, x),
        update=update,
        calibration=CalibrationOptions(
            candidates=[{**knobs, "lr": lr * rate} for rate in _RATES],
            row_losses=lambda meta, batch: row_losses(model, rows_loss, meta, batch),
        ),
        execution=Execution(
            summed_update=summed,
            order_invariant=minibatches == 1,
            merges_query=every_parameter_adapts and not entries,
        ),
    )


def _check_per_rows(rows_per_weight: float, every_parameter_adapts: bool) -> None:
    if not 0 <= rows_per_weight < math.inf or (rows_per_weight and every_parameter_adapts):
        where = " and every parameter adapts" if every_parameter_adapts else ""
        raise DataError(
            f"rows_per_weight is {rows_per_weight}{where}: expected 0, or a number of query rows where only some parameters adapt, "
            "for Reptile's rule moves toward every user alike; leave it out, or name fewer in fast"
        )
