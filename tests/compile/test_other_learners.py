"""Learners that are not Reptile: adaptation in one go, and noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.compile.families import ROWS_OF_4, mlp
from tests.compile.running import input_names, knobs, rows, run, stacked, start
from torch import Tensor

from tegu.compile import compile_cohort, compile_learner
from tegu.compile.graphs import Plan, _adapt_cases
from tegu.core.errors import DataError
from tegu.learners import reptile
from tegu.learners.learner import TorchBatch, TorchKnobs, TorchTree

BASE = reptile(mlp(), ROWS_OF_4, steps=1)


def shifted(meta: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
    """The mean input, plus noise, onto the first layer's bias."""
    mean = (support.x * support.mask.unsqueeze(-1)).sum() / support.mask.sum().clamp(min=1)
    return {"0.bias": meta["0.bias"] + knobs["lr"] * (mean + noise)}


NOISY = replace(BASE, name="noisy", adapted_parameters=("0.bias",), adapt=shifted, noise=6)


def test_noise_is_an_input() -> None:
    meta, support, noise = start(BASE), rows(ROWS_OF_4, 5, padding=2), np.arange(6, dtype=np.float32)
    graphs = compile_learner(NOISY)
    found = run(graphs["adapt"], meta=meta, support=support, knob=knobs(BASE, lr=0.5), noise=noise)
    expected = meta["0.bias"] + 0.5 * (support.x[:5].sum() / 5 + noise)
    np.testing.assert_allclose(found["state.0.bias"], expected, rtol=1e-4)
    assert input_names(graphs["adapt"]) == {"meta.0.bias", "support.x", "support.mask", "knob.lr", "noise"}


def test_a_cohort_has_noise_of_each_users_own():
    meta, users = start(BASE), stacked([rows(ROWS_OF_4, 5, seed=seed, padding=2) for seed in range(3)])
    noise = np.arange(18, dtype=np.float32).reshape(3, 6)
    graphs = compile_cohort(NOISY)
    found = run(graphs.adapt, meta=meta, support=users, knob=knobs(BASE, lr=0.5), noise=noise)
    means = users.x[:, :5].sum((1, 2))[:, None] / 5
    np.testing.assert_allclose(found["state.0.bias"], meta["0.bias"] + 0.5 * (means + noise), rtol=1e-4)


def test_the_check_tries_the_knobs_by_which_nobody_adapts():
    """A graph that adapts all the same would be found out, for torch says otherwise."""
    cases = _adapt_cases(Plan({}, {}, {}, [{"knob.share": 1.0}, {"knob.share": 2.0}], {"knob.share": 0.0}))
    assert [case["knob.share"] for case in cases] == [1.0, 2.0, 0.0]


def test_a_learner_names_a_value_of_every_knob_by_which_nobody_adapts():
    with pytest.raises(
        DataError, match=r"unadapted has the knobs \['steps'\] and the learner \['lr', 'prior', 'steps'\]"
    ):
        replace(BASE, unadapted={"steps": 0.0})


def test_a_repeated_step_needs_a_number_of_steps():
    with pytest.raises(DataError, match="reptile repeats a step and has the knobs \\['lr'\\]: expected 'steps'"):
        replace(BASE, knobs={"lr": 0.1}, unadapted={"lr": 0.0})
