"""Learners that are not Reptile: adaptation in one go, and noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.compile.families import ROWS_OF_4, mlp
from tests.compile.running import input_names, knobs, rows, run, start
from torch import Tensor

from tegu.compile import CohortGraphs, compile_cohort, compile_cohort_updates, compile_learner
from tegu.core.errors import CompileError
from tegu.learners import reptile
from tegu.learners.learner import Learner, TorchBatch, TorchKnobs, TorchTree

BASE = reptile(mlp(), ROWS_OF_4, steps=1)


def shifted(meta: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
    """The mean input, plus noise, onto the first layer's bias."""
    mean = (support.x * support.mask.unsqueeze(-1)).sum() / support.mask.sum().clamp(min=1)
    return {"0.bias": meta["0.bias"] + knobs["lr"] * (mean + noise)}


NOISY = replace(BASE, name="noisy", fast=("0.bias",), adapt=shifted, noise=6)


def test_noise_is_an_input() -> None:
    meta, support, noise = start(BASE), rows(ROWS_OF_4, 5, padding=2), np.arange(6, dtype=np.float32)
    graphs = compile_learner(NOISY)
    found = run(graphs["adapt"], meta=meta, support=support, knob=knobs(BASE, lr=0.5), noise=noise)
    expected = meta["0.bias"] + 0.5 * (support.x[:5].sum() / 5 + noise)
    np.testing.assert_allclose(found["state.0.bias"], expected, rtol=1e-4)
    assert input_names(graphs["adapt"]) == {"meta.0.bias", "support.x", "support.mask", "knob.lr", "noise"}


@pytest.mark.parametrize(
    "compiled",
    [compile_cohort, lambda learner: compile_cohort_updates(learner, CohortGraphs(b"", b"", b""))],
    ids=["whole", "updates"],
)
@pytest.mark.parametrize("learner", [NOISY, replace(NOISY, noise=0), replace(BASE, name="noisy", noise=6)])
def test_cohorts_take_iterated_learners_without_noise(learner: Learner, compiled: Callable[[Learner], object]) -> None:
    with pytest.raises(CompileError, match="noisy draws noise or is not iterated: expected an iterated learner"):
        compiled(learner)
