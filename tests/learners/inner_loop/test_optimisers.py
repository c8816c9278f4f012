"""Optimisers by name."""

from __future__ import annotations

import pytest
import torch
import torch_optimizer

from tegu.core.errors import UnknownNameError
from tegu.learners.inner_loop.optimisers import optimiser_class


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


@pytest.mark.parametrize("name", ["LBFGS", "SparseAdam", "Lookahead", "Optimizer", "Shampoo"])
def test_optimisers_that_need_more_than_a_gradient_are_excluded(name):
    with pytest.raises(UnknownNameError):
        optimiser_class(name)
