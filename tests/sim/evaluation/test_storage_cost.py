"""The cost of storing fewer bytes, compared with plain torch on the parameters in the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.core.samples import members_of, refused, same_bundle, same_tree
from tests.sim import people

from tegu.core.bundle.file import read_bundle
from tegu.core.bundle.manifest import Knobs, knobs_for
from tegu.core.compression.precision import Precision
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree, digest, max_difference
from tegu.core.errors import DataError, UnknownNameError
from tegu.core.metrics import Metric
from tegu.sim.data.trials import draw_trials
from tegu.sim.evaluation.storage_cost import storage_cost
from tegu.sim.experiment_run import Outcome, run_experiment
from tegu.sim.run import Run

pytestmark = pytest.mark.usefixtures("compiled_once")


def _cross_entropy(outputs: Array, y: Array, seen: Array) -> float:
    return float(np.mean(np.log(np.exp(outputs.astype(np.float64)).sum(1)) - outputs[np.arange(len(y)), y]))


FINE = Metric("cross entropy", False, _cross_entropy)  # accuracy would not change


def in_torch(run: Run, meta: Tree, k: int, knobs: Knobs) -> float:
    """Mean cross entropy of held-out users, each adapted with torch's SGD."""
    losses_by_user: dict[int, list[float]] = {}
    for trial in draw_trials(run.split.heldout, k, run.plan.seed + 1).trials:
        model = people.torch_adapted(
            meta, trial.support.x, trial.support.y, int(knobs["steps"]), knobs["lr"], knobs["prior"]
        )
        outputs = torch.tensor(people.torch_outputs(model, trial.query.x), dtype=torch.float64)
        loss = torch.nn.functional.cross_entropy(outputs, torch.tensor(trial.query.y))
        losses_by_user.setdefault(trial.user, []).append(float(loss))
    return float(np.mean([np.mean(losses) for losses in losses_by_user.values()]))


@pytest.fixture(scope="module", params=["float16", "int8"])
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Precision, Outcome, Path]:
    folder = tmp_path_factory.mktemp("packed")
    with people.compiled_once():
        experiment = people.experiment()
        calibration = replace(experiment.plan.calibration, metric=FINE)
        experiment = replace(experiment, plan=replace(experiment.plan, calibration=calibration))
        return request.param, run_experiment(experiment, folder, precision=request.param), folder


def test_the_loss_is_that_of_the_parameters_in_the_file(packed: tuple[Precision, Outcome, Path]) -> None:
    precision, outcome, folder = packed
    bundle, run = read_bundle(folder / "init.tegu"), outcome.run
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics == outcome.metrics
    assert set(metrics["precision"]) == {"name", "bytes", "float32_bytes", "loss"}
    assert metrics["precision"]["name"] == precision
    assert metrics["precision"]["loss"].keys() == {"1", "3"}
    assert max_difference(bundle.meta, run.bundle.meta) > 0
    for entry, held in zip(metrics["curve"], bundle.manifest.heldout, strict=True):
        knobs = knobs_for(bundle.manifest, entry["k"])
        trained, restored = (in_torch(run, meta, entry["k"], knobs) for meta in (run.bundle.meta, bundle.meta))
        assert entry["personalised"] == pytest.approx(trained, rel=1e-5)
        assert held["personalised"] == pytest.approx(restored, rel=1e-5)
        assert held["baselines"] == entry["baselines"]
        loss = metrics["precision"]["loss"][str(entry["k"])]
        assert loss == pytest.approx(restored - trained, abs=2e-6)
        if precision == "int8":
            assert abs(loss) > 1e-5, "more than rounding alone would give"


def test_the_bytes_are_those_of_the_arrays(
    packed: tuple[Precision, Outcome, Path], finished: tuple[Outcome, Path]
) -> None:
    _, outcome, folder = packed
    stored = members_of((folder / "init.tegu").read_bytes())["meta.safetensors"]
    assert outcome.metrics["precision"]["bytes"] == len(stored)
    plain = members_of((finished[1] / "init.tegu").read_bytes())["meta.safetensors"]
    assert outcome.metrics["precision"]["float32_bytes"] == len(plain)


def test_the_manifest_names_the_stored_precision(packed: tuple[Precision, Outcome, Path]) -> None:
    precision, outcome, folder = packed
    training = read_bundle(folder / "init.tegu").manifest.training
    assert training["stored_as"] == precision
    assert training["meta"] == digest(outcome.run.bundle.meta) == outcome.metrics["meta"]
    assert precision in (folder / "report.html").read_text()


def test_the_precision_changes_the_file_alone(
    packed: tuple[Precision, Outcome, Path], finished: tuple[Outcome, Path]
) -> None:
    """Training and trials are the same as with float32."""
    _, outcome, _ = packed
    assert outcome.metrics["meta"] == finished[0].metrics["meta"]
    assert same_tree(outcome.run.bundle.meta, finished[0].run.bundle.meta)
    assert "precision" not in finished[0].metrics
    assert "stored_as" not in finished[0].run.bundle.manifest.training


@pytest.mark.parametrize("higher", [True, False])
def test_a_positive_loss_is_worse_for_any_metric(finished: tuple[Outcome, Path], higher: bool) -> None:
    run = replace(finished[0].run, metric=replace(FINE, higher_is_better=higher))
    curve = [{"k": k, "personalised": 1000.0, "baselines": {}} for k in run.ks]
    found = storage_cost(run, curve, "int8").figures["loss"]
    assert all((loss > 0) == higher for loss in found.values())


def test_run_write(finished: tuple[Outcome, Path], tmp_path: Path) -> None:
    run = finished[0].run
    written = run.write(tmp_path / "a.tegu", precision="float16")
    assert same_bundle(read_bundle(tmp_path / "a.tegu"), written)
    rounded = {name: array.astype(np.float16).astype(np.float32) for name, array in run.bundle.meta.items()}
    assert same_tree(written.meta, rounded)


def test_an_unknown_precision_is_refused_before_training(tmp_path: Path) -> None:
    with refused(UnknownNameError, "'int16'", "Did you mean"):
        run_experiment(people.experiment(), tmp_path / "run", precision="int16")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_parameters_that_do_not_fit_are_refused(finished: tuple[Outcome, Path]) -> None:
    run = finished[0].run
    meta = {**run.bundle.meta, "0.bias": np.array([1e6, 0, 0, 0], np.float32)}
    with refused(DataError, "'0.bias'", "1e+06", "65504"):
        storage_cost(replace(run, bundle=replace(run.bundle, meta=meta)), [], "float16")
