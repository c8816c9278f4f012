"""MAML: an initialisation whose loss is low after a few gradient steps; FOMAML is its first-order variant.

Finn, Abbeel, Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", 2017, arXiv:1703.03400.

    adapt   K steps of gradient descent on the support
    update  the gradient of the query's loss after adapting

MAML differentiates through the steps, which takes second derivatives of the support's loss. FOMAML (section 5.2)
treats the way from the initialisation to the adapted parameters as a constant, so that the gradient at the adapted
parameters is used in the initialisation's place. Parameters that do not adapt follow the query's loss in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from tegu.core.data.spec import Spec
from tegu.learners.algorithms.by_steps import learner_by_steps, step_size_candidates
from tegu.learners.inner_loop.adaptable import Adaptable, adaptable
from tegu.learners.inner_loop.gradient_steps import InnerOptimiser, inner_loop, run_steps
from tegu.learners.inner_loop.untrained import with_untrained
from tegu.learners.learner import (
    Iterated,
    Learner,
    TorchBatch,
    TorchTree,
)
from tegu.learners.modules.initial_values import Init
from tegu.learners.modules.losses import OutputLoss
from tegu.learners.modules.named_output import OutputName
from tegu.learners.modules.table_lookups import find_row_tables
from tegu.learners.parameters.table_rows import fixed_entries

__all__ = ["PAPER", "fomaml", "maml"]

PAPER = "Finn et al. 2017, Model-Agnostic Meta-Learning (MAML), arXiv:1703.03400"


def maml(
    model: nn.Module,
    spec: Spec,
    *,
    loss: str | OutputLoss | None = None,
    adapted_parameters: Sequence[str] | None = None,
    steps: int = 5,
    lr: float = 0.1,
    prior: float = 0.0,
    inner: InnerOptimiser = "sgd",
    momentum: float = 0.0,
    untrained_parameters: Sequence[str] = (),
    init: Init = "module",
    output: OutputName | None = None,
) -> Learner:
    """MAML (Finn et al. 2017, arXiv:1703.03400) for any module that is a function of its parameters and its input.

    Args:
        model: maps `x` `[rows, *spec.x.shape]` to `[rows, spec.outputs]`; for ranking, item ids `[rows]` to
            scores `[rows]`. It is not changed. Its parameters without `requires_grad` are fixed.
        spec: the model's inputs and outputs.
        loss: as in `reptile`.
        adapted_parameters: as in `reptile`.
        steps: number of inner steps in training, and the default on devices. The memory of an update grows with it.
        lr: step size of the inner steps.
        prior: as in `reptile`.
        inner: "sgd" or "adam".
        momentum: momentum of the inner SGD.
        untrained_parameters: as in `reptile`.
        init: as in `reptile`.
        output: as in `reptile`.

    Raises:
        CompileError: the module cannot be copied, or is not a function of each row alone; see `checked_module`.
        DataError: a pattern in `adapted_parameters` matches nothing or only fixed parameters, or the module does not
            fit `spec`.
        UnknownNameError: no such loss, inner optimiser or `init`.
    """
    ready = adaptable(model, spec, loss, adapted_parameters, init, output)
    knobs = {"steps": float(steps), "lr": lr, "prior": prior}
    learner = _learner("maml", spec, ready, knobs, inner, momentum, first_order=False)
    return with_untrained(learner, ready.module, untrained_parameters)


def fomaml(
    model: nn.Module,
    spec: Spec,
    *,
    loss: str | OutputLoss | None = None,
    adapted_parameters: Sequence[str] | None = None,
    steps: int = 5,
    lr: float = 0.1,
    prior: float = 0.0,
    inner: InnerOptimiser = "sgd",
    momentum: float = 0.0,
    untrained_parameters: Sequence[str] = (),
    init: Init = "module",
    output: OutputName | None = None,
) -> Learner:
    """First-order MAML (Finn et al. 2017, arXiv:1703.03400): `maml` without second derivatives.

    Its memory does not grow with the number of steps.

    Args:
        model: as in `maml`.
        spec: as in `maml`.
        loss: as in `maml`.
        adapted_parameters: as in `maml`.
        steps: as in `maml`.
        lr: as in `maml`.
        prior: as in `maml`.
        inner: as in `maml`.
        momentum: as in `maml`.
        untrained_parameters: as in `reptile`.
        init: as in `maml`.
        output: as in `maml`.

    Raises:
        CompileError: as `maml`.
        DataError: as `maml`.
        UnknownNameError: as `maml`.
    """
    ready = adaptable(model, spec, loss, adapted_parameters, init, output)
    knobs = {"steps": float(steps), "lr": lr, "prior": prior}
    learner = _learner("fomaml", spec, ready, knobs, inner, momentum, first_order=True)
    return with_untrained(learner, ready.module, untrained_parameters)


def _learner(
    name: str,
    spec: Spec,
    ready: Adaptable,
    knobs: Mapping[str, float],
    inner: InnerOptimiser,
    momentum: float,
    *,
    first_order: bool,
) -> Learner:
    tables = find_row_tables(ready.module, ready.loss, spec, ready.adapted)
    adapt = inner_loop(ready.module, ready.loss, ready.adapted, inner, momentum, tables)

    def objective(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> tuple[Tensor, TorchTree]:
        del noise
        run = _run_first_order if first_order else run_steps
        return ready.mean_loss(meta | run(adapt, meta, support, knobs), query, support), {}

    calibration = step_size_candidates(ready, knobs)
    return learner_by_steps(name, PAPER, spec, ready, knobs, adapt, objective, calibration)


def _run_first_order(adapt: Iterated, meta: TorchTree, support: TorchBatch, knobs: Mapping[str, float]) -> TorchTree:
    """`run_steps` whose result has the initialisation's own derivative: the steps count as a constant."""
    stopped = {name: value.detach() for name, value in meta.items()}
    adapted, first = run_steps(adapt, stopped, support, knobs), adapt.begin(meta, support)
    ids = fixed_entries(adapted)
    return {
        name: value if name in ids else first[name] + (value - first[name]).detach() for name, value in adapted.items()
    }
