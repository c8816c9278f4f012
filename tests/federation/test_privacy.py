"""Noise in a simulation and in a federation: the statement, the bundle, and a run that is resumed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message, RecordDict
from tests.core.samples import refused
from tests.federation import sine_users
from tests.federation.nodes import paths_of_run, write_nodes
from tests.federation.sine_users import NODES, PLAN, SHARE

from tegu.client.federation.client_app import app
from tegu.core.bundle.file import Bundle, read_bundle
from tegu.core.data.tree import max_difference
from tegu.core.errors import DataError
from tegu.core.privacy.line import privacy_line
from tegu.server.app import train
from tegu.server.privacy.accountant import Accountant, Spent
from tegu.server.privacy.plan import PrivacyPlan
from tegu.server.run_config import to_config
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import CohortPlan, EarlyStopping, TrainingPlan, UpdatePlan
from tegu.sim.federation.grid import InProcessGrid, flower_identity
from tegu.sim.run import run_plan
from tegu.sim.training.in_process import train_in_process

SIMULATED = replace(PLAN, cohort=CohortPlan(6), rounds=4, updates=UpdatePlan(clip=1.0), privacy=PrivacyPlan(noise=1.2))


def federated(folder: Path, plan: TrainingPlan) -> tuple[Bundle, dict[str, Any]]:
    """The app that devices run, in this process."""
    nodes = write_nodes(folder, sine_users.bundle(), sine_users.population(), NODES, {"least-evaluated": 1})

    def answer(messages: Sequence[Message]) -> list[Message]:
        return [
            app(message, Context(1, 1, nodes[message.metadata.dst_node_id - 1], RecordDict(), {}))
            for message in messages
        ]

    config = {**to_config(plan), "calibration-share": SHARE, "calibration-ks": "1,2,4", **paths_of_run(folder)}
    with flower_identity():
        train(InProcessGrid(NODES, answer), config)
    return read_bundle(folder / "out/init.tegu"), json.loads((folder / "out/rounds.json").read_text())


def test_a_federation_states_what_it_has_spent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Noise of the system, an adaptive clip, Adam, validation and calibration."""
    privacy = PrivacyPlan(noise=1.5, delta=1e-4)
    plan = replace(
        PLAN, cohort=CohortPlan(NODES, users_per_node=5), updates=UpdatePlan(), privacy=privacy,
        early_stopping=EarlyStopping(1),
    )  # fmt: skip
    bundle, summary = federated(tmp_path, plan)
    expected = [Accountant(1e-4, [Spent(1.0, 1.5, rounds)]).epsilon() for rounds in (1, 2)]
    assert [entry["epsilon"] for entry in summary["log"]] == pytest.approx(expected)
    stated = bundle.manifest.training["privacy"]
    assert stated == summary["privacy"]
    assert stated["epsilon"] == pytest.approx(expected[-1])
    assert (stated["delta"], stated["randomness"], stated["sampling"]) == (1e-4, "operating system", "Poisson")
    assert 0.05 < stated["clip"] < 0.2, "begun at 0.1"
    line = privacy_line(stated)
    assert f"epsilon {expected[-1]:.3g} for one person's updates in 2 rounds" in line
    assert "not counted is what calibration, validation" in line
    assert all(entry.losses == () and entry.frontier == () for entry in bundle.manifest.schedule)
    assert bundle.manifest.schedule


def test_a_federation_without_a_bound_on_people_is_refused(tmp_path: Path) -> None:
    with refused(DataError, "users_per_node is 0", "users-per-node"):
        federated(tmp_path, replace(PLAN, updates=UpdatePlan(), privacy=PrivacyPlan(epsilon=8.0)))


def test_local_noise_is_stated_and_robust_rules_stay(tmp_path: Path) -> None:
    updates = UpdatePlan(clip=0.5, aggregation="median")
    bundle, summary = federated(tmp_path, replace(PLAN, updates=updates, privacy=PrivacyPlan(local_noise=2.0)))
    assert summary["refused"] == {}, "noise makes replies longer than the clip, and that is no fault"
    stated = bundle.manifest.training["privacy"]
    assert "epsilon" not in stated
    expected = Accountant(1e-5, [Spent(1.0, 2.0, 2)]).epsilon()
    assert stated["local"]["epsilon"] == pytest.approx(expected, rel=1e-3)
    assert f"local epsilon {expected:.3g} toward the server" in privacy_line(stated)


def test_a_simulation_that_is_resumed_equals_one_that_is_not(tmp_path: Path) -> None:
    training, _ = sine_users.split_users()
    start = sine_users.bundle().meta
    whole = train_in_process(sine_users.engine(), training, start, SIMULATED)
    assert sum(each["rounds"] for each in whole.privacy["rounds"]) == 4
    assert max_difference(whole.meta, start) > 0.001
    calls: list[int] = []

    class StopsAfterTwo:
        def stage(self, text: str) -> None: ...

        def round(self, progress: Any) -> None:
            calls.append(progress.round)
            if len(calls) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_in_process(
            sine_users.engine(), training, start, SIMULATED, checkpoints=tmp_path, progress=StopsAfterTwo()
        )
    resumed = train_in_process(sine_users.engine(), training, start, SIMULATED, checkpoints=tmp_path)
    assert calls == [1, 2]
    assert resumed.privacy == whole.privacy
    assert max_difference(resumed.meta, whole.meta) == 0


def test_a_run_leaves_single_peoples_losses_out_of_its_bundle() -> None:
    people, learner = sine_users.population(), sine_users.learner()
    calibration = CalibrationPlan(share=0.3, folds=0, ks=(1, 2))
    plan = replace(SIMULATED, calibration=calibration, early_stopping=EarlyStopping(0), cohort=CohortPlan(5), rounds=1)
    noised = run_plan(people, learner, plan)
    plain = run_plan(people, learner, replace(plan, privacy=PrivacyPlan()))
    assert all(entry.losses for entry in plain.bundle.manifest.schedule), "what is left out"
    assert all(entry.losses == entry.frontier == () for entry in noised.bundle.manifest.schedule)
    assert "privacy" not in plain.bundle.manifest.training
    assert noised.bundle.manifest.training["privacy"]["rounds"][0]["rounds"] == 1
