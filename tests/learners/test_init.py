"""The initialisation depends on the seed only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.learners.toys import FEATURES, SPEC, mlp
from torch import nn

from tegu.core.data.tree import digest
from tegu.core.errors import DataError
from tegu.learners import reptile


def test_the_initialisation_depends_on_the_seed_and_not_on_the_models_values():
    first, second = reptile(mlp(), SPEC, init="fresh"), reptile(mlp(), SPEC, init="fresh")
    assert digest(first.init(3)) == digest(second.init(3))
    assert digest(first.init(3)) != digest(first.init(4))
    assert all(value.dtype == np.float32 for value in first.init(3).values())


def test_the_global_random_state_does_not_change():
    learner = reptile(mlp(), SPEC, init="fresh")
    before = torch.get_rng_state()
    learner.init(7)
    assert torch.equal(torch.get_rng_state(), before)


def test_building_and_init_do_not_change_the_model():
    model = mlp().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    reptile(model, SPEC, init="fresh").init(1)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_init_returns_copies():
    learner = reptile(mlp(), SPEC, init="fresh")
    learner.init(0)["0.bias"][:] = 99
    assert learner.init(0)["0.bias"].max() < 99


def test_a_module_may_override_the_initialisation_of_its_parts():
    class Zeroed(nn.Linear):
        def reset_parameters(self):
            nn.init.zeros_(self.weight)
            nn.init.ones_(self.bias)

    start = reptile(nn.Sequential(nn.Linear(FEATURES, 5), Zeroed(5, 3)), SPEC, init="fresh").init(0)
    assert not start["1.weight"].any()
    assert start["1.bias"].all()
    assert start["0.weight"].all()


@pytest.mark.parametrize(
    ("adapted_parameters", "expected"),
    [
        (None, ("0.weight", "0.bias", "2.weight", "2.bias")),
        (["2"], ("2.weight", "2.bias")),
        (["*.bias"], ("0.bias", "2.bias")),
        (["2.bias", "0"], ("0.weight", "0.bias", "2.bias")),
    ],
)
def test_adapted_parameters_by_name_and_pattern(adapted_parameters, expected):
    assert reptile(mlp(), SPEC, adapted_parameters=adapted_parameters, init="fresh").adapted_parameters == expected


def test_a_pattern_that_matches_nothing():
    with pytest.raises(
        DataError, match=r"adapted_parameters='head\.\*' matches no parameter: expected one of 0\.weight, 0\.bias"
    ):
        reptile(mlp(), SPEC, adapted_parameters=["head.*"], init="fresh")
