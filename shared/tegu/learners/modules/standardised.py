"""A module that standardises its inputs and targets: raw values outside, values around 0 inside.

One step size fits all data sets only if values have a similar scale. At a step size of 0.1, sensor readings in the
hundreds make gradient steps diverge, and readings of a thousandth have no effect (LeCun et al. 1998, "Efficient
BackProp", section 4.3). Means and standard deviations are constants of the graphs, so devices pass their rows unscaled.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tegu.core.data.scaling import Scaling
from tegu.learners.modules.losses import OutputLoss

__all__ = ["Standardised", "squared_error_in"]


class Standardised(nn.Module):
    """`model` with scaled inputs and outputs; its parameters are those of `model`, named `model.<name>`.

    Args:
        model: maps standardised inputs to standardised outputs.
        x: scaling of the inputs; None leaves them unchanged.
        y: scaling of the targets; None leaves the outputs unchanged.
    """

    x_mean: Tensor
    x_std: Tensor
    y_mean: Tensor
    y_std: Tensor

    def __init__(self, model: nn.Module, x: Scaling | None, y: Scaling | None) -> None:
        super().__init__()
        self.model = model
        for name, scaling in (("x", x), ("y", y)):
            for part, value in zip(Scaling._fields, scaling or (0.0, 1.0), strict=True):
                self.register_buffer(f"{name}_{part}", torch.as_tensor(value, dtype=torch.float32))
        self._scales_input, self._scales_output = x is not None, y is not None

    def forward(self, x: Tensor) -> Tensor:
        """The model's outputs `[rows, ...]` for inputs `[rows, ...]`, both unscaled."""
        output: Tensor = self.model((x - self.x_mean) / self.x_std if self._scales_input else x)
        return output * self.y_std + self.y_mean if self._scales_output else output


def squared_error_in(y: Scaling) -> OutputLoss:
    """Squared error in units of the targets' standard deviation: `(output, y) -> [rows]`, averaged over targets."""
    std = torch.as_tensor(y.std, dtype=torch.float32)

    def rows(output: Tensor, target: Tensor) -> Tensor:
        return ((output - target) / std).square().mean(-1)

    return rows
