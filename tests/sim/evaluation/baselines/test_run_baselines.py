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
from torch import nn

from tegu.core.bundle.manifest import ScheduleEntry, knobs_for
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree, digest
from tegu.core.sampling.episode import EpisodeRule
from tegu.core.sampling.trials import Trials
from tegu.learners.baselines.fedsgd import fedsgd
from tegu.server.progress import SILENT
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan
from tegu.sim.calibration.calibrate import calibrate
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine import engine_like
from tegu.sim.engine.predictions import Method
from tegu.sim.evaluation.baselines.run_baselines import Baselines, run_baselines
from tegu.sim.evaluation.baselines.tuning import for_every_k
from tegu.sim.evaluation.heldout import evaluate_heldout
from tegu.sim.experiments import Experiment
from tegu.sim.run import Run, run_plan
from tegu.sim.training.cross_fitting import Evaluator
from tegu.sim.training.in_process import train_in_process

USERS, LR = 40, 0.7


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


def mean_of_users(run: Run, one: Callable[[Tree, Array, Array], Tree]) -> Tree:
    """The mean over the training users of `one(init, all rows)`."""
    meta = run.learner.init(0)
    each = [one(meta, *run.split.train.rows(i)) for i in range(len(run.split.train))]
    return {name: np.mean([tree[name] for tree in each], axis=0) for name in meta}


def same_outputs(run: Run, method: Method, model: nn.Module | Callable[[Array, Array], nn.Module], k: int = 3) -> None:
    """Check the method's outputs against a model, or against the model built from each support."""
    trials = draw_trials(run.split.heldout, k, 9)
    for trial, output in zip(trials.trials, method(trials), strict=True):
        fitted = model if isinstance(model, nn.Module) else model(trial.support.x, trial.support.y)
        expected = people.torch_outputs(fitted, trial.query.x)
        np.testing.assert_allclose(output[: len(expected)], expected, atol=2e-5)


def gradients(meta: Tree, x: Array, y: Array) -> Tree:
    model = people.with_parameters(meta)
    people.torch_loss(model, x, y).backward()
    return {name: np.asarray(parameter.grad) for name, parameter in model.named_parameters()}


def test_fedsgd_is_one_gradient_step_a_round(compared: Compared) -> None:
    _, run, baselines, _ = compared
    gradient = mean_of_users(run, gradients)
    meta = {name: value - LR * gradient[name] for name, value in run.learner.init(0).items()}
    same_outputs(run, baselines["fedsgd"](3), people.with_parameters(meta))
    assert baselines["fedsgd"](1) is baselines["fedsgd"](3), "fedsgd does not adapt"


def test_fedsgd_finetuned_adapts_what_fedsgd_learned(compared: Compared) -> None:
    _, run, baselines, _ = compared
    gradient = mean_of_users(run, gradients)
    meta = {name: value - LR * gradient[name] for name, value in run.learner.init(0).items()}
    _check_some_candidate(run, baselines["fedsgd_finetuned"](3), meta)


def test_local_only_starts_from_the_first_parameters(compared: Compared) -> None:
    _, run, baselines, _ = compared
    _check_some_candidate(run, baselines["local_only"](3), run.learner.init(0))


def _check_some_candidate(run: Run, method: Method, meta: Tree) -> None:
    """Check that the method adapts `meta` with one of the candidates; tests of calibration check which one."""
    unadapted = {**run.learner.knobs, "steps": 0.0}
    for option in (unadapted, *run.learner.calibration.candidates):
        try:
            same_outputs(
                run,
                method,
                lambda x, y, o=option: people.torch_adapted(meta, x, y, int(o["steps"]), o["lr"], o["prior"]),
            )
        except AssertionError:
            continue
        return
    pytest.fail("no candidate gives these outputs")


def test_fedavg_is_local_training_averaged(compared: Compared) -> None:
    _, run, baselines, _ = compared
    meta = mean_of_users(run, lambda m, x, y: people.parameters(people.torch_adapted(m, x, y, 3, 0.3, 1.0)))
    same_outputs(run, baselines["fedavg"](3), people.with_parameters(meta))


def test_fedavg_is_left_out_with_a_message_if_it_diverges(compared: Compared, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, run, _, _ = compared

    def diverging(engine, population, meta, plan, **options):
        if plan.outer.lr == 1.0:
            far = {name: value * np.float32(np.nan) for name, value in meta.items()}
            return train_in_process(engine, population, far, plan, **options)
        return train_in_process(engine, population, meta, plan, **options)

    monkeypatch.setattr("tegu.sim.evaluation.baselines.run_baselines.train_in_process", diverging)
    progress = Recorded()
    with people.compiled_once():
        baselines = run_baselines(experiment.compared, run, progress)
    assert list(baselines) == ["constant", "local_only", "fedsgd", "fedsgd_finetuned"]
    assert progress.stages[-1].startswith("fedavg left out: it diverges with a step size of 0.3 (")


def test_every_baseline_and_stage_is_present(compared: Compared) -> None:
    _, run, baselines, stages = compared
    assert list(baselines) == ["constant", "local_only", "fedsgd", "fedsgd_finetuned", "fedavg"]
    assert [stage.split(":")[0] for stage in stages] == ["local_only", "fedsgd", "fedavg"]
    most = np.bincount(run.split.train.y).argmax()
    outputs = baselines["constant"](1)(draw_trials(run.split.heldout, 1, 0))
    assert {int(output[0].argmax()) for output in outputs} == {most}


def test_heldout_results_match_an_independent_loop_over_users(compared: Compared) -> None:
    _, run, baselines, _ = compared
    # Too few users calibrate to show that adapting is harmless, so the calibrated schedule would not adapt.
    manifest = replace(run.bundle.manifest, schedule=(ScheduleEntry(1, run.learner.knobs),))
    run = replace(run, bundle=replace(run.bundle, manifest=manifest))
    results = evaluate_heldout(run, {name: baselines[name] for name in ("constant", "fedavg")})
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
        assert list(entry["baselines"]) == ["constant", "fedavg"]
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
    """No user calibrates parameters that the user trained, which would overstate the gain from adapting."""
    calls = dict[str, Sequence[Evaluator]]()

    def recorded(engine: Any, evaluators: Sequence[Evaluator], *rest: Any) -> Any:
        calls[engine.manifest.learner] = evaluators
        return calibrate(engine, evaluators, *rest)

    monkeypatch.setattr("tegu.sim.evaluation.baselines.run_baselines.calibrate", recorded)
    with people.compiled_once():
        experiment = people.experiment()
        plan = people.plan(2, folds=2)
        run = run_plan(experiment.population, experiment.learner, plan)
        run_baselines(experiment.compared, run, SILENT)
    all_users = set(run.split.train.users.tolist())
    first, second = calls["fedsgd"]
    assert set(first.population.users.tolist()) | set(second.population.users.tolist()) == all_users
    assert not set(first.population.users.tolist()) & set(second.population.users.tolist())
    learner = fedsgd(experiment.model, experiment.learner)
    engine = engine_like(run.engine, learner)
    for evaluator, other in ((first, second), (second, first)):
        alone = train_in_process(engine, _sorted(other.population), learner.init(plan.seed), plan).meta
        assert digest(evaluator.meta) == digest(alone), "each half calibrates what the other half trained"
    (local,) = calls["local_only"]
    assert set(local.population.users.tolist()) == all_users


def _sorted(population: Population) -> Population:
    return population.subset(np.argsort(population.users, kind="stable"))
