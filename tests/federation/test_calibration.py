"""One schedule, whoever finds it: batched graphs in this process, the app on a grid, and a SuperLink for real."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.client.graphs import ITEMS, ranking_bundle
from tests.core.samples import refused
from tests.federation import tiny, waves
from tests.federation.imported_modules import told, told_at_exit
from tests.federation.sine_users import KS, NODES, PLAN, SHARE

from tegu.client.federation.evaluation import evaluate_users
from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.core.bundle.file import read_bundle, write_bundle
from tegu.core.bundle.manifest import ScheduleEntry
from tegu.core.calibration.assignment import is_calibration_user, is_comparison_user
from tegu.core.calibration.evaluation_request import CandidateSet, EvaluationRequest, Measure, MetricSums, UserGroup
from tegu.core.data.tree import max_difference
from tegu.core.errors import FederationError, UnknownNameError
from tegu.core.metrics import METRICS
from tegu.server import APP_DIR
from tegu.server.app import train
from tegu.server.deployment import local_federation
from tegu.server.run_config import to_config
from tegu.sim.calibration.calibrate import calibrate
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine
from tegu.sim.engine.onnx_looped import OnnxLooped
from tegu.sim.federation import evaluation_round as batched
from tegu.sim.federation.grid import InProcessGrid, answer_with, flower_identity
from tegu.sim.training.cross_fitting import Evaluator
from tegu.sim.training.in_process import train_in_process
from tegu.sim.training.on_ray import write_partitions

slow = pytest.mark.slow
Schedule = Sequence[ScheduleEntry]
RUN: Mapping[str, Any] = {
    **to_config(PLAN.training_only()),
    "calibration-share": SHARE,
    "calibration-ks": ",".join(map(str, KS)),
}


def same_schedule(found: Schedule, expected: Schedule) -> None:
    """The same choices; figures are equal but for float32's rounding of what was answered."""
    assert [entry.k for entry in found] == [entry.k for entry in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.knobs == pytest.approx(other.knobs, rel=1e-4, abs=1e-5)
        # Errors are about 1, of which float32 keeps seven digits, and a gain may be next to nothing.
        assert (one.gain, one.gain_sd) == pytest.approx((other.gain, other.gain_sd), rel=1e-4, abs=1e-6)


@pytest.fixture(scope="module")
def simulated() -> Schedule:
    """By the batched simulator: trained without those who calibrate, and calibrated by them."""
    training, calibration = waves.parts()
    meta = train_in_process(waves.engine(), training, waves.bundle().meta, PLAN).meta
    found = calibrate(waves.engine(), [Evaluator(meta, calibration)], KS, METRICS["mse"], PLAN.seed)
    assert [entry.k for entry in found] == [1, 2, 4], "nobody has the rows for the last"
    assert 10 <= len(calibration) < 24, "enough to leave the guard to choice"
    assert any(entry.knobs["steps"] for entry in found), "some k must be adapted at"
    return found


def test_the_app_on_a_grid_finds_the_simulators_schedule(simulated: Schedule, tmp_path: Path) -> None:
    write_bundle(tmp_path / "start.tegu", waves.bundle())
    paths = {"bundle": f"{tmp_path}/start.tegu", "out": f"{tmp_path}/out"}
    grid = InProcessGrid(NODES, answer_with(waves.engine(), waves.population(), NODES))
    with flower_identity():
        written = train(grid, {**RUN, **paths})
    same_schedule(written.manifest.schedule, simulated)
    assert read_bundle(tmp_path / "out/init.tegu").manifest.schedule == written.manifest.schedule
    training, _ = waves.parts()
    trained = train_in_process(waves.engine(), training, waves.bundle().meta, PLAN)
    assert max_difference(written.meta, trained.meta) < 1e-5, "who calibrates must not train"
    assert set(written.manifest.training["users_a_round"].values()) == {len(training)}


@slow
@pytest.mark.xdist_group("superlink")
def test_a_superlink_finds_the_simulators_schedule(simulated: Schedule, tmp_path: Path) -> None:
    write_bundle(tmp_path / "start.tegu", waves.bundle())
    write_partitions(tmp_path / "rows", waves.population(), NODES)
    nodes = [{"data": f"{tmp_path}/rows/{node}.npz", "bundle": f"{tmp_path}/start.tegu"} for node in range(NODES)]
    paths = {"bundle": f"{tmp_path}/start.tegu", "out": f"{tmp_path}/out"}
    with told_at_exit(tmp_path / "told"), local_federation(APP_DIR, tmp_path / "flower", nodes) as flower:
        run = flower.run({**RUN, **paths}, timeout=180)
    assert run.completed, run.log
    bundle = read_bundle(tmp_path / "out/init.tegu")
    same_schedule(bundle.manifest.schedule, simulated)
    training, _ = waves.parts()
    assert set(json.loads((tmp_path / "out/rounds.json").read_text())["users"].values()) == {len(training)}
    clients = [each for each in told(tmp_path / "told") if "tegu.client.federation.client_app" in each.modules]
    assert any("tegu.core.calibration.evaluate_candidates" in each.modules for each in clients)
    assert all(not {"torch", "onnx", "pandas"} & each.modules for each in clients)


FOLDS = 2
CROSSED: Mapping[str, Any] = {**RUN, "calibration-folds": FOLDS, "validate-every": 1}


@pytest.fixture(scope="module")
def cross_fitted() -> tuple[Schedule, Any]:
    """By the batched simulator: trained without each fold, which is drawn by name, and with everybody."""
    parts = [waves.parts(1 / FOLDS, fold=fold) for fold in range(FOLDS)]
    metas = [train_in_process(waves.engine(), training, waves.bundle().meta, PLAN).meta for training, _ in parts]
    judges = [Evaluator(meta, calibration) for meta, (_, calibration) in zip(metas, parts, strict=True)]
    found = calibrate(waves.engine(), judges, KS, METRICS["mse"], PLAN.seed)
    assert sum(len(calibration) for _, calibration in parts) == len(waves.population())
    kept = train_in_process(waves.engine(), waves.population(), waves.bundle().meta, PLAN).meta
    assert min(max_difference(kept, meta) for meta in metas) > 1e-4, "another training than that of all"
    return found, kept


def test_the_app_cross_fits_as_the_simulator_does(cross_fitted: tuple[Schedule, Any], tmp_path: Path) -> None:
    write_bundle(tmp_path / "start.tegu", waves.bundle())
    paths = {"bundle": f"{tmp_path}/start.tegu", "out": f"{tmp_path}/out"}
    grid = InProcessGrid(NODES, answer_with(waves.engine(), waves.population(), NODES))
    with flower_identity():
        written = train(grid, {**CROSSED, **paths})
    same_schedule(written.manifest.schedule, cross_fitted[0])
    assert max_difference(written.meta, cross_fitted[1]) < 1e-5, "in the last training everybody has a part"
    assert set(written.manifest.training["users_a_round"].values()) == {len(waves.population())}
    folders = {path.parent.name for path in (tmp_path / "out").rglob("*.safetensors")}
    assert folders == {"checkpoints", "fold-0", "fold-1"}
    summary = json.loads((tmp_path / "out/rounds.json").read_text())
    assert [look["round"] for look in summary["looks"]] == [1, 2]
    assert summary["training_gap"]["personalised"] is not None
    with flower_identity():
        again = train(
            InProcessGrid(NODES, answer_with(waves.engine(), waves.population(), NODES)), {**CROSSED, **paths}
        )
    assert again.manifest.schedule == written.manifest.schedule, "by its checkpoints, without a round"


@slow
@pytest.mark.xdist_group("superlink")
def test_a_superlink_cross_fits_as_the_simulator_does(cross_fitted: tuple[Schedule, Any], tmp_path: Path) -> None:
    write_bundle(tmp_path / "start.tegu", waves.bundle())
    write_partitions(tmp_path / "rows", waves.population(), NODES)
    nodes = [{"data": f"{tmp_path}/rows/{node}.npz", "bundle": f"{tmp_path}/start.tegu"} for node in range(NODES)]
    paths = {"bundle": f"{tmp_path}/start.tegu", "out": f"{tmp_path}/out"}
    with local_federation(APP_DIR, tmp_path / "flower", nodes) as flower:
        run = flower.run({**CROSSED, **paths}, timeout=240)
    assert run.completed, run.log
    bundle = read_bundle(tmp_path / "out/init.tegu")
    same_schedule(bundle.manifest.schedule, cross_fitted[0])
    assert max_difference(bundle.meta, cross_fitted[1]) < 1e-5


# --- the device's half against the batched one --------------------------------------------------------------------


def inquiry(metric: str, options: Sequence[Mapping[str, float]], share: float) -> EvaluationRequest:
    asked: list[tuple[int, Measure, UserGroup]] = [
        (1, "gains", "calibration"), (3, "gains", "calibration"), (3, "scores", "calibration"),
        (3, "scores", "comparison"), (50, "gains", "calibration"),
    ]  # fmt: skip
    return EvaluationRequest(metric, 6, share, [CandidateSet(k, options, measure, who) for k, measure, who in asked])


def by_device(people: Population, bundle: Any, asked: EvaluationRequest) -> list[MetricSums]:
    local = [people.local(user) for user in range(len(people))]
    return evaluate_users(OnnxRuntime(bundle.graphs), bundle.meta, local, bundle.manifest, asked)


def by_batches(people: Population, bundle: Any, asked: EvaluationRequest, engine: Any) -> list[MetricSums]:
    return batched.evaluate_batched(engine, bundle.meta, batched.select_users(people, None, asked), asked, METRICS)


def same_answers(found: Sequence[MetricSums], expected: Sequence[MetricSums]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.users == other.users
        np.testing.assert_allclose(one.sums, other.sums, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("columns", "fold"), [((), 0), (("group",), 0), (("order",), 1)])
def test_a_device_answers_as_batches_do(columns: tuple[str, ...], fold: int) -> None:
    people = tiny.again_and_again(40, frozenset(columns))
    options = [{**tiny.learner().knobs, "lr": rate} for rate in (0.1, 0.3)]
    asked = inquiry("accuracy", options, 0.4)._replace(fold=fold)
    found = by_device(people, tiny.bundle(), asked)
    same_answers(found, by_batches(people, tiny.bundle(), asked, tiny.batched_engine()))
    able = [people.max_support >= question.k for question in asked.questions]
    names = [str(name) for name in people.users]
    for answer, question, enough in zip(found, asked.questions, able, strict=True):
        drawn = is_calibration_user if question.who == "calibration" else is_comparison_user
        assert answer.users == sum(drawn(6, name, 0.4, fold) for name, has in zip(names, enough, strict=True) if has)
    assert [answer.users > 2 for answer in found] == [True, True, True, True, False]
    assert not np.allclose(found[1].sums[0], found[1].sums[1])


def test_a_device_ranks_as_batches_do() -> None:
    """Of a ranking the whole catalogue is predicted, less what was adapted on."""
    made, rng = ranking_bundle(), np.random.default_rng(0)
    items = np.concatenate([rng.choice(ITEMS, 6, replace=False) for _ in range(40)])
    people = Population.from_arrays(items, np.ones(240), np.repeat(np.arange(40), 6), made.manifest.spec)
    asked = EvaluationRequest("recall@10", 6, 0.4, [CandidateSet(1, [made.manifest.knobs], "scores")])
    batches = Engine(
        OnnxLooped({**made.graphs, "update": made.graphs["adapt"]}), made.manifest
    )  # which is never asked for
    found = by_device(people, made, asked)
    same_answers(found, by_batches(people, made, asked, batches))
    assert 0 < found[0].sums[0, 0] < found[0].users, "of eleven items ten are recommended, which misses some"


def test_a_device_corrects_as_batches_do() -> None:
    people, knobs = waves.population(), waves.learner().knobs
    line = {"intercept": 0.4, "slope": 0.5, "residual_sd": 0.8}
    options = [
        {**knobs, "mix": mix, "ridge": 0.3, "weight": weight, "guard": guard, "floor": 0.2, **line}
        for mix in (0.0, 1.0)
        for weight, guard in ((0.5, 0.0), (1.0, 2.0))
    ]
    asked = inquiry("mse", options, 0.45)
    asked = asked._replace(questions=[*asked.questions, CandidateSet(2, options[::2], "lines")])
    same_answers(by_device(people, waves.bundle(), asked), by_batches(people, waves.bundle(), asked, waves.engine()))


def test_blending_is_what_the_bundle_does() -> None:
    """ "scores" runs the graph with every knob, "gains" blends: for numbers they must agree."""
    people, knobs = waves.population(), waves.learner().knobs
    line = {"intercept": 0.4, "slope": 0.5, "residual_sd": 0.8}
    option = {**knobs, "mix": 1.0, "ridge": 0.3, "weight": 0.75, "guard": 2.0, "floor": 0.2, **line}
    still = waves.learner().unadapted
    asked = EvaluationRequest(
        "mse", 6, 0.45, [CandidateSet(3, [option], "gains"), CandidateSet(3, [still, option], "scores")]
    )
    gains, scores = by_device(people, waves.bundle(), asked)
    assert gains.sums[0, 0] == pytest.approx(scores.sums[0, 0] - scores.sums[1, 0], rel=1e-4)
    assert abs(gains.sums[0, 0]) > 1


def test_whose_state_is_not_finite_keeps_the_initialisation() -> None:
    people = tiny.population(30)
    wild = {**tiny.learner().knobs, "lr": math.inf}
    still = tiny.learner().unadapted
    (found,) = by_device(
        people, tiny.bundle(), EvaluationRequest("accuracy", 6, 0.4, [CandidateSet(3, [still, wild], "scores")])
    )
    assert found.users > 3
    assert found.sums[0].tolist() == found.sums[1].tolist()


def test_an_unknown_metric_is_named() -> None:
    asked = inquiry("acuracy", [tiny.learner().knobs], 0.4)
    with refused(UnknownNameError, "acuracy", "Did you mean 'accuracy'"):
        by_device(tiny.population(5), tiny.bundle(), asked)
    with refused(UnknownNameError, "acuracy", "Did you mean 'accuracy'"):
        by_batches(tiny.population(5), tiny.bundle(), asked, tiny.batched_engine())


# --- the app ------------------------------------------------------------------------------------------------------


def test_nobody_to_calibrate_is_an_error_that_keeps_the_rounds(tmp_path: Path) -> None:
    write_bundle(tmp_path / "start.tegu", waves.bundle())
    paths = {"bundle": f"{tmp_path}/start.tegu", "out": f"{tmp_path}/out"}
    grid = InProcessGrid(NODES, answer_with(waves.engine(), waves.population(), NODES))
    with flower_identity():
        with refused(FederationError, "no user can calibrate", "0.45", "k = 40", "calibration-share"):
            train(grid, {**RUN, **paths, "calibration-ks": "40,50"})
        assert not (tmp_path / "out/init.tegu").exists()
        train(grid, {**RUN, **paths})
    assert json.loads((tmp_path / "out/rounds.json").read_text())["resumed_at"] == PLAN.rounds
