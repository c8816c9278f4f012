"""Networks whose weights packages ship: a picture network (MTCNN's RNet) and a sentence encoder (WordLlama).

The body is fixed and the head trains. Files are read from the installed packages, without a network.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tests.sim.test_given_networks import initial_outputs, module_outputs
from tokenizers import Tokenizer
from torch import Tensor, nn

from tegu.client import Personalizer
from tegu.core import Spec
from tegu.core.bundle.file import read_bundle
from tegu.core.data.batch import Array
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import CohortPlan
from tegu.sim import Population, TrainingPlan, simulate

pytestmark = pytest.mark.slow

USERS, ROWS, WORDS = 24, 10, 8
PLAN = TrainingPlan(rounds=3, cohort=CohortPlan(6), calibration=CalibrationPlan(ks=(5,), folds=0))


def folder_of(package: str) -> Path:
    found = importlib.util.find_spec(package)  # without importing it: mtcnn would import TensorFlow
    assert found is not None
    return Path((found.submodule_search_locations or [""])[0])


class RNet(nn.Module):
    """MTCNN's second stage (Zhang et al. 2016): is a picture of 3 x 24 x 24 a face?"""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = nn.Conv2d(3, 28, 3), nn.Conv2d(28, 48, 3), nn.Conv2d(48, 64, 2)
        self.convolutions = nn.Sequential(
            nn.Sequential(first, nn.PReLU(28), nn.MaxPool2d(3, 2, ceil_mode=True)),
            nn.Sequential(second, nn.PReLU(48), nn.MaxPool2d(3, 2)),
            nn.Sequential(third, nn.PReLU(64)),
        )
        self.dense, self.slope, self.head = nn.Linear(576, 128), nn.PReLU(128), nn.Linear(128, 2)
        arrays = [torch.from_numpy(each) for each in joblib.load(folder_of("mtcnn") / "assets/weights/rnet.lz4")]
        with torch.no_grad():
            for layer, (weight, bias, slope) in zip(
                self.convolutions, (arrays[0:3], arrays[3:6], arrays[6:9]), strict=True
            ):
                layer[0].weight.copy_(weight.permute(3, 2, 0, 1))
                layer[0].bias.copy_(bias)
                layer[1].weight.copy_(slope.flatten())
            for layer, (weight, bias) in ((self.dense, arrays[9:11]), (self.head, arrays[14:16])):
                layer.weight.copy_(weight.T)
                layer.bias.copy_(bias)
            self.slope.weight.copy_(arrays[11])

    def forward(self, x: Tensor) -> Tensor:
        features = self.convolutions(x).permute(0, 3, 2, 1).flatten(1)
        result: Tensor = self.head(self.slope(self.dense(features)))
        return result


class Sentences(nn.Module):
    """The mean of WordLlama's token embeddings, scaled to length 1, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        table = load_file(folder_of("wordllama") / "weights/l2_supercat_256.safetensors")["embedding.weight"]
        self.tokens = nn.Embedding.from_pretrained(torch.from_numpy(table.astype(np.float32)), freeze=True)
        self.head = nn.Linear(table.shape[1], 2)

    def forward(self, ids: Tensor) -> Tensor:
        real = (ids > 0).to(torch.float32).unsqueeze(-1)
        mean = (self.tokens(ids) * real).sum(1) / real.sum(1).clamp(min=1)
        result: Tensor = self.head(nn.functional.normalize(mean))
        return result


def pictures() -> Population:
    """Smooth coloured pictures; each user has a threshold on the brightness of their own."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (USERS * ROWS, 3, 4, 4)).astype(np.float32)
    x = (coarse.repeat(6, 2).repeat(6, 3) - 127.5) / 128
    threshold = np.repeat(rng.normal(0, 0.1, USERS), ROWS)
    return Population.from_arrays(x, (x.mean((1, 2, 3)) > threshold).astype(int), np.repeat(np.arange(USERS), ROWS))


def sentences() -> Population:
    """Short requests. Half of the users want travel first, the others want food first."""
    encode = Tokenizer.from_file(str(folder_of("wordllama") / "tokenizers/l2_supercat_tokenizer_config.json"))
    travel = ["book a flight to {}", "find a train to {}", "a hotel room in {}"]
    food = ["a restaurant in {}", "order a pizza from {}", "cook a dish from {}"]
    rng = np.random.default_rng(0)
    x, y = np.zeros((USERS * ROWS, WORDS), np.int64), np.zeros(USERS * ROWS, int)
    for row in range(USERS * ROWS):
        about_food = int(rng.integers(2))
        text = str(rng.choice(food if about_food else travel)).format(rng.choice(["Rome", "Paris", "Oslo"]))
        ids = encode.encode(text, add_special_tokens=False).ids[:WORDS]
        x[row, : len(ids)], y[row] = ids, about_food ^ (row // ROWS % 2)
    size = Spec.classification((WORDS,), 2, tokens=32000)
    return Population.from_arrays(x, y, np.repeat(np.arange(USERS), ROWS), size)


@pytest.mark.parametrize(("build", "people_of"), [(RNet, pictures), (Sentences, sentences)], ids=["RNet", "WordLlama"])
def test_a_fixed_body_with_a_trained_head_personalises(build, people_of, tmp_path: Path):
    model, people = build(), people_of()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("head."))
    given = {name: value.detach().numpy().copy() for name, value in model.named_parameters()}
    run = simulate(people, model, plan=PLAN)
    x, y = people.all_rows()
    own, found = module_outputs(model, x), initial_outputs(run.learner, x, run.engine)
    assert accuracy(own, y) == accuracy(found, y)
    assert (own.argmax(1) == found.argmax(1)).all()
    np.testing.assert_allclose(np.exp(found), torch.softmax(torch.from_numpy(own), 1).numpy(), atol=2e-4)
    run.write(tmp_path / "init.tegu")
    bundle = read_bundle(tmp_path / "init.tegu")
    assert set(bundle.manifest.fixed_parameters) == {name for name in given if not name.startswith("head.")}
    for name, value in given.items():
        assert np.array_equal(bundle.meta[name], value) == (not name.startswith("head."))
    rows = slice(-ROWS, None)  # the last user's
    with Personalizer.open(tmp_path / "init.tegu", store=tmp_path / "me.db") as person:
        before = person.predict(x[rows])
        model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in bundle.meta.items()})
        expected = torch.softmax(torch.from_numpy(module_outputs(model, x[rows])), 1).numpy()
        np.testing.assert_allclose(np.exp(before), expected, atol=2e-4)
        person.observe(x[rows], y[rows])
        person.adapt()
        assert np.isfinite(person.predict(x[rows])).all()


def accuracy(outputs: Array, labels: Array) -> float:
    return float((outputs.argmax(1) == labels).mean())
