"""Batched graphs in this process, the app on a grid, and a real SuperLink find the same schedule."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from tests.client.graphs import ITEMS, ranking_bundle
from tests.core.samples import refused
from tests.federation import sine_users, tiny
from tests.federation.imported_modules import record_imports, recorded_imports
from tests.federation.sine_users import KS, NODES, PLAN, SHARE

from tegu.client.federation.client_app import app as client_app
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
    """The choices are the same. Figures differ only by the float32 rounding of replies."""
    assert [entry.k for entry in found] == [entry.k for entry in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.knobs == pytest.approx(other.knobs, rel=1e-4, abs=1e-5)
        # Errors are about 1, of which float32 keeps seven digits, and a gain may be next to nothing.
        assert (one.gain, one.gain_sd) == pytest.approx((other.gain, other.gain_sd), rel=1e-4, abs=1e-6)


@pytest.fixture(scope="module")
def simulated() -> Schedule:
    """The batched simulator's schedule: trained without the calibration users, and calibrated by them."""
    training, calibration = sine_users.split_users()
    meta = train_in_process(sine_users.engine(), training, sine_users.bundle().meta, PLAN).meta
    found = calibrate(sine_users.engine(), [Evaluator(meta, calibration)], KS, METRICS["mse"], PLAN.seed)
    assert [entry.k for entry in found] == [1, 2, 4], "no user has enough rows for the last k"
    assert 10 <= len(calibration) < 24, "enough users to choose the guard"
    assert any(entry.knobs["steps"] for entry in found), "some k must be adapted at"
    return found


def test_the_app_on_a_grid_finds_the_simulators_schedule(simulated: Schedule, tmp_path: Path) -> None:
    write_bundle(tmp_path / "start.tegu", sine_users.bundle())
    paths = {"bundle": f"{tmp_path}/start.tegu", "out": f"{tmp_path}/out"}
    grid = InProcessGrid(NODES, answer_with(sine_users.engine(), sine_users.population(), NODES))
    with flower_identity():
        written = train(grid, {**RUN, **paths})
    same_schedule(written.manifest.schedule, simulated)
    assert read_bundle(tmp_path / "out/init.tegu").manifest.schedule == written.manifest.schedule
    training, _ = sine_users.split_users()
    trained = train_in_process(sine_users.engine(), training, sine_users.bundle().meta, PLAN)
    assert max_difference(written.meta, trained.meta) < 1e-5, "calibration users must not train"
    assert set(written.manifest.training["users_a_round"].values()) == {len(training)}


def test_three_devices_find_the_simulators_schedule(simulated: Schedule, tmp_path: Path) -> None:
    """The app that devices run, in this process: the server checks and combines the replies of each."""
    write_bundle(tmp_path / "start.tegu", sine_users.bundle())
    write_partitions(tmp_path / "rows", sine_users.population(), NODES)

    def answer(messages: Sequence[Message]) -> list[Message]:
        return [client_app(message, context(message.metadata.dst_node_id - 1)) for message in messages]

    def context(node: int) -> Context:
        own = {"data": f"{tmp_path}/rows/{node}.npz", "bundle": f"{tmp_path}/start.tegu", "least-evaluated": 1}
        return Context(1, 1, own, RecordDict(), {})

    paths = {"bundle": f"{tmp_path}/start.tegu", "out": f"{tmp_path}/out"}
    with flower_identity():
        written = train(InProcessGrid(NODES, answer), {**RUN, **paths})
    same_schedule(written.manifest.schedule, simulated)
    summary = json.loads((tmp_path / "out/rounds.json").read_text())
    assert summary["refused"] == {}
    assert summary["refused_in_calibration"] == []


@slow
@pytest.mark.xdist_group("superlink")
def test_a_superlink_finds_the_simulators_schedule(simulated: Schedule, tmp_path: Path) -> None:
    write_bundle(tmp_path / "start.tegu", sine_users.bundle())
    write_partitions(tmp_path / "rows", sine_users.population(), NODES)
    nodes = [
        {"data": f"{tmp_path}/rows/{node}.npz", "bundle": f"{tmp_path}/start.tegu", "least-evaluated": 1}
        for node in range(NODES)
    ]
    paths = {"bundle": f"{tmp_path}/start.tegu", "out": f"{tmp_path}/out"}
    with record_imports(tmp_path / "imports"), local_federation(APP_DIR, tmp_path / "flower", nodes) as flower:
        run = flower.run({**RUN, **paths}, timeout=180)
    assert run.completed, run.log
    bundle = read_bundle(tmp_path / "out/init.tegu")
    same_schedule(bundle.manifest.schedule, simulated)
    training, _ = sine_users.split_users()
    assert set(json.loads((tmp_path / "out/rounds.json").read_text())["users"].values()) == {len(training)}
    clients = [
        each for each in recorded_imports(tmp_path / "imports") if "tegu.client.federation.client_app" in each.modules
    ]
    assert any("tegu.core.calibration.evaluate_candidates" in each.modules for each in clients)
    assert all(not {"torch", "onnx", "pandas"} & each.modules for each in clients)


FOLDS = 2
CROSSED: Mapping[str, Any] = {**RUN, "calibration-folds": FOLDS, "validate-every": 1}


@pytest.fixture(scope="module")
def cross_fitted() -> tuple[Schedule, Any]:
    """The batched simulator's schedule and parameters: trained without each fold, and with all users."""
    parts = [sine_users.split_users(1 / FOLDS, fold=fold) for fold in range(FOLDS)]
    shorter = replace(PLAN, rounds=1)  # of two rounds, as each fold has half of the users
    metas = [
        train_in_process(sine_users.engine(), training, sine_users.bundle().meta, shorter).meta for training, _ in parts
    ]
    judges = [Evaluator(meta, calibration) for meta, (_, calibration) in zip(metas, parts, strict=True)]
    found = calibrate(sine_users.engine(), judges, KS, METRICS["mse"], PLAN.seed)
    assert sum(len(calibration) for _, calibration in parts) == len(sine_users.population())
    kept = train_in_process(sine_users.engine(), sine_users.population(), sine_users.bundle().meta, PLAN).meta
    assert min(max_difference(kept, meta) for meta in metas) > 1e-4, "differs from the training with all users"
    return found, kept


def test_the_app_cross_fits_as_the_simulator_does(cross_fitted: tuple[Schedule, Any], tmp_path: Path) -> None:
    write_bundle(tmp_path / "start.tegu", sine_users.bundle())
    paths = {"bundle": f"{tmp_path}/start.tegu", "out": f"{tmp_path}/out"}
    grid = InProcessGrid(NODES, answer_with(sine_users.engine(), sine_users.population(), NODES))
    with flower_identity():
        written = train(grid, {**CROSSED, **paths})
    same_schedule(written.manifest.schedule, cross_fitted[0])
    assert max_difference(written.meta, cross_fitted[1]) < 1e-5, "all users take part in the last training"
    assert set(written.manifest.training["users_a_round"].values()) == {len(sine_users.population())}
    folders = {path.parent.name for path in (tmp_path / "out").rglob("*.safetensors")}
    assert folders == {"checkpoints", "fold-0", "fold-1"}
    summary = json.loads((tmp_path / "out/rounds.json").read_text())
    assert [each["round"] for each in summary["validations"]] == [1]
    assert summary["training_gap"]["personalised"] is not None
    with flower_identity():
        again = train(
            InProcessGrid(NODES, answer_with(sine_users.engine(), sine_users.population(), NODES)), {**CROSSED, **paths}
        )
    assert again.manifest.schedule == written.manifest.schedule, "from the checkpoints, without another round"


@slow
@pytest.mark.xdist_group("superlink")
def test_a_superlink_cross_fits_as_the_simulator_does(cross_fitted: tuple[Schedule, Any], tmp_path: Path) -> None:
    write_bundle(tmp_path / "start.tegu", sine_users.bundle())
    write_partitions(tmp_path / "rows", sine_users.population(), NODES)
    nodes = [
        {"data": f"{tmp_path}/rows/{node}.npz", "bundle": f"{tmp_path}/start.tegu", "least-evaluated": 1}
        for node in range(NODES)
    ]
    paths = {"bundle": f"{tmp_path}/start.tegu", "out": f"{tmp_path}/out"}
    with local_federation(APP_DIR, tmp_path / "flower", nodes) as flower:
        run = flower.run({**CROSSED, **paths}, timeout=240)
    assert run.completed, run.log
    bundle = read_bundle(tmp_path / "out/init.tegu")
    same_schedule(bundle.manifest.schedule, cross_fitted[0])
    assert max_difference(bundle.meta, cross_fitted[1]) < 1e-5


# --- devices against batches -------------------------------------------------------------------------------------


def make_request(metric: str, options: Sequence[Mapping[str, float]], share: float) -> EvaluationRequest:
    sets: list[tuple[int, Measure, UserGroup]] = [
        (1, "gains", "calibration"), (3, "gains", "calibration"), (3, "scores", "calibration"),
        (3, "scores", "comparison"), (50, "gains", "calibration"),
    ]  # fmt: skip
    return EvaluationRequest(metric, 6, share, [CandidateSet(k, options, measure, who) for k, measure, who in sets])


def by_device(people: Population, bundle: Any, request: EvaluationRequest) -> list[MetricSums]:
    local = [people.local(user) for user in range(len(people))]
    return evaluate_users(OnnxRuntime(bundle.graphs), bundle.meta, local, bundle.manifest, request)


def by_batches(people: Population, bundle: Any, request: EvaluationRequest, engine: Any) -> list[MetricSums]:
    return batched.evaluate_batched(engine, bundle.meta, batched.select_users(people, None, request), request, METRICS)


def same_answers(found: Sequence[MetricSums], expected: Sequence[MetricSums]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.users == other.users
        np.testing.assert_allclose(one.sums, other.sums, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("columns", "fold"), [((), 0), (("group",), 0), (("order",), 1)])
def test_a_device_evaluates_as_batches_do(columns: tuple[str, ...], fold: int) -> None:
    people = tiny.again_and_again(40, frozenset(columns))
    options = [{**tiny.learner().knobs, "lr": rate} for rate in (0.1, 0.3)]
    request = make_request("accuracy", options, 0.4)._replace(fold=fold)
    found = by_device(people, tiny.bundle(), request)
    same_answers(found, by_batches(people, tiny.bundle(), request, tiny.batched_engine()))
    able = [people.max_support >= question.k for question in request.questions]
    names = [str(name) for name in people.users]
    for answer, question, enough in zip(found, request.questions, able, strict=True):
        drawn = is_calibration_user if question.who == "calibration" else is_comparison_user
        assert answer.users == sum(drawn(6, name, 0.4, fold) for name, has in zip(names, enough, strict=True) if has)
    assert [answer.users > 2 for answer in found] == [True, True, True, True, False]
    assert not np.allclose(found[1].sums[0], found[1].sums[1])


def test_a_device_ranks_as_batches_do() -> None:
    """A ranking predicts the whole catalogue without the items of the support."""
    made, rng = ranking_bundle(), np.random.default_rng(0)
    items = np.concatenate([rng.choice(ITEMS, 6, replace=False) for _ in range(40)])
    people = Population.from_arrays(items, np.ones(240), np.repeat(np.arange(40), 6), made.manifest.spec)
    request = EvaluationRequest("recall@10", 6, 0.4, [CandidateSet(1, [made.manifest.knobs], "scores")])
    batches = Engine(
        OnnxLooped({**made.graphs, "update": made.graphs["adapt"]}), made.manifest
    )  # `update` is never called
    found = by_device(people, made, request)
    same_answers(found, by_batches(people, made, request, batches))
    assert 0 < found[0].sums[0, 0] < found[0].users, "ten of eleven items are recommended, which misses some"


def test_a_device_corrects_as_batches_do() -> None:
    people, knobs = sine_users.population(), sine_users.learner().knobs
    line = {"intercept": 0.4, "slope": 0.5, "residual_sd": 0.8}
    options = [
        {**knobs, "mix": mix, "ridge": 0.3, "weight": weight, "guard": guard, "floor": 0.2, **line}
        for mix in (0.0, 1.0)
        for weight, guard in ((0.5, 0.0), (1.0, 2.0))
    ]
    request = make_request("mse", options, 0.45)
    request = request._replace(questions=[*request.questions, CandidateSet(2, options[::2], "lines")])
    same_answers(
        by_device(people, sine_users.bundle(), request),
        by_batches(people, sine_users.bundle(), request, sine_users.engine()),
    )


def test_blending_is_what_the_bundle_does() -> None:
    """ "scores" runs the graph with every knob, "gains" blends: for numbers they must agree."""
    people, knobs = sine_users.population(), sine_users.learner().knobs
    line = {"intercept": 0.4, "slope": 0.5, "residual_sd": 0.8}
    option = {**knobs, "mix": 1.0, "ridge": 0.3, "weight": 0.75, "guard": 2.0, "floor": 0.2, **line}
    unadapted = sine_users.learner().unadapted
    request = EvaluationRequest(
        "mse", 6, 0.45, [CandidateSet(3, [option], "gains"), CandidateSet(3, [unadapted, option], "scores")]
    )
    gains, scores = by_device(people, sine_users.bundle(), request)
    assert gains.sums[0, 0] == pytest.approx(scores.sums[0, 0] - scores.sums[1, 0], rel=1e-4)
    assert abs(gains.sums[0, 0]) > 1


def test_a_user_with_a_non_finite_state_keeps_the_initialisation() -> None:
    people = tiny.population(30)
    wild = {**tiny.learner().knobs, "lr": math.inf}
    unadapted = tiny.learner().unadapted
    (found,) = by_device(
        people, tiny.bundle(), EvaluationRequest("accuracy", 6, 0.4, [CandidateSet(3, [unadapted, wild], "scores")])
    )
    assert found.users > 3
    assert found.sums[0].tolist() == found.sums[1].tolist()


def test_an_unknown_metric_is_an_error() -> None:
    request = make_request("acuracy", [tiny.learner().knobs], 0.4)
    with refused(UnknownNameError, "acuracy", "Did you mean 'accuracy'"):
        by_device(tiny.population(5), tiny.bundle(), request)
    with refused(UnknownNameError, "acuracy", "Did you mean 'accuracy'"):
        by_batches(tiny.population(5), tiny.bundle(), request, tiny.batched_engine())


# --- the app ------------------------------------------------------------------------------------------------------


def test_no_calibration_user_is_an_error_that_keeps_the_checkpoints(tmp_path: Path) -> None:
    write_bundle(tmp_path / "start.tegu", sine_users.bundle())
    paths = {"bundle": f"{tmp_path}/start.tegu", "out": f"{tmp_path}/out"}
    grid = InProcessGrid(NODES, answer_with(sine_users.engine(), sine_users.population(), NODES))
    with flower_identity():
        with refused(FederationError, "no user can calibrate", "0.45", "k = 40", "calibration-share"):
            train(grid, {**RUN, **paths, "calibration-ks": "40,50"})
        assert not (tmp_path / "out/init.tegu").exists()
        train(grid, {**RUN, **paths})
    assert json.loads((tmp_path / "out/rounds.json").read_text())["resumed_at"] == PLAN.rounds
