"""An experiment's folder: its files, reproducibility for a seed, and resuming after an interruption."""

from __future__ import annotations

import html
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.core.samples import refused, same_tree
from tests.server.fake import Recorded
from tests.sim import people

from tegu.client import Personalizer
from tegu.core.bundle.file import read_bundle
from tegu.core.calibration.assignment import uniform_draw
from tegu.core.data.spec import Spec
from tegu.core.data.tree import digest, max_difference
from tegu.core.errors import DataError, FederationError, FileError, PopulationError, UnknownNameError
from tegu.learners.catalogue import find_learner
from tegu.server.progress import Progress, RoundProgress
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import EarlyStopping
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.experiment_run import Outcome, run_experiment
from tegu.sim.experiments import EXPERIMENTS, find_experiment
from tegu.sim.reporting.table import gap_line
from tegu.sim.run import run_plan

Finished = tuple[Outcome, Path]
KEYS = {
    "experiment", "learner", "backend", "seed", "rounds", "train_users", "heldout_users", "metric", "higher_is_better",
    "material", "curve", "train_seconds", "user_rounds_per_second", "peak_rss_mb",
    "cohort", "calibration_users", "schedule", "meta", "engine", "kept_round", "training_gap", "decline",
    "initialisations", "folds",
}  # fmt: skip
ENTRY = {
    "k", "users", "initialisation", "personalised", "gain", "gain_low", "gain_high", "materially_hurt",
    "any_decline", "gained", "lost", "harm_ratio", "squared_gain",
    "lasting_squared_gain", "harm_ratio_less_noise", "worst_decile_gain", "ece", "baselines",
}  # fmt: skip
TIMES = {"train_seconds", "user_rounds_per_second", "peak_rss_mb"}

pytestmark = pytest.mark.usefixtures("compiled_once")


def files(folder: Path) -> list[str]:
    names = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if name != "checkpoints/run.json")


def without_times(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if name not in TIMES}


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, int | float):
        yield float(value)


def test_exactly_these_files(finished: Finished) -> None:
    _, folder = finished
    checkpoints = [f"checkpoints/round-{number:06d}.safetensors" for number in (4, 5, 6)]
    assert files(folder) == [*checkpoints, "init.tegu", "metrics.json", "report.html"]


def test_metrics_have_exactly_the_documented_keys(finished: Finished) -> None:
    outcome, folder = finished
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics == outcome.metrics
    assert set(metrics) == KEYS
    assert all(set(entry) == ENTRY for entry in metrics["curve"])
    baselines = {"finetuned", "logistic_head", "nearest_neighbours", "joint", "joint_finetuned", "local_only"}
    assert all(set(entry["baselines"]) == baselines for entry in metrics["curve"])
    assert all(set(entry["ece"]) == {"initialisation", "personalised"} for entry in metrics["curve"])
    assert all(map(math.isfinite, numbers(metrics)))
    assert (metrics["experiment"], metrics["learner"], metrics["backend"]) == ("tiny", "reptile", "inprocess")
    assert (metrics["seed"], metrics["rounds"], metrics["cohort"]) == (0, 6, 5)
    assert [metrics[f"{part}_users"] for part in ("train", "calibration", "heldout")] == [24, 8, 8]
    assert [entry["k"] for entry in metrics["curve"]] == [1, 3] == [entry["k"] for entry in metrics["schedule"]]
    assert all(metrics[name] > 0 for name in TIMES)


def test_the_bundle_is_the_run(finished: Finished) -> None:
    outcome, folder = finished
    bundle = read_bundle(folder / "init.tegu")
    assert same_tree(bundle.meta, outcome.run.bundle.meta)
    assert digest(bundle.meta) == outcome.metrics["meta"] == bundle.manifest.training["meta"]
    assert [dict(entry) for entry in bundle.manifest.heldout] == outcome.metrics["curve"]
    schedule = [entry.as_json() for entry in bundle.manifest.schedule]
    losses = [entry.pop("losses") for entry in schedule]
    assert schedule == outcome.metrics["schedule"]
    assert [len(each) for each in losses] == [8, 8]
    assert max_difference(bundle.meta, people.learner().init(0)) > 0.01
    with Personalizer.open(folder / "init.tegu") as person:
        x, y = outcome.run.split.heldout.rows(0)
        person.observe(x, y)
        assert person.adapt().kept
        assert person.predict(x).shape == (len(x), 3)


def test_the_report_is_about_the_run(finished: Finished) -> None:
    outcome, folder = finished
    report = (folder / "report.html").read_text()
    for entry in outcome.metrics["curve"]:
        for value in (entry["personalised"], entry["initialisation"], *entry["baselines"].values()):
            assert f"<td>{value:.3f}</td>" in report
        assert f"<td>{entry['gain']:+.3f}</td>" in report
    error = outcome.metrics["curve"][1]["ece"]  # of k = 1 and 3, the middle is 3
    assert "at k = 3</h2>" in report
    for name in ("initialisation", "personalised"):
        assert f"<!-- {name}: error {error[name]:.3f} -->" in report


def test_one_seed_gives_the_same_bits_and_another_does_not(finished: Finished, tmp_path: Path) -> None:
    first, folder = finished
    again = run_experiment(people.experiment(), tmp_path / "again")
    assert without_times(again.metrics) == without_times(first.metrics)
    assert same_tree(again.run.bundle.meta, first.run.bundle.meta)
    assert again.run.trained.validations == first.run.trained.validations
    assert (tmp_path / "again/init.tegu").read_bytes() == (folder / "init.tegu").read_bytes()
    other = run_experiment(people.experiment(seed=1), tmp_path / "other")
    assert other.metrics["meta"] != first.metrics["meta"]
    assert other.metrics["curve"] != first.metrics["curve"]


def test_training_and_calibration_users_are_compared(finished: Finished) -> None:
    outcome, folder = finished
    gap = outcome.metrics["training_gap"]
    last, final = outcome.run.trained.validations[-1], outcome.run.final_validation
    assert final is not None
    assert outcome.metrics["kept_round"] == last.round == final.round == 6
    assert gap == final._asdict()
    decline = outcome.metrics["decline"]
    assert (decline["round"], decline["warning"]) == (6, "")
    assert gap["gap"] == pytest.approx(gap["training"] - gap["personalised"])
    assert gap_line(outcome.metrics) in html.unescape((folder / "report.html").read_text())


def test_validations_are_the_metric_of_calibration_users_by_plain_torch(finished: Finished) -> None:
    """Three support rows, one draw or five, the learner's own knobs. As many training users are compared, by draw."""
    run = finished[0].run
    draws_by_user = [uniform_draw(0, str(name)) for name in run.split.train.users]
    compared = run.split.train.subset(np.sort(np.argsort(draws_by_user)[: len(run.split.calibration)]))

    def accuracy(population: Population, steps: int, draws: int) -> float:
        hits = []
        for trial in draw_trials(population, 3, 0, draws).trials:
            model = people.torch_adapted(run.bundle.meta, trial.support.x, trial.support.y, steps, 0.3, 1.0)
            hits.append(np.mean(people.torch_outputs(model, trial.query.x).argmax(1) == trial.query.y))
        return float(np.mean(hits))

    for look, draws in ((run.trained.validations[-1], 1), (run.final_validation, 5)):
        assert look is not None
        assert look.initialisation == pytest.approx(accuracy(run.split.calibration, 0, draws))
        assert look.personalised == pytest.approx(accuracy(run.split.calibration, 3, draws))
        assert look.training == pytest.approx(accuracy(compared, 3, draws))


def test_patience_keeps_and_calibrates_the_best_round() -> None:
    """The outer optimiser diverges: the first validation is the best, and two more end the run."""
    diverging = people.plan(40, ks=(3,), validate_every=2, patience=2, outer=OuterRule("SGD", 30.0))
    run = run_plan(people.people(), people.learner(), diverging)
    validations = run.trained.validations
    best = max(validations, key=lambda one: one.personalised)
    assert run.trained.kept == best.round
    assert validations[-1].round < 40
    assert [one.personalised <= best.personalised for one in validations[-2:]] == [True, True]
    whole = replace(diverging, rounds=best.round, early_stopping=EarlyStopping())
    shorter = run_plan(people.people(), people.learner(), whole)
    assert same_tree(run.bundle.meta, shorter.bundle.meta)
    assert run.bundle.manifest.schedule == shorter.bundle.manifest.schedule
    assert run.bundle.manifest.training["kept_round"] == best.round


def test_patience_without_validation_is_refused() -> None:
    with refused(DataError, "patience is 2", "ray", "inprocess"):
        run_plan(people.people(), people.learner(), people.plan(4, patience=2), backend="ray")


class Interrupted(Exception):
    pass


def interrupt_at(number: int) -> Progress:
    def after(progress: RoundProgress) -> None:
        if progress.round == number:
            raise Interrupted

    return Recorded(after)


def test_a_resumed_run_ends_like_one_that_was_not_interrupted(finished: Finished, tmp_path: Path) -> None:
    outcome, _ = finished
    with pytest.raises(Interrupted):
        run_experiment(people.experiment(), tmp_path, interrupt_at(4))
    assert files(tmp_path) == [f"checkpoints/round-{number:06d}.safetensors" for number in (2, 3, 4)]
    progress = Recorded()
    resumed = run_experiment(people.experiment(), tmp_path, progress, resume=True)
    assert [each.round for each in progress.rounds if each.validation] == [5, 6], "finished rounds are not repeated"
    assert same_tree(resumed.run.bundle.meta, outcome.run.bundle.meta)
    assert without_times(resumed.metrics) == without_times(outcome.metrics)
    done = run_experiment(people.experiment(), tmp_path, resume=True)
    assert without_times(done.metrics) == without_times(outcome.metrics)


def test_an_unfinished_other_run_is_refused_and_a_finished_one_replaced(finished: Finished, tmp_path: Path) -> None:
    outcome, _ = finished
    with pytest.raises(Interrupted):
        run_experiment(people.experiment(seed=1), tmp_path, interrupt_at(5))
    before = files(tmp_path)
    for resume in (False, True):
        with refused(FederationError, "seed 1 there, 0 here", "choose another folder"):
            run_experiment(people.experiment(), tmp_path, resume=resume)
    assert files(tmp_path) == before
    run_experiment(people.experiment(seed=1), tmp_path, resume=True)
    with pytest.raises(Interrupted):
        run_experiment(people.experiment(), tmp_path, interrupt_at(1))
    assert [name for name in files(tmp_path) if "round" in name] == ["checkpoints/round-000001.safetensors"]
    resumed = run_experiment(people.experiment(), tmp_path)
    assert resumed.metrics["meta"] == outcome.metrics["meta"]


def test_the_stages_are_reported(tmp_path: Path) -> None:
    progress = Recorded()
    run_experiment(people.experiment(rounds=2), tmp_path, progress)
    assert [stage.split(":")[0].split()[0] for stage in progress.stages] == [
        "reptile", "finetuned", "logistic_head", "nearest_neighbours", "joint", "joint_finetuned", "local_only",
        "evaluating",
    ]  # fmt: skip
    assert [each.round for each in progress.rounds] == [1, 2]
    assert all(each.validation is not None for each in progress.rounds)


# --- what cannot be written ---------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    for folder in (tmp_path / "taken", tmp_path / "taken/below"):
        with refused(FileError, folder, "choose a writable folder"):
            run_experiment(people.experiment(), folder)
    assert files(tmp_path) == ["taken"]


def test_an_unwritable_folder_is_refused_before_training_and_left_alone() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints/round-000001.safetensors").write_bytes(b"old")
        folder.chmod(0o555)
        progress = Recorded()
        with _unprivileged(), refused(FileError, folder, "choose a writable folder"):
            run_experiment(people.experiment(), folder, progress)
        assert not progress.stages
        assert files(folder) == ["checkpoints/round-000001.safetensors"]
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


class _unprivileged:  # noqa: N801 # a context
    """A context in which file permissions apply, even to root."""

    def __enter__(self) -> None:
        self.was = os.geteuid()
        if self.was == 0:
            os.seteuid(65534)

    def __exit__(self, *raised: object) -> None:
        os.seteuid(self.was)


def test_a_failure_during_evaluation_leaves_no_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise Interrupted

    # By its module: the package exports a function of the same name.
    monkeypatch.setattr(sys.modules[run_experiment.__module__], "evaluate_heldout", fail)
    with pytest.raises(Interrupted):
        run_experiment(people.experiment(rounds=1), tmp_path)
    assert files(tmp_path) == ["checkpoints/round-000001.safetensors"]


# --- what does not fit --------------------------------------------------------------------------------------------


def test_fewer_users_than_the_cohort() -> None:
    population = people.people()
    with refused(PopulationError, "cohort is 25", "24 training users", "make the cohort smaller"):
        run_plan(population, people.learner(), people.plan(cohort=25))


def test_too_few_users_to_split() -> None:
    with refused(PopulationError, "2 users cannot be split", "bring more users"):
        run_plan(people.people(2), people.learner(), people.plan())


def test_no_k_leaves_query_rows() -> None:
    with refused(PopulationError, "no k of [50, 60]", "choose smaller ks"):
        run_plan(people.people(), people.learner(), people.plan(ks=(50, 60)))


def test_ks_beyond_the_rows_of_heldout_users_are_left_out() -> None:
    run = run_plan(people.people(), people.learner(), people.plan(1, ks=(3, 1, 99, 3)))
    assert run.ks == (1, 3)


def test_large_ks_without_calibration_users_use_the_last_entry(tmp_path: Path) -> None:
    """Held-out users have 16 rows and calibration users 4: the entry for few rows serves larger k too."""
    whole = people.people(least=16)
    few = set(whole.split(0).calibration.users.tolist())
    keep = [int(whole.begins[i]) + place for i, user in enumerate(whole.users) for place in range(whole.counts[i])
            if user not in few or place < 4]  # fmt: skip
    names = whole.users.repeat(whole.counts)[keep]
    population = Population.from_arrays(whole.x[keep], whole.y[keep], names, people.SPEC)
    experiment = replace(people.experiment(), population=population, plan=people.plan(1, ks=(2, 8, 12)))
    outcome = run_experiment(experiment, tmp_path)
    assert [entry["k"] for entry in outcome.metrics["curve"]] == [2, 8, 12]
    assert [entry["k"] for entry in outcome.metrics["schedule"]] == [2]


def test_a_learner_of_another_spec() -> None:
    population = people.people()
    other = Population.from_arrays(
        population.x, population.y * 2, population.users.repeat(population.counts), Spec.classification((2,), 5)
    )
    assert other.spec == Spec.classification((2,), 5)
    with refused(DataError, population.spec, other.spec, "build the learner for"):
        run_plan(other, people.learner(), people.plan())


def test_unknown_names_name_the_nearest() -> None:
    with refused(UnknownNameError, "no backend is called 'in-process'", "Did you mean 'inprocess'?"):
        run_plan(people.people(), people.learner(), people.plan(), backend="in-process")  # type: ignore[arg-type]
    with refused(UnknownNameError, "no experiment is called 'movielense'", "Did you mean 'movielens'?", "sine"):
        find_experiment("movielense")
    with refused(UnknownNameError, "no learner is called 'reptil'", "Did you mean 'reptile'?"):
        find_learner("reptil")
    assert find_experiment("sine") is EXPERIMENTS["sine"]


# --- what each part of the users may influence --------------------------------------------------------------------


@pytest.mark.parametrize("part", ["heldout", "calibration", "train"])
def test_heldout_users_influence_nothing_and_calibration_users_the_schedule_alone(part: str) -> None:
    """Other labels for one part of the users change what that part may influence, and nothing else."""
    population = people.people(least=8)
    changed = set(getattr(population.split(0), part).users.tolist())
    hit = np.isin(population.users.repeat(population.counts), list(changed))
    other = replace(population, y=np.where(hit, 0, population.y))
    runs = [run_plan(rows, people.learner(), people.plan(40, ks=(3, 6))) for rows in (population, other)]
    metas = [digest(run.bundle.meta) for run in runs]
    assert (metas[0] != metas[1]) == (part == "train")
    schedules = [run.bundle.manifest.schedule for run in runs]
    assert (schedules[0] != schedules[1]) == (part != "heldout")
    points = [run.trained.validations for run in runs]
    assert (points[0] != points[1]) == (part != "heldout")


@pytest.mark.parametrize("seed", [0, 3])
def test_training_starts_from_the_seeds_parameters(seed: int) -> None:
    tiny_rate = people.plan(1, seed=seed, ks=(1,), outer=OuterRule("SGD", 1e-9))
    run = run_plan(people.people(), people.learner(), tiny_rate)
    assert max_difference(run.bundle.meta, people.learner().init(seed)) < 1e-7
