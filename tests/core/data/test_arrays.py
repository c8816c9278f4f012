from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch
from tests.core.samples import refused, same_array

from tegu.core.data.arrays import as_array, check_numbers
from tegu.core.errors import DataError


class CsrMatrix:
    """As those of scipy."""

    def toarray(self) -> Any:
        return VALUES


VALUES = np.array([[1.5, -2.0], [0.25, 4.0]], np.float32)


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor(VALUES),
        torch.tensor(VALUES, requires_grad=True),
        torch.tensor(VALUES, requires_grad=True) * 1,
        torch.tensor(VALUES).bfloat16(),
        nn_parameter := torch.nn.Parameter(torch.tensor(VALUES)),
        [*nn_parameter],
        torch.tensor(VALUES.T).T,
    ],
)
def test_tensors_give_their_values(value: Any) -> None:
    assert same_array(as_array("x", value), VALUES)


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (torch.tensor(VALUES).to_sparse(), ("x is a tensor", "sparse_coo", "to_dense()")),
        (CsrMatrix(), ("x is a sparse CsrMatrix", "toarray()")),
        ([[1.0], [1.0, 2.0]], ("x is not an array", "same shape")),
        (torch.tensor(VALUES).to("meta"), ("x is not an array",)),
    ],
)
def test_what_has_no_rows_is_refused(value: Any, parts: tuple[str, ...]) -> None:
    with refused(DataError, *parts):
        as_array("x", value)


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ([2**70, 1], ("object", "int", "64 bits", "return_inverse")),
        ([1.0, None], ("object", "NoneType", "drop or impute")),
        ([Decimal(1)], ("object", "Decimal", "astype(np.float32)")),
        (np.array([[1], [1, 2]], object), ("object", "list", "pad them")),
        (np.array(["a", 1], object), ("int and str", "map words to codes")),
        ([1j], ("complex128", "real and imaginary")),
        (["a"], ("<U1", "map words to codes")),
        (np.array(["2020-01-01"], "M8[D]"), ("datetime64[D]", "origin")),
        (np.array([3], "m8[s]"), ("timedelta64[s]", "divide by a unit")),
        (np.zeros(1, [("a", int)]), ("expected numbers",)),
    ],
)
def test_what_holds_no_numbers_is_refused(value: Any, parts: tuple[str, ...]) -> None:
    with refused(DataError, "x has dtype", *parts):
        check_numbers("x", np.asarray(value))
