"""Models that cannot be compiled raise errors that say why, and compiling leaves no global state changed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.compile.families import ROWS_OF_4, SINGLE, mlp
from torch import Tensor, nn

from tegu.compile import compile_cohort, compile_learner
from tegu.compile.operators.convolution import dispatch
from tegu.compile.tracing.cache import CACHE_VARIABLE
from tegu.core.data.spec import Spec
from tegu.core.errors import CompileError, DataError
from tegu.learners import reptile
from tegu.learners.learner import Learner


class Branching(nn.Linear):
    """A layer whose control flow depends on the data."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if (x * 0).sum() >= 0 else x[:, :3]


class ForThirteenRows(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (2 if x.shape[0] == 13 else 1)


class Counted(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).reshape(len(x), -1)


class Bessel(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)


def global_state() -> tuple[object, ...]:
    names = ("torch.onnx", "torch._subclasses.fake_tensor", "onnxscript", "onnx_ir")
    levels = [logging.getLogger(name).level for name in names]
    return levels, list(warnings.filters), torch.get_num_threads(), torch.is_grad_enabled()


@pytest.fixture(autouse=True)
def global_state_is_restored() -> Iterator[None]:
    before = global_state()
    yield
    assert global_state() == before


def test_compiling_leaves_the_random_generator_unchanged() -> None:
    learner = reptile(nn.Sequential(nn.Linear(4, 3)), ROWS_OF_4, steps=1, init="fresh")
    before = torch.get_rng_state()
    compile_learner(learner)
    assert torch.equal(torch.get_rng_state(), before)


INVALID = [
    pytest.param(
        Branching(4, 3),
        r"^the model \(Branching\) at test_errors.py, line \d+: return .*: the adapt step graph.*"
        r"control flow or a shape depends on the data.*torch\.where",
        id="branch",
    ),
    pytest.param(
        Counted(4, 3), r"^the model \(Counted\) at test_errors.py.*write x\.shape\[0\] in its place", id="len"
    ),
    pytest.param(
        ForThirteenRows(4, 3),
        r"^the model \(ForThirteenRows\): axis 0 of .*support\.\w+ is fixed at its example's size of 13",
        id="rows",
    ),
    pytest.param(
        mlp(nn.Sequential(nn.Tanh(), Bessel())),
        r"^1\.1 \(Bessel\): the .* graph cannot be compiled: .*bessel_j0.*write the model without it",
        id="operator",
    ),
]


@pytest.mark.parametrize(("model", "message"), INVALID)
def test_models_that_cannot_be_compiled_raise(model: nn.Module, message: str) -> None:
    learner = reptile(model, ROWS_OF_4, steps=1, init="fresh")
    with pytest.raises(CompileError, match=message):
        compile_learner(learner)


@pytest.mark.parametrize("compile_graphs", [compile_learner, compile_cohort])
def test_a_loss_without_one_value_per_row_raises(compile_graphs: Callable[[Learner], object]) -> None:
    learner = reptile(mlp(), ROWS_OF_4, loss=lambda output, y: output.square(), steps=1, init="fresh")
    with pytest.raises(DataError, match=r"the loss has shape \(\d+, 3\): expected one value a row"):
        compile_graphs(learner)


def wrong_convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, *options: Any) -> tuple[Tensor | None, ...]:
    grad_x, grad_weight, grad_bias = CORRECT_BACKWARD(grad, x, weight, *options)
    return grad_x, None if grad_weight is None else 1.01 * grad_weight, grad_bias


CORRECT_BACKWARD = dispatch.convolution_backward


def test_a_wrong_graph_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))  # or the right graph would be found there
    monkeypatch.setattr(dispatch, "convolution_backward", wrong_convolution_backward)
    message = r"the adapt graph disagrees with torch: state\.0\.weight differs by \d\.\de-\d\d relative \(limit 1e-04\)"
    with pytest.raises(CompileError, match=message):
        compile_learner(SINGLE["maxpool"].learner())


def test_a_ranking_model_with_too_few_items_raises() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.items = nn.Embedding(5, 2)

        def forward(self, ids: Tensor) -> Tensor:
            scores: Tensor = self.items(ids).sum(-1)
            return scores

    with pytest.raises(DataError, match=r"items \(Embedding\) fails on x of shape .*IndexError.*the spec says"):
        reptile(Wide(), Spec.ranking(500), init="fresh")
