"""Baselines and the evaluation on held-out users, compared with the same work in plain torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.server.fake import Recorded
from tests.sim import people

from tegu.core.bundle.manifest import Knobs, ScheduleEntry, knobs_for
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree, digest
from tegu.core.errors import UnknownNameError
from tegu.core.metrics import Metric
from tegu.core.sampling.episode import EpisodeRule
from tegu.core.sampling.trials import Trials
from tegu.learners.learner import Source
from tegu.learners.modules.checks import checked_module
from tegu.server.progress import SILENT
from tegu.server.training.automatic import settled
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine import Engine
from tegu.sim.engine.predictions import Method
from tegu.sim.evaluation.baselines import generic
from tegu.sim.evaluation.baselines.heads import HEADS, head_outputs
from tegu.sim.evaluation.baselines.joint import examples_seen, train_jointly
from tegu.sim.evaluation.baselines.module_features import prepare, row_features
from tegu.sim.evaluation.baselines.neighbours import NEIGHBOURS, neighbour_outputs
from tegu.sim.evaluation.baselines.run_baselines import run_baselines
from tegu.sim.evaluation.baselines.tuning import Baselines, for_every_k
from tegu.sim.evaluation.heldout import evaluate_heldout
from tegu.sim.experiments import Experiment
from tegu.sim.run import Run, run_plan
from tegu.sim.training.cross_fitting import Evaluator
from tegu.sim.training.in_process import train_in_process

LR = 0.7


def constant(train: Population, calibration: Population) -> Callable[[int], Method]:
    """The training users' most frequent label."""
    assert not set(train.users) & set(calibration.users)
    share = np.bincount(train.y, minlength=3)

    def predict(trials: Trials) -> Sequence[Array]:
        return [np.tile(share, (200, 1)) for _ in trials.trials]

    return for_every_k(predict)


@pytest.fixture(scope="module")
def compared() -> Iterator[tuple[Experiment, Run, Baselines, list[str]]]:
    """One round of SGD with all training users, each on all rows."""
    with people.compiled_once():
        experiment = people.experiment()
        nodes = len(experiment.population.split(0).train)
        plan = replace(
            experiment.plan,
            rounds=1,
            cohort=CohortPlan(nodes),
            outer=OuterRule("SGD", LR),
            episodes=EpisodeRule(1, 20, 20),
        )
        experiment = replace(experiment, plan=plan, classical={"constant": constant})
        run = run_plan(experiment.population, experiment.learner, plan)
        progress = Recorded()
        yield experiment, run, run_baselines(experiment.compared, run, progress), progress.stages


Compared = tuple[Experiment, Run, Baselines, list[str]]


def figures(evaluators: Sequence[Evaluator], k: int, draws: int, tried: Sequence[Knobs]) -> Array:
    """The mean accuracy of all users under each setting, in plain torch."""
    found = []
    for knobs in tried:
        scores: list[float] = []
        for meta, users in evaluators:
            trials = draw_trials(users, k, 0, draws)
            by_user: dict[int, list[float]] = {}
            for trial in trials.trials:
                x, y = trial.support.x, trial.support.y
                model = people.torch_adapted(meta, x, y, int(knobs["steps"]), knobs["lr"], knobs["prior"])
                right = people.torch_outputs(model, trial.query.x).argmax(1) == trial.query.y
                by_user.setdefault(trial.user, []).append(float(right.mean()))
            scores += [float(np.mean(each)) for each in by_user.values()]
        found.append(float(np.mean(scores)))
    return np.asarray(found)


def best_steps(evaluators: Sequence[Evaluator], k: int) -> Knobs:
    """The best of no step and fifteen grids of steps: the best four of the first draw, then the best of five draws."""
    grid = [people.KNOBS | {"steps": 0.0}]
    grid += [{"steps": s, "lr": 0.3 * f, "prior": 0.0} for s in (1.0, 5.0, 20.0) for f in (0.1, 0.3, 1.0, 3.0, 10.0)]
    first = figures(evaluators, k, 1, grid)
    left = [grid[index] for index in sorted(np.argsort(-first, kind="stable")[:4])]
    return left[int(figures(evaluators, k, 5, left).argmax())]


def same_outputs(run: Run, method: Method, meta: Tree, knobs: Knobs, k: int) -> None:
    trials = draw_trials(run.split.heldout, k, 9)
    for trial, output in zip(trials.trials, method(trials), strict=True):
        x, y = trial.support.x, trial.support.y
        fitted = people.torch_adapted(meta, x, y, int(knobs["steps"]), knobs["lr"], knobs["prior"])
        expected = people.torch_outputs(fitted, trial.query.x)
        rounding = 1e-4 * (1 + knobs["lr"] * knobs["steps"]) ** 1.5  # long steps multiply it
        np.testing.assert_allclose(output[: len(expected)], expected, atol=rounding)


@pytest.mark.parametrize("k", [1, 3])
def test_finetuned_takes_the_steps_that_are_best_for_calibration_users(compared: Compared, k: int) -> None:
    _, run, baselines, _ = compared
    knobs = best_steps([Evaluator(run.bundle.meta, run.split.calibration)], k)
    same_outputs(run, baselines["finetuned"](k), run.bundle.meta, knobs, k)


def test_local_only_starts_from_the_first_parameters(compared: Compared) -> None:
    _, run, baselines, _ = compared
    first = run.learner.init(0)
    knobs = best_steps([Evaluator(first, run.split.calibration)], 3)
    same_outputs(run, baselines["local_only"](3), first, knobs, 3)


def test_joint_is_one_model_for_all(compared: Compared) -> None:
    """It is the module after the training of `train_jointly`; `joint_finetuned` steps on from there."""
    experiment, run, baselines, _ = compared
    assert run.learner.source is not None
    examples = int(run.trained.user_rounds * run.split.train.counts.mean())
    source = Source(checked_module(experiment.model, run.learner.spec))
    train, calibration = run.split.train, run.split.calibration
    found = train_jointly(source, run.learner.init(0), train, calibration, examples, run.metric, 0)
    for k in (1, 3):
        same_outputs(run, baselines["joint"](k), found.meta, {"steps": 0.0, "lr": 0.0, "prior": 0.0}, k)
    knobs = best_steps([found.evaluator], 3)
    same_outputs(run, baselines["joint_finetuned"](3), found.meta, knobs, 3)


def test_heads_and_neighbours_adapt_the_runs_initialisation(compared: Compared) -> None:
    """Which setting is best is tested by itself; here one of them must give the outputs."""
    _, run, baselines, _ = compared
    trials = draw_trials(run.split.heldout, 3, 9)
    prepared = prepare(trials, row_features(people.classifier(), run.bundle.meta))
    heads = [head_outputs(prepared, setting, "classification") for setting in HEADS]
    votes = [neighbour_outputs(prepared, setting, "classification") for setting in NEIGHBOURS]
    for name, tried in (("logistic_head", heads), ("nearest_neighbours", votes)):
        found = baselines[name](3)(trials)
        assert any(all(map(np.array_equal, found, each)) for each in tried)


NAMES = ["finetuned", "logistic_head", "nearest_neighbours", "joint", "joint_finetuned", "local_only"]


def test_every_baseline_and_stage_is_present(compared: Compared) -> None:
    _, run, baselines, stages = compared
    assert list(baselines) == ["constant", *NAMES]
    assert [stage.split(":")[0] for stage in stages] == ["constant", *NAMES]
    most = np.bincount(run.split.train.y).argmax()
    outputs = baselines["constant"](1)(draw_trials(run.split.heldout, 1, 0))
    assert {int(output[0].argmax()) for output in outputs} == {most}


def test_an_experiment_names_the_generic_baselines_that_make_sense(compared: Compared) -> None:
    experiment, run, _, _ = compared
    with people.compiled_once():
        named = run_baselines(experiment.compared._replace(generic=["finetuned"]), run, SILENT)
        assert list(named) == ["constant", "finetuned"]
        assert list(run_baselines(experiment.compared._replace(generic=()), run, SILENT)) == ["constant"]
        with pytest.raises(UnknownNameError, match="joint_finetuned"):
            run_baselines(experiment.compared._replace(generic=["joint_fine"]), run, SILENT)


def test_held_out_users_choose_nothing(compared: Compared) -> None:
    """Other held-out users, and the baselines stay what they are."""
    experiment, run, baselines, _ = compared
    others = people.people(9, seed=5)
    changed = replace(run, split=run.split._replace(heldout=others))
    with people.compiled_once():
        again = run_baselines(experiment.compared, changed, SILENT)
    trials = draw_trials(run.split.heldout, 3, 9)
    for name in baselines:
        for ours, expected in zip(again[name](3)(trials), baselines[name](3)(trials), strict=True):
            np.testing.assert_array_equal(ours, expected)


def test_heldout_results_match_an_independent_loop_over_users(compared: Compared) -> None:
    _, run, baselines, _ = compared
    # Too few users calibrate to show that adapting is harmless, so the calibrated schedule would not adapt.
    manifest = replace(run.bundle.manifest, schedule=(ScheduleEntry(1, run.learner.knobs),))
    run = replace(run, bundle=replace(run.bundle, manifest=manifest))
    results = evaluate_heldout(run, {name: baselines[name] for name in ("constant", "joint")})
    heldout = run.split.heldout
    assert [entry["k"] for entry in results.curve] == list(run.ks) == [1, 3]
    for entry in results.curve:
        k = entry["k"]
        trials = draw_trials(heldout, k, run.plan.seed + 1)
        knobs = knobs_for(run.bundle.manifest, k)
        rows: dict[int, int] = {}
        confidences: dict[str, list[tuple[float, bool]]] = {"initialisation": [], "personalised": []}
        before: dict[int, list[float]] = {}
        after: dict[int, list[float]] = {}
        for trial in trials.trials:
            adapted = people.torch_adapted(
                run.bundle.meta, trial.support.x, trial.support.y, int(knobs["steps"]), knobs["lr"], knobs["prior"]
            )
            rows[trial.user] = len(trial.query.y)
            for scores, model in ((before, people.with_parameters(run.bundle.meta)), (after, adapted)):
                outputs = people.torch_outputs(model, trial.query.x)
                right = outputs.argmax(1) == trial.query.y
                scores.setdefault(trial.user, []).append(float(right.mean()))
                top = torch.softmax(torch.tensor(outputs, dtype=torch.float64), 1).max(1).values.tolist()
                confidences["initialisation" if scores is before else "personalised"] += zip(top, right, strict=True)
        gains = np.asarray([np.mean(after[user]) - np.mean(before[user]) for user in before])
        assert entry["users"] == len(gains) == int((heldout.counts > k).sum())
        assert entry["initialisation"] == pytest.approx(np.mean([np.mean(s) for s in before.values()]))
        assert entry["personalised"] == pytest.approx(np.mean([np.mean(s) for s in after.values()]))
        assert entry["gain"] == pytest.approx(gains.mean())
        assert entry["gain_low"] < entry["gain"] < entry["gain_high"]
        one_row = np.asarray([1 / rows[user] for user in before])
        share = np.asarray([0.05 * np.mean(before[user]) for user in before])
        assert entry["materially_hurt"] == pytest.approx(np.mean(gains < -np.maximum(one_row, share) - 1e-9))
        assert entry["harm_ratio"] == pytest.approx(-gains[gains < 0].sum() / gains[gains > 0].sum())
        assert entry["any_decline"] == pytest.approx(np.mean(gains < -1e-9))
        for name, pairs in confidences.items():
            bins: dict[int, list[float]] = {}
            for p, right in pairs:
                bins.setdefault(math.ceil(15 * p), []).append(p - right)
            error = sum(abs(sum(gaps)) for gaps in bins.values()) / len(pairs)
            assert entry["ece"][name] == pytest.approx(error, abs=2e-5)
        assert list(entry["baselines"]) == ["constant", "joint"]
        np.testing.assert_allclose(results.gains[k], gains, atol=1e-12)


def test_heldout_users_adapt_by_the_schedule(compared: Compared) -> None:
    """With a schedule of no steps, personalised equals initialisation."""
    _, run, _, _ = compared
    no_steps = tuple(ScheduleEntry(k, {**run.learner.knobs, "steps": 0.0}) for k in run.ks)
    bundle = replace(run.bundle, manifest=replace(run.bundle.manifest, schedule=no_steps))
    large_steps = tuple(ScheduleEntry(k, {**run.learner.knobs, "steps": 50.0, "lr": 5.0}) for k in run.ks)
    other = replace(run.bundle, manifest=replace(run.bundle.manifest, schedule=large_steps))
    for entry in evaluate_heldout(replace(run, bundle=bundle), {}).curve:
        assert [
            entry[name] for name in ("materially_hurt", "any_decline", "worst_decile_gain", "gain_low", "gain_high")
        ] == [0] * 5
        assert entry["ece"]["personalised"] == entry["ece"]["initialisation"] > 0
        assert entry["personalised"] == entry["initialisation"]
    assert evaluate_heldout(replace(run, bundle=other), {}).curve[0]["any_decline"] > 0.2


def test_baselines_are_cross_fitted_if_the_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """No user judges parameters that the user trained, which would overstate the gain from adapting."""
    calls: list[tuple[Tree, Sequence[Evaluator]]] = []
    original = generic.adapted_by_steps

    def recorded(engine: Engine, meta: Tree, evaluators: Sequence[Evaluator], metric: Metric) -> Any:
        calls.append((meta, evaluators))
        return original(engine, meta, evaluators, metric)

    def counted(train: Population, plan: TrainingPlan, user_rounds: int) -> int:
        assert user_rounds == 2 * settled(plan).cohort, "of the training that is kept, without those of the folds"
        return examples_seen(train, plan, user_rounds)

    monkeypatch.setattr(generic, "adapted_by_steps", recorded)
    monkeypatch.setattr(generic, "examples_seen", counted)
    with people.compiled_once():
        experiment = people.experiment()
        plan = people.plan(2, folds=2)
        run = run_plan(experiment.population, experiment.learner, plan)
        run_baselines(experiment.compared, run, SILENT)
    all_users = set(run.split.train.users.tolist())
    (meta, (first, second)), (_, (joint,)), (_, (local,)) = calls
    assert digest(meta) == digest(run.bundle.meta)
    assert set(first.population.users.tolist()) | set(second.population.users.tolist()) == all_users
    assert not set(first.population.users.tolist()) & set(second.population.users.tolist())
    for evaluator, other in ((first, second), (second, first)):
        users = other.population.subset(np.argsort(other.population.users, kind="stable"))
        half = replace(plan, rounds=1)  # of two rounds, as each fold has half of the users
        alone = train_in_process(run.engine, users, run.learner.init(plan.seed), half).meta
        assert digest(evaluator.meta) == digest(alone), "each half judges what the other half trained"
    assert set(joint.population.users.tolist()) < all_users
    assert set(local.population.users.tolist()) == all_users
