"""The ServerApp's own part: from a run configuration to a bundle, on the in-process grid."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli
from flwr.app import Message
from tests.client.graphs import linear_bundle
from tests.core.samples import refused
from tests.server import fake

from tegu.core.bundle.file import read_bundle, write_bundle
from tegu.core.calibration.assignment import calibrates
from tegu.core.errors import BundleError, DataError, FederationError, TeguError, UnknownNameError
from tegu.core.metrics import METRICS
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.app import train
from tegu.server.calibration.calibrate import CalibrationRule
from tegu.server.run_config import calibration_from, outer_from, settings_from
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.strategy import RoundSettings
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine
from tegu.sim.engine.onnx_looped import OnnxLooped
from tegu.sim.federation.grid import InProcessGrid, answer_with, flower_identity
from tegu.sim.training.in_process import TrainingPlan, Validation, train_in_process
from tegu.sim.training.on_ray import APP_DIR, run_config

PLAN = TrainingPlan(
    4, 3, seed=2, outer=OuterRule("AdamW", 0.05, {"weight_decay": 0.2}, decay=True), rule=EpisodeRule(2, 4, 3), clip=1.5
)


def population() -> Population:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(40, 3)).astype(np.float32), rng.normal(size=(40, 1)).astype(np.float32)
    return Population.from_arrays(x, y, np.arange(40) % 5)


def grid() -> InProcessGrid:
    return InProcessGrid(5, answer_with(Engine(OnnxLooped(linear_bundle().graphs)), population(), 5))


def config(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    write_bundle(tmp_path / "start.tegu", linear_bundle())
    paths = {"bundle": str(tmp_path / "start.tegu"), "out": str(tmp_path / "out")}
    return {**run_config(PLAN), **paths, **changes}


def test_a_run_writes_what_in_process_training_gives(tmp_path: Path) -> None:
    engine = Engine(OnnxLooped(linear_bundle().graphs))
    expected = train_in_process(engine, population(), linear_bundle().meta, PLAN)
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
    assert sorted((tmp_path / "out" / "checkpoints").iterdir())[-1].name == "round-000004.safetensors"


def test_what_held_out_people_gained_by_the_start_is_not_said_of_the_result(tmp_path: Path) -> None:
    settings, start = config(tmp_path), linear_bundle()
    told = replace(start.manifest, heldout=({"k": 1, "gain": 0.5},))
    write_bundle(tmp_path / "start.tegu", replace(start, manifest=told))
    with flower_identity():
        assert train(grid(), settings).manifest.heldout == ()


def test_an_interrupted_run_is_resumed(tmp_path: Path) -> None:
    """The same command again: it finds the checkpoints, runs the rounds that are missing, and ends in the same bits."""
    answer = answer_with(Engine(OnnxLooped(linear_bundle().graphs)), population(), 5)
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
        assert not (tmp_path / "out").exists()
        resumed = train(grid(), config(tmp_path, **kept))
    assert fake.same_bits(resumed.meta, whole.meta)
    summary = json.loads((tmp_path / "out" / "rounds.json").read_text())
    assert (summary["resumed_at"], list(summary["users"])) == (2, ["3", "4"])


def test_a_finished_run_is_only_written_again(tmp_path: Path) -> None:
    with flower_identity():
        first = train(grid(), config(tmp_path))
        again = train(InProcessGrid(0, lambda messages: messages[0]), config(tmp_path))
    assert fake.same_bits(first.meta, again.meta)


def test_another_optimisers_checkpoint_is_refused(tmp_path: Path) -> None:
    other = {"outer": "Yogi", "outer-options": "{}"}
    with flower_identity():
        train(grid(), config(tmp_path))
        with pytest.raises(FederationError, match="'adamw' and this run has 'Yogi'"):
            train(grid(), config(tmp_path, **other))


@pytest.mark.parametrize("name", ["bundle", "out"])
def test_an_unset_path_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(FederationError, match="bundle and out are not set: flwr run"):
        train(grid(), config(tmp_path, **{name: ""}))


def test_an_absent_bundle_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.tegu .*check the path"):
        train(grid(), config(tmp_path, bundle=str(tmp_path / "none.tegu")))


def test_the_plan_survives_the_run_configuration(tmp_path: Path) -> None:
    assert outer_from(run_config(PLAN)) == PLAN.outer
    plan = replace(PLAN, nodes=7, updates="int8")  # without nodes, one node of this process stands for everybody
    assert settings_from(run_config(plan)) == plan.settings
    assert run_config(replace(PLAN, checkpoints=tmp_path))["checkpoints"] == str(tmp_path)


def test_the_apps_defaults_are_complete() -> None:
    """Flower refuses keys that the app does not declare, and values of another type than the declared."""
    pyproject = APP_DIR / "pyproject.toml"
    declared = tomli.loads(pyproject.read_text())["tool"]["flwr"]["app"]["config"]
    assert {name: type(value) for name, value in run_config(PLAN).items()} == {
        name: type(value) for name, value in declared.items() if name not in ("bundle", "out", "partitions")
    }
    assert settings_from(declared) == RoundSettings(3, 0, math.inf, EpisodeRule(), share=0.1)
    assert outer_from(declared) == OuterRule()


def test_the_app_looks_on_stops_and_keeps_the_best_round(tmp_path: Path) -> None:
    """As in process, where those who calibrate are the same; the last rounds are run for nobody."""
    share, options = 0.4, {"look-every": 1, "patience": 1, "calibration-share": 0.4, "ks": "1,2,3", "rounds": 30}
    people, plan = population(), replace(PLAN, rounds=30, outer=OuterRule("SGD", 9.0), cohort=5)
    names = [str(name) for name in people.users]
    who = np.asarray([calibrates(plan.seed, name, share) for name in names])
    training, calibration = (people.subset(np.flatnonzero(part)) for part in (~who, who))
    assert 0 < who.sum() < 5
    engine = Engine(OnnxLooped(linear_bundle().graphs))
    with flower_identity():
        written = train(grid(), config(tmp_path, **{**run_config(plan), **options}))
    validation = Validation(calibration, METRICS["mse"], 2, linear_bundle().manifest.knobs)
    alone = replace(plan, look_every=1, patience=1, nodes=len(training), cohort=len(training))
    expected = train_in_process(engine, training, linear_bundle().meta, alone, validation=validation)
    summary = json.loads((tmp_path / "out" / "rounds.json").read_text())
    assert summary["kept_round"] == expected.kept == written.manifest.training["kept_round"]
    assert len(summary["looks"]) == len(expected.looks) < 30
    assert fake.same_bits(written.meta, expected.meta)
    for found, wanted in zip(summary["looks"], expected.looks, strict=True):
        assert (found["round"], found["personalised"]) == (wanted.round, pytest.approx(wanted.personalised))
    gap = summary["training_gap"]
    assert gap["round"] == expected.kept
    assert bool(gap["warning"]) == (gap["gap"] > 2 * gap["error"])


def test_patience_with_folds_is_refused(tmp_path: Path) -> None:
    with refused(DataError, "patience is 3 with 2 calibration-folds", "one of them to 0"):
        train(grid(), config(tmp_path, **{"patience": 3, "look-every": 2, "calibration-folds": 2}))


@pytest.mark.parametrize("folds", [-1, 1])
def test_fewer_than_two_folds_are_refused(folds: int) -> None:
    with refused(DataError, f"folds are {folds}", "2 and more"):
        CalibrationRule((1,), folds=folds)


def test_patience_where_nobody_looks_is_refused(tmp_path: Path) -> None:
    for changed in ({"look-every": 0, "calibration-share": 0.2}, {"look-every": 2, "calibration-share": 0.0}):
        with refused(DataError, "patience is 3 and nobody looks", "look-every", "calibration-share"):
            train(grid(), config(tmp_path, patience=3, **changed))


def test_how_to_calibrate_is_read_from_the_run_configuration() -> None:
    declared = tomli.loads((APP_DIR / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    assert calibration_from(declared) == CalibrationRule((1, 2, 5, 10, 20), "", 0, 0.1, 0)
    own = {"ks": "3, 7", "metric": "rmse", "seed": 4, "calibration-share": 0.3, "calibration-nodes": 9}
    assert calibration_from({**declared, **own}) == CalibrationRule((3, 7), "rmse", 4, 0.3, 9)
    crossed = {**declared, "calibration-folds": 4}
    assert calibration_from(crossed) == CalibrationRule((1, 2, 5, 10, 20), "", 0, 0.1, 0, 4)
    left_out = [(settings_from(crossed, fold).share, settings_from(crossed, fold).fold) for fold in (0, 3, None)]
    assert left_out == [(0.25, 0), (0.25, 3), (0.0, 0)]


@pytest.mark.parametrize(
    ("changed", "kind", "parts"),
    [
        ({"ks": "1;5"}, FederationError, ["ks are '1;5'", '"1,5"']),
        ({"ks": ""}, DataError, ["ks are ()", "at least 1"]),
        ({"ks": "0,1"}, DataError, ["ks are (0, 1)"]),
        ({"metric": "rmsee"}, UnknownNameError, ["rmsee", "Did you mean 'rmse'"]),
    ],
)
def test_what_cannot_be_calibrated_for_is_refused(
    changed: dict[str, Any], kind: type[TeguError], parts: list[str]
) -> None:
    with refused(kind, *parts):
        calibration_from({**run_config(PLAN), **changed})


@pytest.mark.parametrize("options", ["no json", "3", "[1]"])
def test_options_that_are_no_object_are_refused(options: str) -> None:
    with pytest.raises(FederationError, match=r"outer-options is .*expected a JSON object, such as"):
        outer_from({**run_config(PLAN), "outer-options": options})


def test_unknown_optimisers_and_options_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'Yogi'"):
        outer_from({**run_config(PLAN), "outer": "yogii"})
    with pytest.raises(DataError, match="AdamW has no option wait_decay"):
        outer_from({**run_config(PLAN), "outer-options": '{"wait_decay": 1}'})
