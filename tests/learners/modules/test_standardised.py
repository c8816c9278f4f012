"""Scaled inputs and outputs of a module, computed by hand."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from tegu.core.data.scaling import Scaling
from tegu.learners.modules.standardised import Standardised, squared_error_in

X, Y = (
    Scaling(np.asarray([1.0, -2.0], np.float32), np.asarray([4.0, 0.5], np.float32)),
    Scaling(*np.float32([[7], [3]])),
)


def test_inputs_and_outputs_are_scaled() -> None:
    model = nn.Linear(2, 1)
    rows = torch.tensor([[5.0, -2.0], [1.0, -1.0]])
    inside = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    torch.testing.assert_close(Standardised(model, X, Y)(rows), model(inside) * 3 + 7)
    torch.testing.assert_close(Standardised(model, X, None)(rows), model(inside))
    torch.testing.assert_close(Standardised(model, None, Y)(rows), model(rows) * 3 + 7)
    assert [name for name, _ in Standardised(model, X, Y).named_parameters()] == ["model.weight", "model.bias"]


def test_the_error_is_in_units_of_the_standard_deviation() -> None:
    error = squared_error_in(Scaling(np.zeros(2, np.float32), np.asarray([1.0, 10.0], np.float32)))
    found = error(torch.tensor([[2.0, 30.0], [0.0, 0.0]]), torch.tensor([[0.0, 10.0], [1.0, 0.0]]))
    assert found.tolist() == [(4 + 4) / 2, 0.5]


def test_without_scaling_ids_are_unchanged() -> None:
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 1))
    assert Standardised(model, None, None)(torch.tensor([1, 4])).shape == (2, 1)
