"""Learners other than Reptile: adaptation without steps, and noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.compile.families import ROWS_OF_4, mlp
from tests.compile.running import input_names, knobs, rows, run, stacked, start
from torch import Tensor

from tegu.compile import compile_cohort, compile_learner
from tegu.compile.graphs import Plan, _adapt_cases
from tegu.core.errors import DataError
from tegu.learners import reptile
from tegu.learners.learner import TorchBatch, TorchKnobs, TorchTree

BASE = reptile(mlp(), ROWS_OF_4, steps=1, init="fresh")


def shifted(meta: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
    """Add the mean input and noise to the first layer's bias."""
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


def test_each_user_of_a_cohort_has_its_own_noise() -> None:
    meta, users = start(BASE), stacked([rows(ROWS_OF_4, 5, seed=seed, padding=2) for seed in range(3)])
    noise = np.arange(18, dtype=np.float32).reshape(3, 6)
    graphs = compile_cohort(NOISY)
    found = run(graphs.adapt, meta=meta, support=users, knob=knobs(BASE, lr=0.5), noise=noise)
    means = users.x[:, :5].sum((1, 2))[:, None] / 5
    np.testing.assert_allclose(found["state.0.bias"], meta["0.bias"] + 0.5 * (means + noise), rtol=1e-4)


def test_a_graph_is_also_checked_with_the_unadapted_knobs() -> None:
    """A graph that adapts with these knobs would disagree with torch."""
    first, second, unadapted = ({"knob.share": torch.tensor(share)} for share in (1.0, 2.0, 0.0))
    cases = _adapt_cases(Plan({}, {}, {}, [first, second], unadapted))
    assert [float(case["knob.share"]) for case in cases] == [1.0, 2.0, 0.0]


def test_unadapted_without_a_value_for_every_knob_raises() -> None:
    with pytest.raises(
        DataError, match=r"unadapted has the knobs \['steps'\] and the learner \['lr', 'prior', 'steps'\]"
    ):
        replace(BASE, unadapted={"steps": 0.0})


def test_a_repeated_step_without_a_steps_knob_raises() -> None:
    with pytest.raises(DataError, match="reptile repeats a step and has the knobs \\['lr'\\]: expected 'steps'"):
        replace(BASE, knobs={"lr": 0.1}, unadapted={"lr": 0.0})
