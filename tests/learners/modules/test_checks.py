"""Modules that cannot be trained on devices are refused when the learner is built."""

from __future__ import annotations

import pytest
import torch
from tests.learners.toys import FEATURES, ITEMS, NO_NOISE, SPEC, Factors, meta_of, mlp, rows
from torch import nn

from tegu.core.data.spec import Spec
from tegu.core.errors import CompileError, DataError
from tegu.learners import fedavg, fedsgd, reptile, residual_correction
from tegu.learners.baselines.local_only import local_only


class Column(Factors):
    def forward(self, ids):
        return super().forward(ids).unsqueeze(-1)


class Centred(nn.Linear):
    def forward(self, x):
        return super().forward(x - x.mean(0))


class Scaled(nn.Linear):
    def forward(self, x):
        return super().forward(x / x.square().sum(-1, keepdim=True).sqrt())


class Pair(nn.Linear):
    def forward(self, x):
        return super().forward(x), super().forward(x)


def head(*layers):
    return nn.Sequential(nn.Linear(FEATURES, 6), *layers, nn.Linear(6, 3))


RANKING = Spec.ranking(ITEMS)
WRONG = [
    pytest.param(mlp(9), Spec.classification((FEATURES,), 10), r"\(3, 9\).*classification expects.*\(3, 10\)", id="9"),
    pytest.param(mlp(1), Spec.regression((FEATURES,), 2), r"\(3, 1\).*regression expects.*\(3, 2\)", id="targets"),
    pytest.param(
        Column(), RANKING, r"\(3, 1\) for 3 rows: ranking expects float32 of shape \(3,\); change", id="column"
    ),
    pytest.param(nn.Sequential(nn.Linear(9, 3)), SPEC, r"fails on x of shape \(3, 4\).*the spec says", id="input"),
    pytest.param(
        Pair(FEATURES, 3), SPEC, r"the model returns a tuple with 0 of shape \(3, 3\), 1 of shape", id="tuple"
    ),
]


@pytest.mark.parametrize(("model", "spec", "message"), WRONG)
def test_a_model_that_does_not_fit_its_spec(model, spec, message):
    with pytest.raises((DataError, CompileError), match=message):
        reptile(model, spec)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (head(nn.BatchNorm1d(6, track_running_stats=False)), "1 is a BatchNorm1d without running statistics, which"),
        (Centred(FEATURES, 3), "a row's output changes by .* when another row is left out: expected a function of"),
        (Scaled(FEATURES, 3), "the model gives NaN or infinity for a row of zeros: expected finite numbers"),
        (nn.Flatten(), "Flatten has no parameters: expected at least one to learn"),
    ],
)
def test_a_model_that_is_not_a_function_of_a_row(model, message):
    with pytest.raises(CompileError, match=message):
        reptile(model, SPEC)


@pytest.mark.parametrize("baseline", [fedsgd, fedavg, local_only])
def test_baselines_check_the_model_too(baseline):
    with pytest.raises(DataError, match=r"\(3, 9\)"):
        baseline(mlp(9), reptile(mlp(), SPEC))


def test_dropout_is_off():
    learner = reptile(head(nn.Dropout(0.5)).train(), SPEC, steps=3)
    meta = meta_of(learner)
    states = [learner.adapt(meta, rows(5), learner.knobs, NO_NOISE) for _ in range(2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in meta)


def test_later_changes_of_the_module_do_not_change_the_learner():
    model = nn.Sequential(nn.Linear(FEATURES, 3), nn.LayerNorm(3))
    model.register_buffer("unused", torch.zeros(1))
    learner = reptile(model, SPEC)
    meta = meta_of(learner)
    before = learner.predict(meta, {}, rows(3).x)
    model[1].eps = 10.0
    torch.testing.assert_close(learner.predict(meta, {}, rows(3).x), before)


def test_embeddings_with_options_that_have_no_compiled_form():
    class Capped(Factors):
        def __init__(self):
            super().__init__()
            self.items = nn.Embedding(ITEMS, 4, max_norm=1.0)

    with pytest.raises(
        CompileError, match="max_norm, scale_grad_by_freq or sparse has no compiled form: leave them out"
    ):
        reptile(Capped(), RANKING)


class Listed(nn.Module):
    """Registered layers that are called through a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(FEATURES, 4), nn.Linear(4, 3)
        self.layers = [self.first, self.second]

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Registered(Listed):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(self.layers)


def test_parameters_that_are_used_without_registered_modules_are_refused():
    """Their values could not be replaced, so adaptation would silently change nothing."""
    with pytest.raises(CompileError, match=r"Listed reaches a parameter .*nn\.ModuleList"):
        reptile(Listed(), SPEC)
    learner = reptile(Registered(), SPEC, steps=1)
    meta = meta_of(learner)
    state = learner.adapt(meta, rows(4), learner.knobs, NO_NOISE)
    assert all((state[name] != meta[name]).any() for name in state)


class Signs(torch.autograd.Function):
    """As torch's first guide writes functions, which `torch.func` refuses."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx, grad):
        return grad * (ctx.saved_tensors[0].abs() < 1).to(grad.dtype)


class Binary(nn.Linear):
    def forward(self, x):
        return Signs.apply(super().forward(x))


class GradientInside(nn.Linear):
    def forward(self, x):
        with torch.enable_grad():
            y = super().forward(x.clone().requires_grad_())
            y.sum().backward()
        return y


@pytest.mark.parametrize("learner", [reptile, residual_correction])
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            Binary(6, 6),
            r"^1 \(Binary\) cannot be differentiated .*: write its torch\.autograd\.Function with fo",
        ),
        (GradientInside(6, 6), r"^1 \(GradientInside\) cannot be differentiated .*: write it with operators"),
    ],
)
def test_a_layer_that_torch_func_does_not_differentiate_is_named_at_once(learner, layer, message):
    with pytest.raises(CompileError, match=message):
        learner(head(layer), SPEC)
