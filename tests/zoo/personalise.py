"""Take a model of the zoo through training, a bundle and a device, and compare with plain torch."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tests.zoo.entry import Entry
from tests.zoo.reference import corrected, sgd_change, with_parameters
from torch import nn

from tegu.client import Personalizer
from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.core.bundle.file import read_bundle
from tegu.core.bundle.manifest import ScheduleEntry
from tegu.core.data.batch import Array, Batch
from tegu.core.data.spec import Field, Spec
from tegu.core.data.tree import Tree
from tegu.core.sampling.episode import EpisodeRule
from tegu.learners import Learner, reptile, residual_correction
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim import Population, simulate
from tegu.sim.engine import EngineKind

__all__ = ["build", "learner_of", "personalise"]

LR, USERS, ROWS, SUPPORT = 0.1, 15, 6, 5
PLAN = TrainingPlan(
    rounds=2, cohort=CohortPlan(3), episodes=EpisodeRule(1, 4, 2), calibration=CalibrationPlan(folds=0, ks=(2,))
)


def build(entry: Entry) -> nn.Module:
    """The entry's module, the same on every call."""
    torch.manual_seed(zlib.crc32(entry.name.encode()))
    return entry.build()


def learner_of(entry: Entry, model: nn.Module) -> Learner:
    """Residual correction with one step of SGD in training; for a ranking, which has no residuals, that step.

    Calibration has one candidate: its choice is thrown away, and other tests are about it.
    """
    method = reptile if entry.spec.kind == "ranking" else residual_correction
    learner = method(model, entry.spec, loss=entry.loss, steps=1, lr=LR)
    only = replace(learner.calibration, candidates=(learner.knobs,), guarded=False)
    return replace(learner, calibration=only)


def personalise(entry: Entry, folder: Path, engine: EngineKind = "onnx-loop") -> None:
    """Train for two rounds, write and open the bundle, adapt, and compare outputs and an update with plain torch.

    Raises:
        TeguError: the model is refused.
        AssertionError: something differs from plain torch.
    """
    learner = learner_of(entry, build(entry))
    x, y, users = _people(entry.spec)
    run = simulate(Population.from_arrays(x, y, users, entry.spec), learner, plan=PLAN, engine=engine)
    schedule = (ScheduleEntry(1, learner.knobs),)  # adapt, whatever two rounds have shown
    always = replace(run, bundle=replace(run.bundle, manifest=replace(run.bundle.manifest, schedule=schedule)))
    always.write(folder / "init.tegu")
    meta = read_bundle(folder / "init.tegu").meta
    support, new = (x[:SUPPORT], y[:SUPPORT]), x[-4:]
    model = with_parameters(build(entry), meta)
    with Personalizer.open(folder / "init.tegu", store=folder / "me.db") as person:
        before = person.predict(new)
        person.observe(*support)
        person.adapt()
        after = person.predict(new)
    _close(before, _initial(entry, model, new), "before adaptation")
    _close(after, _adapted(entry, model, support, new), "after adaptation")
    _compare_update(entry, model, OnnxRuntime(run.bundle.graphs), meta)


def _initial(entry: Entry, model: nn.Module, x: Array) -> Array:
    inputs = torch.tensor(x)
    with torch.no_grad():
        output = model(inputs.double() if inputs.is_floating_point() else inputs)
    if entry.spec.kind == "classification":
        output = output.log_softmax(1)
    return output.numpy()


def _adapted(entry: Entry, model: nn.Module, support: tuple[Array, Array], x: Array) -> Array:
    if entry.spec.kind != "ranking":
        return corrected(entry, model, support, x)
    change = sgd_change(entry, model, *support, LR)
    meta = {name: value.detach().numpy() for name, value in model.named_parameters()}
    stepped = with_parameters(build(entry), {name: meta[name] - change.get(name, 0) for name in meta})
    return _initial(entry, stepped, x)


def _compare_update(entry: Entry, model: nn.Module, runtime: OnnxRuntime, meta: Tree) -> None:
    """The update of a user is one step of SGD on support and query together."""
    (x, y), (query_x, query_y) = (_rows(entry.spec, count, seed) for count, seed in ((4, 7), (3, 8)))
    mask = np.asarray([1, 1, 1, 0], np.float32)
    found = runtime.update(meta, Batch(x, y, mask), Batch(query_x, query_y, np.ones(3, np.float32)))
    together = np.concatenate([x[:3], query_x]), np.concatenate([y[:3], query_y])
    for name, expected in sgd_change(entry, model, *together, LR).items():
        _close(found[name], expected, f"the update of {name}")


def _close(found: Array, expected: Array, what: str) -> None:
    assert found.shape == expected.shape, what
    scale = max(float(np.abs(expected).max()), 1e-2)
    difference = float(np.abs(found - expected).max()) / scale
    assert difference < 1e-4, f"{what} differs by {difference:.1e}"


def _people(spec: Spec) -> tuple[Array, Array, Array]:
    return *_rows(spec, USERS * ROWS, 0), np.repeat(np.arange(USERS), ROWS)


def _rows(spec: Spec, count: int, seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    y = np.ones(count, np.float32) if spec.kind == "ranking" else _values(spec.y, count, rng)
    return _values(spec.x, count, rng), y


def _values(field: Field, count: int, rng: np.random.Generator) -> Array:
    if field.dtype == "int64":
        return rng.integers(field.size, size=(count, *field.shape))
    return rng.standard_normal((count, *field.shape)).astype(np.float32)
