"""Meta-SGD: learn the initialisation and a step size for every entry of it, together.

Li, Zhou, Chen, Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", 2017, arXiv:1707.09835.

    adapt   K steps of theta - alpha * gradient of the support's loss, where alpha has the shape of theta
    update  the gradient of the query's loss after adapting, for theta and for alpha

The entry `name/lr_factor` of `meta` is alpha divided by `lr`, so that it starts at 1. An entry may become negative: the
paper learns the direction of a step as well as its length. The paper takes one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from tegu.core.data.spec import Spec
from tegu.learners.algorithms.by_steps import learner_by_steps, step_size_candidates
from tegu.learners.inner_loop.adaptable import adaptable
from tegu.learners.inner_loop.gradient_steps import inner_loop, run_steps
from tegu.learners.inner_loop.untrained import with_untrained
from tegu.learners.learner import Learner, TorchBatch, TorchTree
from tegu.learners.modules.initial_values import Init
from tegu.learners.modules.losses import OutputLoss
from tegu.learners.modules.named_output import OutputName
from tegu.learners.parameters.step_sizes import initial_factors

__all__ = ["PAPER", "meta_sgd"]

PAPER = "Li et al. 2017, Meta-SGD: Learning to Learn Quickly for Few-Shot Learning, arXiv:1707.09835"


def meta_sgd(
    model: nn.Module,
    spec: Spec,
    *,
    loss: str | OutputLoss | None = None,
    adapted_parameters: Sequence[str] | None = None,
    steps: int = 1,
    lr: float = 0.1,
    prior: float = 0.0,
    untrained_parameters: Sequence[str] = (),
    init: Init = "module",
    output: OutputName | None = None,
) -> Learner:
    """Meta-SGD (Li et al. 2017, arXiv:1707.09835): learn the initialisation and a step size for every entry of it.

    It takes any module that is a function of its parameters and its input.

    Args:
        model: as in `maml`.
        spec: the model's inputs and outputs.
        loss: as in `maml`.
        adapted_parameters: as in `maml`. A bundle holds a step size for every entry of them.
        steps: number of inner steps in training, and the default on devices.
        lr: the first step size of every entry; as a knob, a factor on all learned ones is this knob over its default.
        prior: as in `reptile`.
        untrained_parameters: as in `reptile`.
        init: as in `reptile`.
        output: as in `reptile`.

    Raises:
        CompileError: as `maml`.
        DataError: as `maml`.
        UnknownNameError: as `maml`.
    """
    ready = adaptable(model, spec, loss, adapted_parameters, init, output)
    knobs = {"steps": float(steps), "lr": lr, "prior": prior}
    adapt = inner_loop(ready.module, ready.loss, ready.adapted, "sgd")

    def objective(meta: TorchTree, support: TorchBatch, query: TorchBatch, noise: Tensor) -> tuple[Tensor, TorchTree]:
        del noise
        return ready.mean_loss(meta | run_steps(adapt, meta, support, knobs), query, support), {}

    learner = learner_by_steps(
        "meta_sgd", PAPER, spec, ready, knobs, adapt, objective, step_size_candidates(ready, knobs)
    )
    learner = replace(learner, init=lambda seed: {**ready.init(seed), **initial_factors(ready.module, ready.adapted)})
    return with_untrained(learner, ready.module, untrained_parameters)
