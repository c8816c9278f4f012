"""`tegu bench default`: what the plain loop computes, and that both sides run in turn on the same people."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tegu.bench.harness.options import BenchmarkOptions
from tegu.bench.peers.torch_default import PlainLoop, standardised
from tegu.bench.suites import default
from tegu.bench.tasks.handwriting import LETTERS, handwriting
from tegu.core.data.batch import Batch
from tegu.core.errors import UnknownNameError
from tegu.learners.algorithms.residual_correction import residual_correction
from tegu.sim.data.population import Population

SIDE = 28 * 28


def one_person(rows: int) -> Population:
    """A person whose rows all take part in an update: 64 or fewer support rows and up to 64 query rows."""
    person = handwriting(1)
    return replace(person, counts=np.asarray([rows]), x=standardised(person))


def linear_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE, 8), nn.Tanh(), nn.Linear(8, LETTERS))


def test_the_task_has_people_with_60_to_200_pictures() -> None:
    people = handwriting(5)
    assert people.x.shape[1:] == (1, 28, 28)
    assert people.counts.min() >= 60
    assert people.counts.max() <= 200
    assert len(people) == 5
    assert set(np.unique(people.y)) == set(range(LETTERS))


def test_a_round_of_one_person_is_a_step_of_adamw_along_the_gradient_of_tegus_learner() -> None:
    """Both sides compute the same update, so that their times may be compared."""
    person, model, wanted = one_person(60), linear_model(), linear_model()
    rng = np.random.default_rng(0)
    rng.choice(1, 1, replace=False)
    rng = np.random.default_rng(int(rng.integers(0, 2**31, 1)[0]))
    k, order = int(rng.integers(1, 60)), rng.permutation(60)
    x, y = (torch.from_numpy(values[:60][order]) for values in (person.x, person.y))
    learner = residual_correction(wanted, person.spec, through=True)
    meta = {name: torch.from_numpy(value) for name, value in learner.init(0).items()}
    support, query = (Batch(x[own], y[own], torch.ones(len(x[own]))) for own in (slice(k), slice(k, 60)))
    update = learner.update(meta, support, query, torch.zeros(0))
    optimiser = torch.optim.AdamW(wanted.parameters(), lr=0.005, weight_decay=0.1)
    for name, parameter in wanted.named_parameters():
        parameter.grad = next(value for key, value in update.items() if key.endswith(name))
    optimiser.step()
    PlainLoop(model, person, cohort=1, threads=1).train(1)
    for ours, theirs, start in zip(model.parameters(), wanted.parameters(), linear_model().parameters(), strict=True):
        assert float((ours - start).detach().abs().max()) > 0.001
        assert theirs.grad is not None
        large = theirs.grad.abs() > 1e-4  # Adam's first step is the gradient's sign, which rounding decides near 0
        torch.testing.assert_close(ours[large], theirs[large], rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)


def test_candidates_gain_where_a_person_has_labels_of_its_own() -> None:
    """All of one label: any correction learns it from one row, and the untrained model has it hardly ever."""
    person = replace(one_person(60), y=np.full(200, 3))
    loop = PlainLoop(linear_model(), person, cohort=1, threads=1)
    assert loop.try_candidates([5]) > 0.5


def test_both_sides_run_in_turn_and_the_loop_trains_the_rounds_that_were_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, lines = list[tuple[int, set[str]]](), list[str]()

    def simulate(population: Population, model: nn.Module, **options: Any) -> Any:
        asked.append((len(population), set(options)))
        training = {"rounds": 3, "cohort": 2}
        return SimpleNamespace(bundle=SimpleNamespace(manifest=SimpleNamespace(training=training)))

    monkeypatch.setattr(default, "simulate", simulate)
    found = default.compare_runs(handwriting(5), BenchmarkOptions(2, lines.append))
    assert asked == [(5, {"progress"})] * 2  # everything else is the default
    assert (found.task, found.peer, len(found.tegu), len(found.other)) == ("default", "torch-loop", 2, 2)
    assert min(found.other) > 0
    assert all(line.endswith("; 3 rounds of 2 people") for line in lines)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="'W1'"):
        default.bench_default(BenchmarkOptions(1, lambda text: None, tasks=["W1"]))
