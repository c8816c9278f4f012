"""A model is a function of its input: randomness is refused or off, and messages name the module."""

from __future__ import annotations

import itertools
import logging
import random

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from tegu.core.data.spec import Spec
from tegu.core.errors import CompileError, DataError
from tegu.learners.modules.checks import checked_module

SPEC = Spec.classification((4,), 3)
COUNTER = itertools.count(1)


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def model(layer):
    return nn.Sequential(nn.Linear(4, 6), nn.Sequential(nn.Tanh(), layer), nn.Linear(6, 3))


RANDOM = {
    "rand": lambda x: x + torch.rand(6),
    "randn_like": lambda x: x + torch.randn_like(x),
    "normal": lambda x: torch.normal(x, 0.1),
    "bernoulli": lambda x: x * torch.bernoulli(torch.full_like(x, 0.5)),
    "uniform_": lambda x: x * torch.empty_like(x).uniform_(),
    "gumbel_softmax": lambda x: F.gumbel_softmax(x, hard=True),
    "distribution": lambda x: torch.distributions.Normal(x, 1.0, validate_args=False).rsample(),
    "multinomial": lambda x: x + torch.multinomial(x.softmax(-1), 1),
}


@pytest.mark.parametrize("name", RANDOM)
def test_random_numbers_in_forward_are_refused(name):
    message = r"^1\.1 \(Apply\): \S+ draws random numbers in forward.*if self\.training"
    with pytest.raises(CompileError, match=message):
        checked_module(model(Apply(RANDOM[name])), SPEC)


@pytest.mark.parametrize("function", [lambda x: x * random.random(), lambda x: x * next(COUNTER)])
def test_a_module_that_differs_from_call_to_call_is_refused(function):
    message = r"^1\.1 \(Apply\) gives another output when it is called again"
    with pytest.raises(CompileError, match=message):
        checked_module(model(Apply(function)), SPEC)


@pytest.mark.parametrize(
    "dropout", [F.dropout, lambda x: F.alpha_dropout(x, training=True), lambda x: torch.dropout(x, 0.5, True)]
)
def test_functional_dropout_is_off_and_the_note_names_the_module(dropout, caplog):
    with caplog.at_level(logging.INFO, "tegu"):
        checked_module(model(Apply(dropout)), SPEC)
    assert "1.1 (Apply) calls F.dropout without training=self.training: dropout is off" in caplog.text


@pytest.mark.parametrize(
    "layer", [nn.Dropout(0.5), nn.RReLU(), Apply(lambda x: F.dropout(F.alpha_dropout(x), 0.5, False))]
)
def test_layers_that_evaluation_switches_off_are_no_news(layer, caplog):
    with caplog.at_level(logging.INFO, "tegu"):
        checked_module(model(layer), SPEC)
    assert "dropout" not in caplog.text


def test_noise_in_training_only_is_no_randomness():
    class Noisy(nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x) if self.training else x

    checked_module(model(Noisy()), SPEC)


def test_an_exception_in_a_module_names_it():
    with pytest.raises(DataError, match=r"^1\.1 \(Apply\) fails on x of shape \(3, 4\).*ZeroDivisionError"):
        checked_module(model(Apply(lambda x: x / (1 // 0))), SPEC)
