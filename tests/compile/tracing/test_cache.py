"""Graphs kept between calls: the same model is translated once, and every change of a model is another graph."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.compile.running import run
from torch import Tensor, nn

from tegu.compile import compile_learner
from tegu.compile.tracing import cache, translate
from tegu.compile.tracing.cache import CACHE_VARIABLE
from tegu.core.data.spec import Spec
from tegu.learners import reptile
from tegu.learners.learner import Learner

SPEC = Spec.regression((4,), 2)


class Scaled(nn.Module):
    """A linear layer, an attribute and a buffer."""

    def __init__(self, factor: float = 2.0, shift: float = 0.5, features: int = 4) -> None:
        super().__init__()
        self.layer, self.factor = nn.Linear(features, 2), factor
        self.register_buffer("shift", torch.full((2,), shift))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.layer(x) * self.factor + self.shift
        return output


class ScaledTwice(Scaled):
    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.layer(x) * self.factor - self.shift
        return output


def power(exponent: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda output, y: (output - y).abs().pow(exponent).mean(-1)


def learner(module: nn.Module | None = None, spec: Spec = SPEC, exponent: float = 3.0, steps: int = 1) -> Learner:
    return reptile(module or Scaled(), spec, loss=power(exponent), steps=steps)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "graphs"))
    return tmp_path / "graphs"


@pytest.fixture
def translated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each translation."""
    calls, original = list[int](), translate.translate_each
    monkeypatch.setattr(translate, "translate_each", lambda *args: calls.append(1) or original(*args))
    return calls


def test_graphs_that_were_kept_need_no_translator(folder: Path) -> None:
    """Translators take longer to import than a small learner's graphs take to be found and checked."""
    program = (
        "import sys; from torch import nn; from tegu.compile import compile_learner; from tegu.core.data.spec import "
        "Spec; from tegu.learners import reptile; compile_learner(reptile(nn.Linear(3, 2), Spec.classification((3,), "
        "2))); print('onnxscript' in sys.modules, 'onnx_ir' in sys.modules)"
    )
    for loaded in ("True True", "False False"):
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
        assert found.stdout.split("\n")[0] == loaded
    assert list(folder.iterdir())


def test_a_second_call_translates_nothing_and_gives_the_same_bytes(folder: Path, translated: list[int]) -> None:
    first = compile_learner(learner())
    assert compile_learner(learner()) == first
    assert len(translated) == 1
    assert [file.stat().st_mode & 0o777 for file in folder.iterdir()] == [0o600]


@pytest.mark.parametrize(
    "changed",
    [
        {"module": Scaled(factor=2.0000002)},
        {"module": Scaled(shift=0.50000006)},
        {"module": ScaledTwice()},
        {"exponent": 3.0000001},
        {"steps": 2},
        {"module": Scaled(features=5), "spec": Spec.regression((5,), 2)},
    ],
    ids=["attribute", "buffer", "code", "loss", "steps", "spec"],
)
@pytest.mark.usefixtures("folder")
def test_a_changed_model_is_translated_anew(changed: dict[str, object], translated: list[int]) -> None:
    compile_learner(learner())
    compile_learner(learner(**changed))  # type: ignore[arg-type]
    assert len(translated) == 2


@pytest.mark.usefixtures("folder")
def test_a_buffer_that_changes_in_place_counts() -> None:
    module = Scaled()
    compile_learner(learner(module))
    module.shift.fill_(7.0)
    changed = learner(module)
    meta, x = changed.init(0), np.ones((3, 4), np.float32)
    found = run(compile_learner(changed)["predict"], meta=meta, state=meta, x=x)["output"]
    expected = 2 * (x @ meta["layer.weight"].T + meta["layer.bias"]) + 7
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:-9] + b"x" + data[-8:]]
)
def test_a_damaged_file_is_made_anew(damage: Callable[[bytes], bytes], folder: Path, translated: list[int]) -> None:
    first = compile_learner(learner())
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert compile_learner(learner()) == first
    assert len(translated) == 2
    assert file.read_bytes() == whole


def test_a_file_that_others_may_write_is_not_trusted(folder: Path, translated: list[int]) -> None:
    compile_learner(learner())
    (file,) = folder.iterdir()
    file.chmod(0o666)
    compile_learner(learner())
    assert len(translated) == 2


@pytest.mark.parametrize("chosen", ["off", "/dev/null/graphs"])
def test_without_a_folder_nothing_is_kept(chosen: str, translated: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, chosen)
    assert compile_learner(learner()) == compile_learner(learner())
    assert len(translated) == 2


def test_the_oldest_files_are_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MAX_FILES", 2)
    for number in range(4):
        cache.cached(str(number), dict)
    assert sorted(file.name for file in folder.iterdir()) == ["2.graphs", "3.graphs"]
