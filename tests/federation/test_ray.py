"""The same strategy and the same ClientApp under Flower's Ray simulation."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest
from tests.federation.network_namespaces import namespace, namespaces_permitted
from tests.federation.process_watcher import Observed, watching
from tests.federation.tiny import SPEC, bundle, flower_processes, looped_engine, population, running

from tegu.core.bundle.file import read_bundle
from tegu.core.data.tree import max_difference
from tegu.core.data.users import read_users
from tegu.core.errors import FederationError, PopulationError
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.deployment import FlowerRun, local_flower
from tegu.server.deployment.temporary_folder import temporary_folder
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan
from tegu.sim.training import on_ray as ray
from tegu.sim.training.in_process import Trained, train_in_process
from tegu.sim.training.on_ray import train_on_ray, write_partitions

slow = pytest.mark.slow
pytestmark = pytest.mark.xdist_group("ray")

NODES, USERS = 3, 11
PLAN = TrainingPlan(
    rounds=3,
    seed=4,
    cohort=CohortPlan(NODES, NODES),
    outer=OuterRule("Adam", 0.05),
    episodes=EpisodeRule(3, 6, 4),
    updates=UpdatePlan(clip=0.5),
)


class OnRay(NamedTuple):
    """The result of a run on Ray, its observed processes, its warnings, and the temporary folders that it made."""

    trained: Trained
    seen: Observed
    workdir: Path
    warnings: list[str]
    folders: list[Path]


@contextmanager
def recorded_folders() -> Iterator[list[Path]]:
    """The temporary folders that a simulation makes. Other tests may have a Ray run of their own at the same time."""
    made: list[Path] = []

    @contextmanager
    def recorded(prefix: str) -> Iterator[Path]:
        with temporary_folder(prefix) as folder:
            made.append(folder)
            yield folder

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(local_flower, "temporary_folder", recorded)
        yield made


@contextmanager
def warnings_of(name: str) -> Iterator[list[str]]:
    """The warnings of a logger. A module's fixture cannot use `caplog`."""
    texts: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger(name).addHandler(handler)
    try:
        yield texts
    finally:
        logging.getLogger(name).removeHandler(handler)


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory: pytest.TempPathFactory) -> OnRay:
    workdir, logger = tmp_path_factory.mktemp("ray"), "tegu.server.deployment.network_namespace"
    with watching(workdir) as seen, warnings_of(logger) as warnings, recorded_folders() as made:
        trained = train_on_ray(bundle(), population(USERS), PLAN, workdir)
    return OnRay(trained, seen, workdir, warnings, made)


@slow
def test_the_result_equals_in_process_training(on_ray: OnRay) -> None:
    expected = train_in_process(looped_engine(), population(USERS), bundle().meta, PLAN)
    assert max_difference(on_ray.trained.meta, expected.meta) < 1e-5
    assert max_difference(on_ray.trained.meta, bundle().meta) > 0.05
    assert on_ray.trained.user_rounds == expected.user_rounds
    assert PLAN.rounds * NODES < expected.user_rounds < PLAN.rounds * USERS, "some users must stay out"


@slow
def test_ray_has_run_and_is_stopped(on_ray: OnRay) -> None:
    assert {"flwr-simulation", "raylet"} <= on_ray.seen.names
    assert running(on_ray.seen.processes) == []
    assert running(flower_processes(on_ray.workdir)) == []
    assert [folder.exists() for folder in on_ray.folders] == [False]


@slow
def test_ray_has_only_loopback(on_ray: OnRay) -> None:
    """If the system does not permit namespaces, a warning says so."""
    if namespaces_permitted():
        assert on_ray.warnings == []
        assert namespace("self") not in on_ray.seen.namespaces
        assert list(on_ray.seen.namespaces.values()) == [{"lo"}]
    else:
        assert any("namespaces are not permitted" in text for text in on_ray.warnings)


class FailedFlower:
    """A stand-in for a simulation whose runs all fail."""

    def __init__(self) -> None:
        self.config_used: dict[str, Any] = {}

    @contextmanager
    def __call__(self, app_dir: Path, workdir: Path, nodes: int) -> Iterator[FailedFlower]:
        yield self

    def run(self, config: Mapping[str, Any]) -> FlowerRun:
        self.config_used = dict(config)
        return FlowerRun("finished:failed", "long ago " * 999 + "TypeError: no such thing", 1.0)


def test_a_failed_run_is_an_error_with_the_end_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flower = FailedFlower()
    monkeypatch.setattr(ray, "local_simulation", flower)
    with pytest.raises(FederationError, match="run on Ray is finished:failed") as caught:
        train_on_ray(bundle(), population(USERS), PLAN, tmp_path / "new")
    assert str(caught.value).endswith("TypeError: no such thing")
    assert len(str(caught.value)) < 2200
    assert max_difference(read_bundle(flower.config_used["bundle"]).meta, bundle().meta) == 0
    assert len(list(Path(flower.config_used["partitions"]).iterdir())) == NODES


def test_a_plan_that_does_not_fit_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(PopulationError, match="the cohort is 12 of 11 nodes"):
        train_on_ray(bundle(), population(USERS), replace(PLAN, cohort=CohortPlan(12, 11)), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_partitions_hold_every_user_once(tmp_path: Path) -> None:
    people = population(USERS)
    write_partitions(tmp_path / "deep" / "rows", people, NODES)
    files = [read_users(tmp_path / "deep" / "rows" / f"{node}.npz", SPEC) for node in range(NODES)]
    assert [len(users) for users in files] == [4, 4, 3]
    found = {user.user: user for users in files for user in users}
    assert found.keys() == set(people.users.tolist())
    for index, name in enumerate(people.users):
        x, y = people.rows(index)
        np.testing.assert_array_equal(found[str(name)].x, x)
        np.testing.assert_array_equal(found[str(name)].y, y)


@slow
def test_a_simulation_that_is_terminated_ends_its_processes(tmp_path: Path) -> None:
    """Those of Flower and Ray have sessions of their own, and would go on alone."""
    options = ("--backend", "ray", "--rounds", "500", "--cohort", "2", "--out", str(tmp_path / "run"))
    command = [sys.executable, "-m", "tegu.cli.main", "simulate", "sine", *options]
    with (tmp_path / "said.txt").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    family = {psutil.Process(process.pid)}
    try:
        family |= family_with(process.pid, "raylet")
        process.terminate()
        code, left = process.wait(60), running(family)
    finally:
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait(60)
    assert (code, left) == (143, [])


def family_with(pid: int, name: str) -> set[psutil.Process]:
    """A process and all that Flower has started for it, once there is one with this name."""
    root, deadline = psutil.Process(pid), time.monotonic() + 120
    while time.monotonic() < deadline:
        own = {root, *root.children(recursive=True)}
        found = own.union(*(flower_processes(home) for home in flower_folders(own)))
        if any(name in line for line in running(found)):
            return found
        time.sleep(0.2)
    raise AssertionError(f"no process named {name} in time")


def flower_folders(processes: set[psutil.Process]) -> set[Path]:
    """Flower's folders of processes that still run."""
    found = set()
    for process in processes:
        with suppress(psutil.Error):
            found.add(process.environ().get("FLWR_HOME"))
    return {Path(home) for home in found if home}
