"""A run folder knows its run: it is resumed, or refused with what differs, and nothing in it is changed then."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.core.samples import refused
from tests.server.fake import Recorded
from tests.sim import people
from torch import nn

from tegu.core.data.tree import digest
from tegu.core.errors import DataError, FederationError
from tegu.learners import reptile
from tegu.server.progress import SILENT, RoundProgress
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import TrainingPlan
from tegu.sim import Population, Run, simulate
from tegu.sim.data.population_on_disk import write_population
from tegu.sim.training.run_record import data_record

pytestmark = pytest.mark.usefixtures("compiled_once")

CONSTANT = OuterRule("Adam", 0.05)


class Interrupted(Exception):
    """Stands for whatever ends a run."""


def stopping_at(number: int) -> Recorded:
    def after(progress: RoundProgress) -> None:
        if progress.round == number:
            raise Interrupted

    return Recorded(after)


def run(folder: Path | str | None, plan: TrainingPlan | None = None, **options: Any) -> Run:
    options = {"population": people.people(), "learner": people.learner(), "progress": SILENT} | options
    return simulate(plan=plan or people.plan(4), checkpoints=folder, **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the first two of four rounds."""
    with pytest.raises(Interrupted):
        run(tmp_path / "run", progress=stopping_at(2))
    return tmp_path / "run"


def other_rows(change: Callable[[Population], Population]) -> dict[str, Any]:
    return {"population": change(people.people())}


OTHERS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "seed": ({"seed": 1}, ("seed 0 there, 1 here", "other first parameters")),
    "cohort": ({"cohort": 6}, ("cohort 5 there, 6 here",)),
    "optimiser": ({"plan": people.plan(4, outer=OuterRule("SGD", 0.05, decay=True))}, ("outer Adam there, SGD here",)),
    "folds": ({"plan": people.plan(4, folds=2)}, ("calibration-folds 0 there, 2 here",)),
    "rounds": ({"plan": people.plan(6)}, ("4 rounds there, 6 here (the outer step size decays",)),
    "fewer users": (other_rows(lambda all_: all_.subset(np.arange(38))), ("40 users there, 38 here", "rows there")),
    "labels": (other_rows(lambda all_: replace(all_, y=2 - all_.y)), ("other targets (y)",)),
    "inputs": (other_rows(lambda all_: replace(all_, x=all_.x + 1)), ("other inputs (x)",)),
    "names": (other_rows(lambda all_: replace(all_, users=all_.users + 1)), ("other users' names",)),
    "knobs": (
        {"learner": reptile(people.classifier(), people.SPEC, **people.OPTIONS | {"steps": 2})},
        ("knob steps 3.0 there, 2.0 here",),
    ),
    "layers": (
        {"learner": reptile(nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3)), people.SPEC, init="fresh")},
        ("parameter 0.weight float32[4, 2] there, float32[5, 2] here",),
    ),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("resume", [False, True])
def test_another_run_is_refused_with_what_differs(folder: Path, name: str, resume: bool) -> None:
    options, expected = OTHERS[name]
    before = contents(folder)
    with refused(FederationError, folder, "holds another run", "choose another folder", *expected):
        run(folder, resume=resume, **options)
    assert contents(folder) == before


def test_another_function_with_the_same_parameters_is_another_run(tmp_path: Path) -> None:
    def with_activation(activation: nn.Module) -> Any:
        return reptile(nn.Sequential(nn.Linear(2, 4), activation, nn.Linear(4, 3)), people.SPEC, init="fresh")

    def once(learner: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            from tegu import compile as compiling  # the real one: tests share graphs by name otherwise

            patch.setattr("tegu.sim.run.compile_learner", compiling.compile_learner)
            run(tmp_path, people.plan(1), learner=learner)

    once(with_activation(nn.Tanh()))
    once(with_activation(nn.Tanh()))  # compiling twice gives the same graphs
    with refused(FederationError, "other graphs of the learner"):
        once(with_activation(nn.Sigmoid()))


def test_a_resumed_run_says_from_where_and_equals_an_uninterrupted_one(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tegu")
    whole, recorded = run(None), Recorded()
    resumed = run(str(folder), resume=True, progress=recorded)
    assert [each.round for each in recorded.rounds] == [3, 4]
    assert digest(resumed.bundle.meta) == digest(whole.bundle.meta)
    assert resumed.bundle.manifest.schedule == whole.bundle.manifest.schedule
    notes = [record.getMessage() for record in caplog.records if "resumed" in record.getMessage()]
    assert notes == [f"resumed after round 2 of 4, from the checkpoints in {folder}"]


def test_more_rounds_continue_where_the_first_would_have_been_the_same(tmp_path: Path) -> None:
    short, longer = people.plan(4, outer=CONSTANT), people.plan(6, outer=CONSTANT)
    run(tmp_path, short)
    recorded = Recorded()
    continued = run(tmp_path, longer, progress=recorded)
    assert [each.round for each in recorded.rounds] == [5, 6]
    assert digest(continued.bundle.meta) == digest(run(None, longer).bundle.meta)
    with refused(FederationError, "6 rounds there, 4 here (round 6 is reached already)"):
        run(tmp_path, short)
    assert json.loads((tmp_path / "run.json").read_text())["plan"]["rounds"] == 6


def test_patience_depends_on_the_number_of_rounds(tmp_path: Path) -> None:
    run(tmp_path, people.plan(4, outer=CONSTANT, patience=3))
    with refused(FederationError, "4 rounds there, 6 here (with patience"):
        run(tmp_path, people.plan(6, outer=CONSTANT, patience=3))


def test_a_setting_of_calibration_alone_may_change_and_is_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "tegu"):
        changed = run(folder, people.plan(4, ks=(2,)))
    assert "another setting of calibration: calibration-ks 1,3 there, 2 here" in caplog.text
    assert digest(changed.trained.meta) == digest(run(None).trained.meta)
    assert changed.ks == (2,)


def test_with_patience_validation_depends_on_calibration(tmp_path: Path) -> None:
    patient = people.plan(4, patience=5, validate_every=1)
    with pytest.raises(Interrupted):
        run(tmp_path, patient, progress=stopping_at(2))
    other = replace(patient, calibration=replace(patient.calibration, ks=(2,)))
    with refused(FederationError, "calibration-ks 1,3 there, 2 here"):
        run(tmp_path, other)


def test_resume_demands_a_run(tmp_path: Path) -> None:
    with refused(FederationError, tmp_path, "holds no run to resume", "leave out resume"):
        run(tmp_path, resume=True)
    with refused(DataError, "resume is True and checkpoints is None"):
        run(None, resume=True)
    assert contents(tmp_path) == {}


def test_checkpoints_without_a_record_are_of_no_known_run(folder: Path) -> None:
    (folder / "run.json").unlink()
    with refused(FederationError, folder, "no run.json", "choose another folder"):
        run(folder)


@pytest.mark.parametrize("body", [b"", b"[1]", b'{"plan": 3}'])
def test_a_damaged_record_is_an_error(folder: Path, body: bytes) -> None:
    (folder / "run.json").write_bytes(body)
    with refused(FederationError, "run.json cannot be read", "choose another folder"):
        run(folder)


def test_the_folds_are_covered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The second fold is interrupted; the newest checkpoint of the first is damaged, and the one before is used."""
    plan, count = people.plan(6, folds=2), 0  # three rounds a fold

    def after(progress: RoundProgress) -> None:
        nonlocal count
        count += 1
        if count == 5:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(tmp_path, plan, progress=Recorded(after))
    newest = tmp_path / "fold-0/round-000003.safetensors"
    newest.write_bytes(newest.read_bytes()[:-20])
    with refused(FederationError, "seed 0 there, 2 here"):
        run(tmp_path, replace(plan, seed=2))
    caplog.set_level("INFO", "tegu")
    resumed = run(tmp_path, plan, resume=True)
    assert digest(resumed.bundle.meta) == digest(run(None, plan).bundle.meta)
    said = [record.getMessage() for record in caplog.records]
    assert f"resumed after round 2 of 3, from the checkpoints in {tmp_path / 'fold-0'}" in said
    assert any("round-000003.safetensors is skipped" in each for each in said)


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    """The second is refused while the first trains, and does not disturb it."""
    refusals = []

    def after(progress: RoundProgress) -> None:
        if progress.round == 2:
            with refused(FederationError, "another run is writing to", tmp_path, "choose another folder"):
                run(tmp_path)
            refusals.append(progress.round)

    done = run(tmp_path, progress=Recorded(after))
    assert refusals == [2]
    assert digest(done.bundle.meta) == digest(run(None).bundle.meta)


KILLED = """
import runpy, sys
from types import SimpleNamespace
from tegu.server.progress import Silent
from tegu.sim import simulate

people = SimpleNamespace(**runpy.run_path(sys.argv[2]))

class Slow(Silent):
    def round(self, progress):
        print(progress.round, flush=True)
        if progress.round == 2 and len(sys.argv) > 3:
            import time
            time.sleep(60)

run = simulate(people.people(), people.learner(), plan=people.plan(4), checkpoints=sys.argv[1], progress=Slow())
"""


@pytest.mark.slow
def test_a_killed_run_is_resumed_in_another_process(tmp_path: Path) -> None:
    """The lock ends with the process, and graphs that another process compiled are the same."""
    arguments = [sys.executable, "-c", KILLED, str(tmp_path / "run"), people.__file__]
    with subprocess.Popen([*arguments, "slow"], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        while first.stdout.readline() != "2\n":
            assert first.poll() is None
        second = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert "another run is writing to" in second.stderr
        time.sleep(0.05)
        first.send_signal(signal.SIGKILL)
        first.wait()
    third = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (third.returncode, third.stdout.split()) == (0, ["3", "4"]), third.stderr
    assert "resumed after round 2 of 4" in third.stderr
    assert digest(run(tmp_path / "run").bundle.meta) == digest(run(None).bundle.meta)


def test_the_data_of_a_population_on_disk_has_the_same_digest(tmp_path: Path) -> None:
    population = people.people()
    on_disk = write_population(tmp_path, people.SPEC, (population.local(user) for user in range(len(population))))
    in_memory = replace(population, users=on_disk.users)
    assert data_record(on_disk) == data_record(in_memory)


def test_a_custom_metric_has_a_record(tmp_path: Path) -> None:
    plan = people.plan(1)
    metric = replace(plan.calibration.metric_for(people.SPEC), name="own metric")
    run(tmp_path, replace(plan, calibration=CalibrationPlan(folds=0, ks=(1, 3), metric=metric)))
    assert json.loads((tmp_path / "run.json").read_text())["plan"]["calibration-metric"] == "own metric"
