"""A module in units of its own: inputs and targets as they come, numbers around 0 inside.

One step size serves all data only where numbers are of one size: at a rate of 0.1, sensors that read in hundreds blow a
gradient step up, and readings of a thousandth do not move it (LeCun et al. 1998, "Efficient BackProp", section 4.3).
Means and spreads are constants of the graphs; devices hand over their rows as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tegu.core.data.scaling import Scaling
from tegu.learners.modules.losses import OutputLoss

__all__ = ["Standardised", "squared_error_in"]


class Standardised(nn.Module):
    """`model` between two changes of unit; its parameters are those of `model`, as `model.<name>`.

    Args:
        model: takes standardised inputs, and gives outputs in units of `y`'s spread around its mean.
        x: of the inputs; None to leave them as they are.
        y: of the targets; None to leave outputs as they are.
    """

    x_mean: Tensor
    x_std: Tensor
    y_mean: Tensor
    y_std: Tensor

    def __init__(self, model: nn.Module, x: Scaling | None, y: Scaling | None) -> None:
        super().__init__()
        self.model = model
        for name, standard in (("x", x), ("y", y)):
            for part, value in zip(Scaling._fields, standard or (0.0, 1.0), strict=True):
                self.register_buffer(f"{name}_{part}", torch.as_tensor(value, dtype=torch.float32))
        self._takes, self._gives = x is not None, y is not None

    def forward(self, x: Tensor) -> Tensor:
        """The model's outputs `[rows, ...]` for inputs `[rows, ...]`, both in their own units."""
        output: Tensor = self.model((x - self.x_mean) / self.x_std if self._takes else x)
        return output * self.y_std + self.y_mean if self._gives else output


def squared_error_in(y: Scaling) -> OutputLoss:
    """Squared error in units of the targets' spread: `(output, y) -> [rows]`, averaged over targets."""
    spread = torch.as_tensor(y.std, dtype=torch.float32)

    def rows(output: Tensor, wanted: Tensor) -> Tensor:
        return ((output - wanted) / spread).square().mean(-1)

    return rows
