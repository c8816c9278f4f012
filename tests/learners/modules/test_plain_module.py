"""Modules as people hand them in: wrapped, compiled, in other dtypes, with several outputs."""

from __future__ import annotations

import copy
import logging
import warnings
from collections import OrderedDict
from dataclasses import dataclass

import pytest
import torch
from tests.learners.toys import FEATURES, NO_NOISE, SPEC, meta_of, mlp, rows
from torch import Tensor, nn

from tegu.core.errors import CompileError, DataError, TeguError
from tegu.learners import reptile, residual_correction
from tegu.learners.modules.plain_module import plain_module


def predicted(model: nn.Module, x: Tensor, **options) -> Tensor:
    """What the learner predicts before any training."""
    learner = residual_correction(model, SPEC, **options).gradient_learner
    assert learner is not None
    return learner.predict(meta_of(learner), {}, x)


def notes(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "tegu"]


@pytest.fixture(autouse=True)
def _show(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "tegu"):
        yield


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_are_converted_with_a_note(dtype: torch.dtype, caplog: pytest.LogCaptureFixture):
    model = mlp().to(dtype)
    model.register_buffer("scale", torch.ones(2, dtype=dtype))
    x = rows(5).x
    torch.testing.assert_close(predicted(model, x), copy.deepcopy(model).float()(x), rtol=0, atol=0)
    name = str(dtype).removeprefix("torch.")
    assert notes(caplog) == [f"the module's {name} numbers are converted to float32"]
    assert model[0].weight.dtype == dtype


def wrapped_in_compile() -> nn.Module:
    return torch.compile(mlp())


def compiled_in_place() -> nn.Module:
    model = mlp()
    model.compile()
    return model


def compiled_part() -> nn.Module:
    model = mlp()
    model[0] = torch.compile(model[0])
    return model


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("build", [wrapped_in_compile, compiled_in_place, compiled_part])
def test_compiled_modules_are_used_without_the_compiler(build, caplog: pytest.LogCaptureFixture):
    model = build()
    inner = getattr(model, "_orig_mod", model)
    start = reptile(model, SPEC).init(0)
    assert set(start) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert (start["2.weight"] == inner[2].weight.detach().numpy()).all()
    assert len(notes(caplog)) == 1
    x = rows(4).x
    expected = x
    for layer in inner:
        expected = getattr(layer, "_orig_mod", layer).forward(expected)
    torch.testing.assert_close(predicted(model, x), expected, rtol=0, atol=0)


def test_data_parallel_is_unwrapped(caplog: pytest.LogCaptureFixture):
    assert set(reptile(nn.DataParallel(mlp()), SPEC).init(0)) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert notes(caplog) == ["the module inside of DataParallel is used"]


def exported():
    return torch.export.export(mlp(), (torch.zeros(2, FEATURES),))


REFUSED = {
    "scripted": (lambda: torch.jit.script(mlp()), "the model is a RecursiveScriptModule, which torch.jit has scripted"),
    "traced": (lambda: torch.jit.trace(mlp(), torch.zeros(2, FEATURES)), "the model is a TopLevelTracedModule, which"),
    "part": (lambda: nn.Sequential(mlp(), torch.jit.script(nn.ReLU())), "1 is a RecursiveScriptModule"),
    "program": (exported, "the model is a ExportedProgram: expected an nn.Module; pass the nn.Module that it was"),
    "exported": (lambda: exported().module(), "of torch.export, made for one batch size"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(5), nn.Linear(5, 3)), r"0 is a LazyLinear whose weight has no shape"),
    "meta": (lambda: mlp().to("meta"), "'0.weight' is on the device meta and has no values"),
    "state": (lambda: mlp().state_dict(), "the model is a OrderedDict: expected an nn.Module"),
    "complex": (lambda: nn.Sequential(nn.Linear(FEATURES, 3, dtype=torch.complex64)), "'0.weight' is torch.complex64"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_copied_is_refused_at_once(case: str):
    build, message = REFUSED[case]
    with pytest.raises(CompileError, match=message):
        reptile(build(), SPEC)


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(FEATURES, 4), nn.Linear(4, 3)]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[1](self.layers[0](x))


class Partly(Listed):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = self.layers


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Listed(), r"Listed has no parameters: expected at least one to learn; assign self.layers to an nn.ModuleList"),
        (nn.Sequential(Listed()), "assign self.0.layers to"),
        (Partly(), "through the plain container self.layers"),
    ],
)
def test_plain_containers_are_named(model: nn.Module, message: str):
    with pytest.raises(CompileError, match=message):
        reptile(model, SPEC)


# --- several outputs ----------------------------------------------------------------------------------------------


@dataclass
class Found:
    logits: Tensor
    hidden: Tensor


class Several(nn.Module):
    """Returns logits and features in a container."""

    def __init__(self, container) -> None:
        super().__init__()
        self.body, self.head, self.container = nn.Linear(FEATURES, 6), nn.Linear(6, 3), container

    def forward(self, x: Tensor):
        hidden = torch.tanh(self.body(x))
        return self.container(self.head(hidden), hidden)

    def logits(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(x)))


CONTAINERS = {
    "dict": lambda logits, hidden: {"hidden": hidden, "logits": logits},
    "ordered": lambda logits, hidden: OrderedDict(logits=logits, hidden=hidden, loss=None),
    "tuple": lambda logits, hidden: (hidden, logits),
    "list": lambda logits, hidden: [hidden, logits],
    "dataclass": Found,
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_only_output_that_fits_is_taken_with_a_note(container: str, caplog: pytest.LogCaptureFixture):
    model, x = Several(CONTAINERS[container]), rows(5).x
    torch.testing.assert_close(predicted(model, x), model.logits(x), rtol=0, atol=0)
    name = 1 if container in ("tuple", "list") else "logits"
    assert notes(caplog) == [f"of the model's outputs, {name!r} is used"]


def test_an_output_is_taken_by_name():
    model, x = Several(lambda logits, hidden: {"logits": logits, "doubled": 2 * logits}), rows(5).x
    with pytest.raises(DataError, match=r"'logits' of shape \(3, 3\), 'doubled' of shape .* and 2 of them .* output="):
        reptile(model, SPEC)
    torch.testing.assert_close(predicted(model, x, output="doubled"), 2 * model.logits(x), rtol=0, atol=0)
    torch.testing.assert_close(predicted(model, x, output=0), model.logits(x), rtol=0, atol=0)
    with pytest.raises(DataError, match=r"output is 'logit', and the model returns a dict with 'logits', 'doubled'"):
        reptile(model, SPEC, output="logit")


def test_no_output_that_fits():
    with pytest.raises(DataError, match=r"dict with 'a' of shape \(3, 6\), and none of them has the shape \(3, 3\)"):
        reptile(Several(lambda logits, hidden: {"a": hidden, "b": None}), SPEC)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda self, x, mask: x, "its forward needs x, mask, and the spec has one input; give the spec a mapping"),
        (lambda self: torch.zeros(3), "its forward needs no input"),
        (lambda self, *, x: x, "TypeError"),
    ],
)
def test_modules_that_do_not_take_one_tensor(forward, message: str):
    model = type("Own", (nn.Linear,), {"forward": forward})(FEATURES, 3)
    with pytest.raises(DataError, match=message):
        reptile(model, SPEC)


# --- parametrisations, tied parameters, other defaults ------------------------------------------------------------


def old_weight_norm() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(FEATURES, 6)), nn.Tanh(), nn.Linear(6, 3))


def spectral_norm() -> nn.Module:
    model = nn.Sequential(nn.utils.spectral_norm(nn.Linear(FEATURES, 6)), nn.Tanh(), nn.Linear(6, 3))
    model(torch.randn(4, FEATURES))  # the weight becomes a tensor with a gradient
    return model


def new_weight_norm() -> nn.Module:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(FEATURES, 6))
    return nn.Sequential(layer, nn.Tanh(), nn.Linear(6, 3))


def new_spectral_norm() -> nn.Module:
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(FEATURES, 6))
    return nn.Sequential(layer, nn.Tanh(), nn.Linear(6, 3))


class Tied(nn.Module):
    """An autoencoder whose decoder is the encoder's transpose, and a layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, FEATURES)
        self.second.weight = self.first.weight
        self.head = nn.Linear(FEATURES, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))


@pytest.mark.parametrize("build", [old_weight_norm, spectral_norm, new_weight_norm, new_spectral_norm, Tied])
def test_parametrised_and_tied_weights_train_as_in_torch(build):
    model = build().eval()
    x = rows(5).x
    torch.testing.assert_close(predicted(model, x), model(x).detach(), rtol=1e-6, atol=1e-6)
    learner, data = reptile(model, SPEC, steps=3, lr=0.2), rows(7)
    state = learner.adapt(meta_of(learner), data, learner.knobs, NO_NOISE)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.2)
    for _ in range(3):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(data.x), data.y).backward()
        optimiser.step()
    assert state.keys() == dict(model.named_parameters()).keys()
    for name, value in state.items():
        torch.testing.assert_close(value, dict(model.named_parameters())[name].detach(), rtol=1e-4, atol=1e-5)


def test_errors_of_a_module_stay_errors_of_tegu():
    class Failing(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError("nothing")

    with pytest.raises(TeguError, match="KeyError"):
        reptile(Failing(FEATURES, 3), SPEC)


def test_a_plain_copy_is_in_evaluation_mode_and_the_module_is_not_changed():
    model = mlp().train()
    copied = plain_module(model)
    assert not copied.training
    assert model.training
    assert copied[0].weight is not model[0].weight
