"""The step of residual correction is compiled once for all models whose features and outputs have the same sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tegu.compile import compile_learner
from tegu.compile.tracing import shared_step
from tegu.compile.tracing.cache import CACHE_VARIABLE
from tegu.core.data.spec import Spec
from tegu.core.errors import CompileError
from tegu.learners import residual_correction
from tegu.learners.learner import Iterated, Learner

SPEC = Spec.regression((4,), 2)


def learner(*layers: nn.Module, width: int = 4, spec: Spec = SPEC, **options: bool) -> Learner:
    return residual_correction(nn.Sequential(*layers, nn.Linear(width, 2)), spec, **options)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The steps that were recorded, by name. Graphs are kept in a folder that is empty at first."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "graphs"))
    names, original = list[str](), shared_step.trace
    monkeypatch.setattr(shared_step, "trace", lambda sources: names.extend(sources) or original(sources))
    return names


def test_another_model_with_features_of_the_same_width_has_the_same_step(recorded: list[str]) -> None:
    compile_learner(learner(nn.Tanh()))
    compile_learner(learner(nn.Linear(4, 4), nn.ReLU()))
    assert len(recorded) == 1


def test_another_width_kind_level_order_or_kernel_is_another_step(recorded: list[str]) -> None:
    for each in (
        learner(nn.Tanh()),
        learner(nn.Linear(4, 5), width=5),
        learner(nn.Tanh(), spec=Spec.classification((4,), 2)),
        learner(nn.Tanh(), level=True),
        learner(nn.Tanh(), ordered=True),
        learner(nn.Tanh(), normalise_features=False),
    ):
        compile_learner(each)  # compared with torch
    assert len(recorded) == 6


def test_a_step_that_reads_the_model_must_not_claim_an_identity(recorded: list[str]) -> None:
    plain = learner(nn.Tanh())
    assert isinstance(plain.adapt, Iterated)
    step = plain.adapt.step

    def reads_meta(meta: dict[str, Tensor], carry: dict[str, Tensor], *others: object) -> dict[str, Tensor]:
        found = step(meta, carry, *others)  # type: ignore[arg-type]
        return {**found, "weights": found["weights"] + torch.sum(meta["1.bias"])}

    adapt = replace(plain.adapt, step=reads_meta)  # type: ignore[arg-type]
    with pytest.raises(CompileError, match=r"reads meta\.1\.bias: a step with an identity"):
        compile_learner(replace(plain, adapt=adapt))
    compile_learner(replace(plain, adapt=replace(adapt, step_identity="")))
    assert len(recorded) == 1
