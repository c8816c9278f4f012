"""Optimisers by name."""

from __future__ import annotations

import pytest
import torch
import torch_optimizer

from tegu.core.errors import DataError, UnknownNameError
from tegu.learners.inner_loop.optimisers import optimiser_class, optimiser_names


@pytest.mark.parametrize("name", ["Adam", "adam", "ADAM"])
def test_capitals_do_not_matter(name):
    assert optimiser_class(name) is torch.optim.Adam


def test_torch_optimizer_is_included():
    assert optimiser_class("lamb") is torch_optimizer.Lamb


def test_torch_has_priority():
    assert optimiser_class("RAdam") is torch.optim.RAdam
    assert torch_optimizer.RAdam is not torch.optim.RAdam


@pytest.mark.parametrize(("name", "nearest"), [("Addam", "Adam"), ("SDG", "SGD"), ("rms-prop", "RMSprop")])
def test_the_most_similar_name_is_suggested(name, nearest):
    with pytest.raises(UnknownNameError, match=rf"no optimiser is called '{name}'. Did you mean '{nearest}'\?"):
        optimiser_class(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("LBFGS", "evaluates the loss several times"),
        ("SparseAdam", "takes sparse gradients alone"),
        ("Lookahead", "wraps another optimiser"),
        ("adahessian", "takes second derivatives"),
    ],
)
def test_optimisers_that_need_more_than_a_gradient_are_refused_with_the_reason(name, why):
    with pytest.raises(DataError, match=rf"{why}.* choose another optimiser, such as Adam"):
        optimiser_class(name)


def test_the_names_are_all_of_both_packages_but_those_that_are_refused():
    found = {
        name
        for package in (torch.optim, torch_optimizer)
        for name, value in vars(package).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
    }
    assert set(optimiser_names()) == found - {"LBFGS", "SparseAdam", "Lookahead", "Adahessian"}
    assert len(optimiser_names()) >= 37
    assert optimiser_names()[:3] == ["A2GradExp", "A2GradInc", "A2GradUni"]


def test_the_base_class_is_no_optimiser():
    with pytest.raises(UnknownNameError, match="no optimiser is called 'Optimizer'"):
        optimiser_class("Optimizer")
