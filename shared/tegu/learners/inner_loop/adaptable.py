"""A module that is ready to adapt: checked, with the names of the parameters that adapt and of those that are fixed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.learners.inner_loop.gradient_steps import mean_loss, row_losses
from tegu.learners.learner import Source, TorchBatch, TorchTree
from tegu.learners.modules.checks import checked_module
from tegu.learners.modules.functional import call
from tegu.learners.modules.initial_values import (
    Init,
    adapted_parameter_names,
    check_init,
    fixed_parameter_names,
    initial_parameters,
    reset_statistics,
)
from tegu.learners.modules.losses import Loss, OutputLoss, find_loss
from tegu.learners.modules.named_output import OutputName

__all__ = ["Adaptable", "adaptable"]


class Adaptable(NamedTuple):
    """A checked module with its loss.

    Attributes:
        module: a copy of the module, in evaluation mode.
        loss: the loss per row.
        adapted: names of the parameters that adapt.
        fixed: names of the parameters that nothing changes.
        init: seed -> all parameters, float32 arrays.
        source: what the learner was built from.
    """

    module: nn.Module
    loss: Loss
    adapted: tuple[str, ...]
    fixed: tuple[str, ...]
    init: Callable[[int], Tree]
    source: Source

    def __repr__(self) -> str:
        return f"Adaptable({type(self.module).__name__}, {len(self.adapted)} adapted parameters)"

    def output(self, parameters: TorchTree, x: Tensor) -> Tensor:
        """The module's output for `x` `[rows, ...]` with these parameters."""
        return call(self.module, parameters, x)

    def row_losses(self, parameters: TorchTree, batch: TorchBatch) -> Tensor:
        """The loss of each row `[rows]` with these parameters."""
        return row_losses(self.module, self.loss, parameters, batch)

    def mean_loss(self, parameters: TorchTree, batch: TorchBatch, support: TorchBatch | None = None) -> Tensor:
        """The masked mean loss, a scalar; `support` is what the parameters were adapted on."""
        return mean_loss(self.module, self.loss, parameters, batch, support)


def adaptable(
    model: nn.Module,
    spec: Spec,
    loss: str | OutputLoss | None,
    adapted_parameters: Sequence[str] | None,
    init: Init,
    output: OutputName | None,
) -> Adaptable:
    """Check a module and everything that a learner was given with it; see `reptile` for the arguments.

    Raises:
        CompileError: the module cannot be copied, or is not a function of each row alone; see `checked_module`.
        DataError: a pattern in `adapted_parameters` matches nothing or only fixed parameters, or the module does not
            fit `spec`.
        UnknownNameError: no such loss or `init`.
    """
    init = check_init(init)
    module = checked_module(model, spec, output)
    if init == "fresh":
        reset_statistics(module)
    return Adaptable(
        module,
        find_loss(loss, spec),
        adapted_parameter_names(module, adapted_parameters),
        fixed_parameter_names(module),
        lambda seed: initial_parameters(module, seed, init),
        Source(module, loss),
    )
