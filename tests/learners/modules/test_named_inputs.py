"""Modules with several inputs get named tensors, in the way that their forward takes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tegu.core import Spec, booleans, ids, reals
from tegu.core.data.scaling import Scaling
from tegu.core.data.spec import check_x
from tegu.core.errors import DataError
from tegu.learners import reptile
from tegu.learners.modules.checks import checked_module
from tegu.learners.modules.standardised import Standardised

SPEC = Spec.classification({"tokens": ids(9, 4), "mask": booleans(4), "age": reals()}, 2)
ROWS = {
    "tokens": np.array([[1, 8, 0, 0], [2, 3, 4, 5]]),
    "mask": np.array([[True, True, False, False], [True] * 4]),
    "age": np.array([31.5, 40]),
}


class ByName(nn.Module):
    """Mean embedding of unmasked tokens beside a number; the parameters of forward are in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(9, 3), nn.Linear(4, 2)

    def forward(self, age: Tensor, mask: Tensor, tokens: Tensor) -> Tensor:
        assert (age.dtype, mask.dtype, tokens.dtype) == (torch.float32, torch.bool, torch.int64)
        kept = mask.unsqueeze(-1).float()
        mean = (self.table(tokens) * kept).sum(1) / kept.sum(1).clamp(min=1)
        return self.head(torch.cat([mean, age.unsqueeze(-1)], -1))


class ByKeywords(ByName):
    def forward(self, **given: Tensor) -> Tensor:
        return super().forward(**given)


class ByPosition(ByName):
    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return super().forward(c, b, a)


class ByPositions(ByName):
    def forward(self, *given: Tensor) -> Tensor:
        return super().forward(given[2], given[1], given[0])


class ByMapping(ByName):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return super().forward(**batch)


FORMS = [ByName, ByKeywords, ByPosition, ByPositions, ByMapping]


def expected_of(model: ByName) -> Tensor:
    return ByName.forward(
        model, torch.tensor(ROWS["age"]).float(), torch.tensor(ROWS["mask"]), torch.tensor(ROWS["tokens"])
    )


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_forward_gets_its_tensors(form: type[ByName]) -> None:
    model = form()
    checked = checked_module(model, SPEC)
    assert torch.equal(checked(torch.from_numpy(check_x(SPEC, ROWS))), expected_of(model))
    assert [name for name, _ in checked.named_parameters()] == [name for name, _ in model.named_parameters()]


def test_the_given_module_does_not_change() -> None:
    model = ByName()
    reptile(model, SPEC)
    assert torch.equal(model(*(torch.tensor(ROWS[name]).to(kind) for name, kind in KINDS.items())), expected_of(model))


KINDS = {"age": torch.float32, "mask": torch.bool, "tokens": torch.int64}


def test_parts_of_the_module_adapt_by_name() -> None:
    assert reptile(ByName(), SPEC, adapted_parameters=["head"]).adapted_parameters == ("head.weight", "head.bias")


def test_named_inputs_arrive_inside_of_standardised_rows() -> None:
    model = ByName()
    mean, std = np.zeros(9, np.float32), np.ones(9, np.float32)
    mean[8], std[8] = 30, 10
    checked = checked_module(Standardised(model, Scaling(mean, std), None), SPEC)
    rows = check_x(SPEC, ROWS | {"age": np.array([345.0, 430.0])})  # standardised, these are 31.5 and 40
    assert torch.allclose(checked(torch.from_numpy(rows)), expected_of(model), atol=1e-5)


def test_a_picture_with_numbers() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.filters, self.head = nn.Conv2d(3, 4, 3), nn.Linear(6, 2)

        def forward(self, picture: Tensor, place: Tensor) -> Tensor:
            return self.head(torch.cat([self.filters(picture).mean((2, 3)), place], -1))

    spec = Spec.regression({"picture": reals(3, 5, 6), "place": reals(2)}, 2)
    model = Both()
    picture, place = torch.randn(4, 3, 5, 6), torch.randn(4, 2)
    packed = check_x(spec, {"picture": picture, "place": place})
    assert torch.allclose(checked_module(model, spec)(torch.from_numpy(packed)), model(picture, place), atol=1e-6)


def test_a_forward_that_does_not_take_the_inputs_is_refused() -> None:
    class Two(ByName):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return super().forward(a, b, b)

    with pytest.raises(DataError, match="parameters a, b and the spec has the inputs tokens, mask, age: expected a"):
        reptile(Two(), SPEC)
