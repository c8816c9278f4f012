"""The ServerApp: from a run configuration to a bundle, on the in-process grid."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Error, Message
from tests.client.graphs import linear_bundle
from tests.core.samples import refused
from tests.server import fake

from tegu.core.bundle.file import read_bundle, write_bundle
from tegu.core.calibration.assignment import is_calibration_user
from tegu.core.calibration.selection.limits import Limits
from tegu.core.errors import BundleError, FederationError, UnknownNameError
from tegu.core.metrics import METRICS
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.app import train
from tegu.server.calibration.schedule import find_schedule
from tegu.server.run_config import to_config
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.journal import read_events
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, EarlyStopping, TrainingPlan, UpdatePlan
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine
from tegu.sim.engine.onnx_looped import OnnxLooped
from tegu.sim.federation.grid import InProcessGrid, answer_with, flower_identity
from tegu.sim.training.in_process import Validator, train_in_process

PLAN = TrainingPlan(
    rounds=4,
    seed=2,
    cohort=CohortPlan(3),
    outer=OuterRule("AdamW", 0.05, {"weight_decay": 0.2}, decay=True),
    episodes=EpisodeRule(2, 4, 3),
    updates=UpdatePlan(clip=1.5),
)


def population() -> Population:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(40, 3)).astype(np.float32), rng.normal(size=(40, 1)).astype(np.float32)
    return Population.from_arrays(x, y, np.arange(40) % 5)


def engine() -> Engine:
    made = linear_bundle()
    return Engine(OnnxLooped(made.graphs), made.manifest)


def grid() -> InProcessGrid:
    return InProcessGrid(5, answer_with(engine(), population(), 5))


def config(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    write_bundle(tmp_path / "start.tegu", linear_bundle())
    paths = {"bundle": str(tmp_path / "start.tegu"), "out": str(tmp_path / "out")}
    return {**to_config(PLAN.training_only()), **paths, **changes}


def test_a_run_writes_the_result_of_in_process_training(tmp_path: Path) -> None:
    runner = engine()
    expected = train_in_process(runner, population(), linear_bundle().meta, PLAN)
    with flower_identity():
        written = train(grid(), config(tmp_path))
    found = read_bundle(tmp_path / "out" / "init.tegu")
    assert fake.same_bits(found.meta, expected.meta)
    assert found.manifest == written.manifest
    assert found.manifest.training["users_a_round"] == {"1": 3, "2": 3, "3": 3, "4": 3}
    assert found.graphs == linear_bundle().graphs
    summary = json.loads((tmp_path / "out" / "rounds.json").read_text())
    assert summary["users"] == {"1": 3, "2": 3, "3": 3, "4": 3}
    assert summary["resumed_at"] == 0
    assert [record["round"] for record in summary["log"]] == [1, 2, 3, 4]
    assert all(len(record["nodes"]) and record["refused"] == [] for record in summary["log"])
    assert sorted(path.name for path in (tmp_path / "out" / "checkpoints").iterdir()) == [
        "journal.jsonl",
        *(f"round-{number:06d}.safetensors" for number in (2, 3, 4)),
        "run.json",
    ]


def test_heldout_results_of_the_start_bundle_are_removed(tmp_path: Path) -> None:
    settings, start = config(tmp_path), linear_bundle()
    evaluated = replace(start.manifest, heldout=({"k": 1, "gain": 0.5},))
    write_bundle(tmp_path / "start.tegu", replace(start, manifest=evaluated))
    with flower_identity():
        assert train(grid(), settings).manifest.heldout == ()


def test_an_interrupted_run_is_resumed(tmp_path: Path) -> None:
    """The same command again finds the checkpoints, runs the remaining rounds, and gives the same bits."""
    answer = answer_with(engine(), population(), 5)
    rounds = 0

    def interrupted(messages: Sequence[Message]) -> Message:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            raise KeyboardInterrupt
        return answer(messages)

    kept = {"checkpoints": str(tmp_path / "kept")}
    with flower_identity():
        whole = train(grid(), config(tmp_path, out=str(tmp_path / "whole")))
        with pytest.raises(KeyboardInterrupt):
            train(InProcessGrid(5, interrupted), config(tmp_path, **kept))
        assert not [path for path in (tmp_path / "out").iterdir() if path.is_file()], "nothing but what devices fetch"
        resumed = train(grid(), config(tmp_path, **kept))
    assert fake.same_bits(resumed.meta, whole.meta)
    summary = json.loads((tmp_path / "out" / "rounds.json").read_text())
    assert (summary["resumed_at"], list(summary["users"])) == (2, ["1", "2", "3", "4"])
    assert resumed.manifest.training == whole.manifest.training, "the records of the first rounds are kept"


def test_a_finished_run_says_so_and_touches_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with flower_identity():
        first = train(grid(), config(tmp_path))
        before = contents(tmp_path / "out")
        with caplog.at_level("INFO", "tegu"):
            again = train(InProcessGrid(0, lambda messages: messages[0]), config(tmp_path))
    assert fake.same_bits(first.meta, again.meta)
    assert contents(tmp_path / "out") == before
    assert "already at round 4 of 4" in caplog.text


def test_the_reason_of_a_failed_run_is_in_the_journal(tmp_path: Path) -> None:
    def broken(messages: Sequence[Message]) -> list[Message]:
        return [Message(Error(0, "broken"), reply_to=message) for message in messages]

    with flower_identity(), refused(FederationError, "round 1 has no usable reply"):
        train(InProcessGrid(5, broken), config(tmp_path))
    *_, last = read_events(tmp_path / "out" / "checkpoints")[0]
    assert (last["event"], last["kind"]) == ("failed", "FederationError")
    assert "round 1 has no usable reply" in last["error"]


def test_notes_of_a_run_are_in_the_journal(tmp_path: Path) -> None:
    with flower_identity():
        train(grid(), config(tmp_path, rounds=2))
        (tmp_path / "out" / "init.tegu").unlink()
        train(grid(), config(tmp_path, rounds=2))
    notes = [event["text"] for event in read_events(tmp_path / "out" / "checkpoints")[0] if event["event"] == "note"]
    assert notes, "that the run goes on after round 2"
    assert "round 2" in notes[0]


def test_another_optimisers_checkpoint_is_refused(tmp_path: Path) -> None:
    other = {"outer": "Yogi", "outer-options": "{}"}
    with flower_identity():
        train(grid(), config(tmp_path))
        with refused(FederationError, "holds another run", "outer AdamW there, Yogi here", "choose another folder"):
            train(grid(), config(tmp_path, **other))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("change", ["bundle", "rounds", "seed", "clip"])
def test_another_runs_folder_is_refused_and_left_alone(tmp_path: Path, change: str) -> None:
    with flower_identity():
        train(grid(), config(tmp_path))
        before = contents(tmp_path / "out")
        settings = config(tmp_path)
        if change == "bundle":
            start = linear_bundle()
            meta = {name: value + 1 for name, value in start.meta.items()}
            write_bundle(tmp_path / "start.tegu", replace(start, meta=meta))
        else:
            settings[change] = {"rounds": 2, "seed": 9, "clip": 2.5}[change]
        expected = {
            "bundle": "other first parameters",
            "rounds": "4 rounds there, 2 here (the outer step size decays",
            "seed": "seed 2 there, 9 here",
            "clip": "clip 1.5 there, 2.5 here",
        }[change]
        with refused(FederationError, tmp_path / "out", expected):
            train(grid(), settings)
    assert contents(tmp_path / "out") == before


def test_resume_demands_a_run(tmp_path: Path) -> None:
    with flower_identity(), refused(FederationError, "holds no run to resume"):
        train(grid(), config(tmp_path, resume=True))
    assert not (tmp_path / "out/init.tegu").exists()


@pytest.mark.parametrize("name", ["bundle", "out"])
def test_an_unset_path_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(FederationError, match="bundle or out is not set: set both with flwr run"):
        train(grid(), config(tmp_path, **{name: ""}))


def test_a_missing_bundle_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.tegu .*check the path"):
        train(grid(), config(tmp_path, bundle=str(tmp_path / "none.tegu")))


def test_the_app_validates_stops_and_keeps_the_best_round(tmp_path: Path) -> None:
    """The result is that of in-process training with the same calibration users. The last rounds send no messages."""
    share = 0.4
    people, plan = (
        population(),
        replace(
            PLAN,
            rounds=30,
            outer=OuterRule("SGD", 9.0),
            cohort=CohortPlan(5),
            early_stopping=EarlyStopping(validate_every=1, patience=1),
            calibration=CalibrationPlan(share=share, ks=(1, 2, 3)),
        ),
    )
    names = [str(name) for name in people.users]
    who = np.asarray([is_calibration_user(plan.seed, name, share) for name in names])
    training, calibration = (people.subset(np.flatnonzero(part)) for part in (~who, who))
    assert 0 < who.sum() < 5
    runner = engine()
    with flower_identity():
        written = train(grid(), config(tmp_path, **to_config(plan)))
    validation = Validator(calibration, METRICS["mse"], 2, linear_bundle().manifest)
    alone = replace(plan, cohort=CohortPlan(len(training), len(training)))
    expected = train_in_process(runner, training, linear_bundle().meta, alone, validation=validation)
    summary = json.loads((tmp_path / "out" / "rounds.json").read_text())
    assert summary["kept_round"] == expected.kept == written.manifest.training["kept_round"]
    assert len(summary["validations"]) == len(expected.validations) < 30
    assert fake.same_bits(written.meta, expected.meta)
    for found, wanted in zip(summary["validations"], expected.validations, strict=True):
        assert (found["round"], found["personalised"]) == (wanted.round, pytest.approx(wanted.personalised))
    gap = summary["training_gap"]
    assert gap["round"] == expected.kept
    assert "warning" not in gap
    decline = summary["decline"]
    assert (decline["since"], decline["amount"] > 2 * decline["error"]) == (expected.kept, True)
    assert decline["warning"].endswith(f"Round {expected.kept} is kept")


@pytest.mark.parametrize(("risk", "limits"), [(-1.0, None), (0.5, Limits(0.5, 0.1))])
def test_the_federation_calibrates_with_the_plans_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, risk: float, limits: Limits | None
) -> None:
    used: list[Limits | None] = []

    def recording(ask: Any, manifest: Any, ks: Any, allowed: Limits | None) -> Any:
        used.append(allowed)
        return find_schedule(ask, manifest, ks, allowed)

    monkeypatch.setattr("tegu.server.calibration.calibrate.find_schedule", recording)
    calibrating = {
        "calibration-share": 0.4,
        "calibration-ks": "1,2",
        "calibration-risk": risk,
        "calibration-material": 0.1,
    }
    with flower_identity():
        train(grid(), config(tmp_path, **calibrating))
    assert used == [limits]


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    with refused(UnknownNameError, "look-evry", "validate-every"):
        train(grid(), config(tmp_path, **{"look-evry": 3}))
