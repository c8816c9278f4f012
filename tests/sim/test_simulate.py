"""`simulate`: keywords replace the plan's values, and every setting has its effect."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch
from tests.core.samples import refused
from tests.server.fake import Recorded
from tests.sim import people

from tegu.core.calibration.selection.limits import Limits
from tegu.core.data.tree import Tree, digest, max_difference
from tegu.core.errors import DataError, PopulationError, UnknownNameError
from tegu.core.notes import notes_also_to
from tegu.server.progress import Silent
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, UpdatePlan
from tegu.sim import Population, TrainingPlan, simulate
from tegu.sim.calibration.calibrate import calibrate
from tegu.sim.engine import MEMORY, EngineKind
from tegu.sim.run import Run, run_plan
from tegu.sim.training.in_process import Trained

pytestmark = pytest.mark.usefixtures("compiled_once")


def with_fixed_rounds(plan: TrainingPlan) -> TrainingPlan:
    """What a run makes of a plan with a number of rounds: validation does not end it."""
    return replace(plan, early_stopping=replace(plan.early_stopping, until_flat=False))


def test_keywords_replace_the_plans_values(tmp_path: Path) -> None:
    progress, plan = Recorded(), people.plan(4, seed=3, cohort=5, nodes=9, ks=(2,), validate_every=1)
    run = simulate(
        people.people(),
        people.learner(),
        rounds=2,
        cohort=3,
        seed=7,
        plan=plan,
        checkpoints=tmp_path,
        progress=progress,
    )
    assert run.plan == with_fixed_rounds(people.plan(2, seed=7, cohort=3, nodes=9, ks=(2,), validate_every=1))
    assert run.ks == (2,)
    assert run.learner.execution.example_scaling == (None, None)  # a learner is not changed
    assert [each.round for each in progress.rounds] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(f"round-{n:06d}.safetensors" for n in (1, 2)),
        "run.json",
    ]


def test_the_plan_decides_without_keywords() -> None:
    plan = people.plan(1, seed=3, cohort=4)
    assert simulate(people.people(), people.learner(), plan=plan).plan == with_fixed_rounds(plan)


@pytest.mark.parametrize("of_nodes", [False, True])
def test_users_whose_rows_cannot_be_split_are_left_out(of_nodes: bool) -> None:
    """One has a single row, and one has equal rows, which stay together. On nodes they are asked, and do not answer."""
    whole = people.people()
    x = np.concatenate([whole.x, np.ones((4, *whole.x.shape[1:]), whole.x.dtype)])
    names = [*np.repeat(whole.users, whole.counts), "once", "same", "same", "same"]
    more = Population.from_arrays(x, np.concatenate([whole.y, whole.y[:4]]), names, whole.spec)
    plan = people.plan(2, seed=3, cohort=4, **({"nodes": 4} if of_nodes else {}))
    notes: list[str] = []
    with notes_also_to(notes.append):
        run = simulate(more, people.learner(), plan=plan)
    left_out = {"once", "same"}
    kept = {str(name) for part in run.split for name in part.users}
    said = "\n".join(notes)
    if of_nodes:
        assert left_out <= kept
        assert "left out" not in said
    else:
        assert kept == set(map(str, whole.users))
        assert f"2 of {len(whole) + 2} users are left out: user once has 1 row: expected at least 2" in said


def test_held_out_users_who_are_all_left_out_are_an_error() -> None:
    whole = people.people()
    names = np.repeat(whole.users, whole.counts)
    parts = np.where(np.arange(len(whole)) < len(whole) // 2, 0, 1)
    x, y = np.concatenate([whole.x, whole.x[:1]]), np.concatenate([whole.y, whole.y[:1]])
    more = replace(Population.from_arrays(x, y, [*names, "once"], whole.spec), parts=np.append(parts, 2))
    with refused(PopulationError, "leaves query rows: held-out users have up to 0 usable rows"):
        simulate(more, people.learner(), plan=people.plan(1, cohort=4))


def test_zero_is_a_value() -> None:
    """Seed 0 replaces the plan's, and zero rounds are an error."""
    assert simulate(people.people(), people.learner(), seed=0, plan=people.plan(1, seed=3)).plan.seed == 0
    with pytest.raises(DataError, match="rounds is 0: expected at least 1"):
        simulate(people.people(), people.learner(), rounds=0)


def test_there_are_at_most_fourteen_keywords() -> None:
    parameters = inspect.signature(simulate).parameters.values()
    assert len([each for each in parameters if each.kind is each.KEYWORD_ONLY]) <= 14


def test_the_number_of_initialisations_is_checked() -> None:
    with pytest.raises(DataError, match="initialisations is 0: expected at least 1"):
        simulate(people.people(), people.learner(), initialisations=0)


def test_keywords_and_plan_give_the_same_bits() -> None:
    run = simulate(
        people.people(),
        people.learner(),
        rounds=3,
        cohort=4,
        seed=1,
        plan=TrainingPlan(calibration=CalibrationPlan(ks=(1,))),
    )
    plan = TrainingPlan(rounds=3, seed=1, cohort=CohortPlan(4), calibration=CalibrationPlan(folds=4, ks=(1,)))
    same = run_plan(people.people(), people.learner(), plan)
    assert digest(run.bundle.meta) == digest(same.bundle.meta)
    assert run.bundle.identity == same.bundle.identity


def test_numpys_numbers_and_torchs_default_dtype_change_nothing() -> None:
    expected = digest(tiny_run(people.plan(2, seed=3)).bundle.meta)
    own = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        run = simulate(people.people(), people.learner(), seed=np.int64(3), rounds=np.uint8(2), plan=people.plan(5))  # type: ignore[arg-type]
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(own)
    assert digest(run.bundle.meta) == expected


def test_a_wrong_keyword_names_the_nearest() -> None:
    with refused(UnknownNameError, "no keyword of simulate is called 'round'", "Did you mean 'rounds'?"):
        simulate(people.people(), people.learner(), round=3)  # type: ignore[arg-type]
    with refused(DataError, "plan is {'rounds': 3}: expected a TrainingPlan"):
        simulate(people.people(), people.learner(), plan={"rounds": 3})  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [pd.DataFrame({"a": [1]}), (np.zeros((2, 1)), [0, 1]), None])
def test_what_is_no_population_is_told_how_to_become_one(rows: Any) -> None:
    with refused(DataError, f"the population is a {type(rows).__name__}: expected a Population", "from_arrays"):
        simulate(rows, people.learner())


def test_a_folder_is_a_path() -> None:
    with refused(DataError, "checkpoints is 3: expected the path of a folder, or None"):
        simulate(people.people(), people.learner(), checkpoints=3)  # type: ignore[arg-type]


# --- settings of the plan, the engine and the backend -------------------------------------------------------------


def tiny_run(plan: TrainingPlan | None = None, **options: Any) -> Run:
    """Simulate two rounds of the tiny classifier; `options` are keywords of `simulate`."""
    return simulate(people.people(), people.learner(), plan=plan or people.plan(2), **options)


def with_updates(**settings: Any) -> Tree:
    """Return the parameters after two rounds with these settings of `UpdatePlan`."""
    return tiny_run(replace(people.plan(2), updates=UpdatePlan(**settings))).bundle.meta


def test_a_bound_that_too_few_people_can_show_is_refused_before_training() -> None:
    plan = people.plan(2)
    plan = replace(plan, calibration=replace(plan.calibration, confidence=0.99))
    with refused(DataError, "people calibrate", "0.99 confidence", "at least 150"):
        tiny_run(plan, progress=_Unused())


class _Unused(Silent):
    """No training begins."""

    def stage(self, text: str) -> None:
        raise AssertionError(text)


def test_the_risk_limits_the_schedule() -> None:
    plan = people.plan(20, ks=(3,))
    runs = {risk: tiny_run(replace(plan, calibration=replace(plan.calibration, risk=risk))) for risk in (0.0, 1.0)}
    assert digest(runs[0.0].bundle.meta) == digest(runs[1.0].bundle.meta)
    for risk, run in runs.items():
        expected = calibrate(run.engine, run.fold_evaluators, run.ks, run.metric, plan.seed, Limits(risk))
        assert run.bundle.manifest.schedule == expected
    assert runs[0.0].bundle.manifest.schedule != runs[1.0].bundle.manifest.schedule


def test_the_precision_of_updates_rounds_them() -> None:
    exact = with_updates()
    errors = {name: max_difference(with_updates(precision=name), exact) for name in ("float16", "int8")}
    assert 0 < errors["float16"] < errors["int8"]


def test_clipping_limits_the_updates() -> None:
    """With plain SGD of rate 1, a round changes the parameters by no more than the clipping norm."""
    start = people.learner().init(0)

    def change(clip: float) -> float:
        plan = replace(people.plan(1, outer=OuterRule("SGD", 1.0)), updates=UpdatePlan(clip=clip))
        meta = tiny_run(plan).bundle.meta
        return float(np.sqrt(sum(np.square(meta[name] - start[name], dtype=np.float64).sum() for name in start)))

    assert change(1e-3) <= 1.001e-3
    assert change(1e9) > 1e-2


@pytest.mark.parametrize("kind", get_args(EngineKind))
def test_the_engine_is_the_one_that_is_named(kind: EngineKind) -> None:
    assert tiny_run(people.plan(1), engine=kind).engine.backend.name == kind


def test_the_memory_limit_reaches_the_engine() -> None:
    assert tiny_run(people.plan(1)).engine.memory == MEMORY
    assert tiny_run(people.plan(1), memory=MEMORY // 4).engine.memory == MEMORY // 4
    with pytest.raises(DataError, match="memory"):
        tiny_run(people.plan(1), memory=1)


def test_the_backend_ray_trains_on_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself is replaced here; `tests/federation/test_ray.py` runs it."""
    calls, engines = list[Any](), list[object]()
    meta = {name: value + 1 for name, value in people.learner().init(0).items()}

    def on_ray(
        start: Any, population: Population, plan: TrainingPlan, workdir: Path, checkpoints: Path, engine: object
    ) -> Trained:
        calls.append((digest(start.meta), population.users.tolist(), plan, checkpoints))
        engines.append(engine)
        return Trained(meta, 1.0, 10, kept=plan.rounds)

    monkeypatch.setattr("tegu.sim.training.on_ray.train_on_ray", on_ray)
    plan = people.plan(2, validate_every=0)
    run = tiny_run(plan, backend="ray", checkpoints=tmp_path)
    first = digest(people.learner().init(0))
    assert calls == [(first, run.split.train.users.tolist(), with_fixed_rounds(plan), tmp_path)]
    assert digest(run.bundle.meta) == digest(meta)
    assert run.bundle.manifest.training["backend"] == "ray"
    assert tiny_run(plan).bundle.manifest.training["backend"] == "inprocess"
    assert len(calls) == 1
    assert engines == [None], "a node for each user is a device"
    hosted = tiny_run(replace(plan, cohort=CohortPlan(2, 2)), backend="ray")
    assert engines[1:] == [hosted.engine], "nodes with many users answer in batches"
