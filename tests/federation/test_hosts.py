"""Nodes that host many users, on a SuperLink and on Ray: the result is that of one process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.federation import sine_users
from tests.federation.imported_modules import Imported, record_imports, recorded_imports
from tests.federation.nodes import paths_of_run
from tests.federation.sine_users import KS, NODES, PLAN, SHARE
from tests.federation.tiny import flower_processes, running

from tegu.core.bundle.file import Bundle, read_bundle, write_bundle
from tegu.core.data.tree import max_difference
from tegu.core.metrics import METRICS
from tegu.server.deployment import FlowerRun, local_federation
from tegu.server.deployment.environment import Scalar
from tegu.server.run_config import to_config
from tegu.server.training.plan import UpdatePlan
from tegu.sim.calibration.calibrate import calibrate
from tegu.sim.federation.hosts import HOST_APP_DIR, write_hosts
from tegu.sim.training.cross_fitting import Evaluator
from tegu.sim.training.in_process import train_in_process
from tegu.sim.training.on_ray import train_on_ray

pytestmark = pytest.mark.slow
CLIPPED = replace(PLAN, updates=UpdatePlan(clip=0.02))


class Hosted(NamedTuple):
    """The result of a run over two nodes, and which modules its processes had imported."""

    run: FlowerRun
    bundle: Bundle
    out: Path
    imported: list[Imported]


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Hosted:
    """A run that trains, validates and calibrates."""
    folder = tmp_path_factory.mktemp("hosts")
    write_bundle(folder / "start.tegu", sine_users.bundle())
    people = sine_users.population()
    users = (people.local(user) for user in range(len(people)))
    write_hosts(folder / "hosts", sine_users.bundle(), sine_users.engine(), users, NODES)
    nodes: list[dict[str, Scalar]] = [
        {"data": f"{folder}/hosts/{node}", "bundle": f"{folder}/start.tegu", "workers": 1, "least-evaluated": 1}
        for node in range(NODES)
    ]
    settings: dict[str, Scalar] = {
        **to_config(CLIPPED.training_only()),
        "validate-every": 1,
        "calibration-share": SHARE,
        "calibration-ks": ",".join(map(str, KS)),
    }
    with record_imports(folder / "imports"), local_federation(HOST_APP_DIR, folder / "flower", nodes) as flower:
        run = flower.run({**settings, **paths_of_run(folder)}, timeout=400)
        processes = flower_processes(folder)
    assert run.completed, run.log
    assert running(processes) == []
    return Hosted(run, read_bundle(folder / "out/init.tegu"), folder / "out", recorded_imports(folder / "imports"))


@pytest.mark.xdist_group("superlink")
def test_a_superlink_trains_and_calibrates_as_one_process(hosted: Hosted) -> None:
    training, calibration = sine_users.split_users()
    trained = train_in_process(sine_users.engine(), training, sine_users.bundle().meta, CLIPPED)
    assert max_difference(trained.meta, sine_users.bundle().meta) > 0.01
    assert max_difference(hosted.bundle.meta, trained.meta) < 1e-5
    expected = calibrate(sine_users.engine(), [Evaluator(trained.meta, calibration)], KS, METRICS["mse"], CLIPPED.seed)
    found = hosted.bundle.manifest.schedule
    assert [entry.k for entry in found] == [entry.k for entry in expected] == [1, 2, 4]
    for one, other in zip(found, expected, strict=True):
        assert one.knobs == pytest.approx(other.knobs, rel=1e-4, abs=1e-5)
        assert (one.gain, one.gain_sd) == pytest.approx((other.gain, other.gain_sd), rel=1e-4, abs=1e-6)


@pytest.mark.xdist_group("superlink")
def test_every_answer_counts(hosted: Hosted) -> None:
    summary = json.loads((hosted.out / "rounds.json").read_text())
    assert summary["refused"] == {}
    assert summary["refused_in_calibration"] == summary["refused_in_validation"] == []
    assert len(summary["validations"]) == CLIPPED.rounds
    assert set(summary["users"].values()) == {len(sine_users.split_users()[0])}


@pytest.mark.xdist_group("superlink")
def test_nodes_neither_trace_nor_compile(hosted: Hosted) -> None:
    apps = [each for each in hosted.imported if "tegu.sim.federation.host_app" in each.modules]
    assert len(apps) >= NODES * CLIPPED.rounds, "a SuperNode starts a process for each message"
    assert all(not {"torch", "onnx", "pandas", "tegu.compile", "tegu.learners"} & each.modules for each in apps)


@pytest.mark.xdist_group("ray")
def test_ray_trains_as_one_process(tmp_path: Path) -> None:
    people, start = sine_users.population(), sine_users.bundle()
    trained = train_on_ray(start, people, CLIPPED, tmp_path, engine=sine_users.engine())
    expected = train_in_process(sine_users.engine(), people, start.meta, CLIPPED)
    assert max_difference(expected.meta, start.meta) > 0.01
    assert max_difference(trained.meta, expected.meta) < 1e-5
    assert trained.user_rounds == expected.user_rounds == CLIPPED.rounds * len(people)
