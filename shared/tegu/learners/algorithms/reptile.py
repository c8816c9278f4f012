"""Reptile: move the initialisation toward each user's adapted parameters.

Nichol, Achiam, Schulman, "On First-Order Meta-Learning Algorithms", 2018, arXiv:1803.02999.

    adapt   K steps of gradient descent on the support
    update  meta - adapt(meta, all of the user's rows)

If only some parameters adapt (`adapted_parameters`), the others have no adapted value to move toward. They follow the
gradient of the query loss *through* the adaptation (Finn et al. 2017, MAML). The adapted parameters still follow
Reptile's rule, on the support.

Step sizes and the prior can be learned as well (`learn_step_sizes`): see `tegu.learners.parameters.step_sizes`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.learners.algorithms.by_steps import step_size_candidates
from tegu.learners.inner_loop.adaptable import adaptable
from tegu.learners.inner_loop.dual_steps import summed_by_dual_steps
from tegu.learners.inner_loop.gradient_steps import (
    InnerOptimiser,
    concatenate,
    inner_loop,
    run_steps,
)
from tegu.learners.inner_loop.label_order import for_minibatches
from tegu.learners.inner_loop.query_gradient import summed_update_of, update_of
from tegu.learners.inner_loop.untrained import with_untrained
from tegu.learners.learner import (
    Execution,
    Learner,
    SummedUpdate,
    TorchBatch,
    TorchTree,
    Update,
)
from tegu.learners.modules.initial_values import (
    Init,
    trained_parameter_names,
)
from tegu.learners.modules.losses import OutputLoss
from tegu.learners.modules.named_output import OutputName
from tegu.learners.modules.table_lookups import find_row_tables
from tegu.learners.parameters.step_sizes import (
    StepSizeGranularity,
    add_step_size_updates,
    add_summed_step_size_updates,
    initial_step_sizes,
)
from tegu.learners.parameters.table_rows import parameter_changes

__all__ = ["PAPER", "reptile"]

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
    learn_step_sizes: StepSizeGranularity | None = None,
    rows_per_weight: float = 0.0,
    untrained_parameters: Sequence[str] = (),
    init: Init = "module",
    output: OutputName | None = None,
) -> Learner:
    """A Reptile learner for any module that is a function of its parameters and its input.

    Args:
        model: maps `x` `[rows, *spec.x.shape]` to `[rows, spec.outputs]`; for ranking, item ids `[rows]` to
            scores `[rows]`. It is not changed. Its parameters without `requires_grad` are fixed: neither training nor a
            device changes them.
        spec: the model's inputs and outputs.
        loss: a name in `modules.losses.LOSSES`, a callable `(output, y) -> [rows]`, or None for the default loss of
            `spec.kind`.
        adapted_parameters: names or patterns of the parameters that adapt; None means all that are not fixed. The
            server trains the others, and devices do not change them.
        steps: number of inner steps in training, and the default on devices.
        lr: step size of the inner steps.
        prior: the number of interactions that the initialisation counts for: with n rows a step is
            `lr * n / (n + prior)`.
        minibatches: number of parts into which training splits the user's rows; the inner steps use them in turn. Each
            part has its share of each label; see `inner_loop.label_order`.
        inner: "sgd" or "adam".
        momentum: momentum of the inner SGD.
        learn_step_sizes: "layers" to learn a factor on `lr` for each adapted parameter tensor, "parameters" for each of
            its entries. A factor on `prior` is learned too, unless `prior` is 0. The query loss trains these factors,
            so support and query stay separate (`Execution.merges_query` is False). None keeps `lr` and `prior` fixed.
        rows_per_weight: number of query rows that count as one user in the update of parameters that do not adapt.
            Users with more rows then weigh more, as clients do in McMahan et al. 2017 (arXiv:1602.05629). 0 gives all
            users the same weight.
        untrained_parameters: names or patterns of parameters whose first values training leaves as they are, while
            they adapt as others do. For the last layer, where labels mean something else for every user; see
            `inner_loop.untrained`.
        init: "module" to start training from the module's own parameters, "fresh" to draw those that are not fixed
            anew from the seed; see `modules.initial_values.initial_parameters`.
        output: name or position of the output to train, for a module that returns several; see
            `modules.named_output`. None takes the only one that fits.

    Raises:
        CompileError: the module cannot be copied, or is not a function of each row alone; see `checked_module`.
        DataError: a pattern in `adapted_parameters` matches nothing or only fixed parameters, the module does not fit
            `spec`, every entry of a table that adapts by rows would have a step size, or `rows_per_weight` is
            negative, infinite or has no effect because every parameter adapts.
        UnknownNameError: no such loss, inner optimiser, way to learn step sizes or `init`.
    """
    ready = adaptable(model, spec, loss, adapted_parameters, init, output)
    model, rows_loss, names, fixed = ready.module, ready.loss, ready.adapted, ready.fixed
    tables = find_row_tables(model, rows_loss, spec, names)
    adapt = inner_loop(model, rows_loss, names, inner, momentum, tables)
    knobs = {"steps": float(steps), "lr": lr, "prior": prior}
    entries = initial_step_sizes(model, names, tables, learn_step_sizes, prior)
    every_parameter_adapts = len(names) == len(trained_parameter_names(model))
    _check_rows_per_weight(rows_per_weight, every_parameter_adapts)

    def toward(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> TorchTree:
        del noise
        rows = for_minibatches(concatenate(support, query), spec, minibatches)
        return parameter_changes(meta, run_steps(adapt, meta, rows, knobs, minibatches))

    def through(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> tuple[Tensor, TorchTree]:
        del noise
        adapted = run_steps(adapt, meta, for_minibatches(support, spec, minibatches), knobs, minibatches)
        after = ready.mean_loss(meta | adapted, query, support)
        weighted = after * (query.mask.sum() / rows_per_weight) if rows_per_weight else after
        return weighted, parameter_changes(meta, adapted)

    def query_losses(meta: TorchTree, support: TorchBatch, query: TorchBatch) -> tuple[Tensor, Tensor]:
        # Without minibatches: step sizes are learned for devices, which use no minibatches.
        adapted = meta | run_steps(adapt, meta, support, knobs)
        before, after = (ready.mean_loss(tree, query, support) for tree in (meta, adapted))
        return before, after

    update: Update = toward if every_parameter_adapts else update_of(through, (*names, *entries, *fixed))
    summed: SummedUpdate | None = None
    if not every_parameter_adapts:
        summed = summed_update_of(through, (*names, *entries, *fixed))
    elif inner == "sgd" and not (momentum or tables or entries):
        summed = summed_by_dual_steps(model, rows_loss, spec, knobs, minibatches)
    if entries:
        update, summed = (
            add_step_size_updates(update, query_losses),
            summed and add_summed_step_size_updates(summed, query_losses),
        )
    learner = Learner(
        name="reptile",
        paper=PAPER,
        spec=spec,
        adapted_parameters=names,
        knobs=knobs,
        unadapted={**knobs, "steps": 0.0},
        init=lambda seed: {**ready.init(seed), **entries},
        adapt=adapt,
        predict=lambda meta, state, x: ready.output(meta | state, x),
        update=update,
        calibration=step_size_candidates(ready, knobs),
        execution=Execution(
            summed_update=summed,
            order_invariant=minibatches == 1,
            merges_query=every_parameter_adapts and not entries,
        ),
        fixed_parameters=fixed,
        source=ready.source,
    )
    return with_untrained(learner, ready.module, untrained_parameters)


def _check_rows_per_weight(rows_per_weight: float, every_parameter_adapts: bool) -> None:
    if not 0 <= rows_per_weight < math.inf or (rows_per_weight and every_parameter_adapts):
        adapting = " and every parameter adapts" if every_parameter_adapts else ""
        raise DataError(
            f"rows_per_weight is {rows_per_weight}{adapting}: expected 0, or a positive number of query rows and at "
            "least one parameter that does not adapt, because Reptile's rule gives every user the same weight; leave "
            "rows_per_weight out, or name fewer parameters in adapted_parameters"
        )
