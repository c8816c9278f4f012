"""One's own run: its table, its page, and its parameters back in torch."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.core.samples import refused
from tests.sim import people
from torch import Tensor, nn

from tegu.core.errors import DataError
from tegu.learners import reptile
from tegu.server.progress import SILENT
from tegu.server.training.outer_optimiser import OuterRule
from tegu.sim import Population, Run, simulate
from tegu.sim.experiment_run import Outcome
from tegu.sim.reporting.table import markdown, table_rows

OUTER = OuterRule("Adam", 0.05)


class Scaled(nn.Module):
    """Shared weights under two names, a buffer, and inputs far from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.second = nn.Linear(2, 2, bias=False)
        self.second.weight = self.first.weight
        self.head = nn.Linear(2, 1)
        self.register_buffer("shift", torch.tensor([0.5, -0.5]))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.tanh(self.second(torch.tanh(self.first(x) + self.shift))))
        return out


@pytest.fixture(scope="module")
def regression() -> tuple[Scaled, Run]:
    rng = np.random.default_rng(0)
    x = rng.normal(50, 20, size=(400, 2)).astype(np.float32)
    user = np.repeat(np.arange(40), 10)
    y = (1000 + 3 * x[:, :1] + 40 * rng.normal(size=(40, 1))[user]).astype(np.float32)
    population, model = Population.from_arrays(x, y, user), Scaled()
    plan = people.plan(20, cohort=10, outer=OUTER)
    return model, simulate(population, model, plan=plan, standardise=True, progress=SILENT, engine="torch-vmap")


@pytest.fixture(scope="module")
def classified() -> Iterator[Run]:
    with people.compiled_once():
        yield simulate(people.people(), people.learner(), plan=people.experiment().plan, progress=SILENT)


def test_the_state_dict_loads_into_the_module(regression: tuple[Scaled, Run]) -> None:
    model, run = regression
    state = run.state_dict()
    assert list(state) == list(model.state_dict())
    loaded = Scaled()
    loaded.load_state_dict(state)
    assert torch.equal(loaded.first.weight, torch.tensor(run.bundle.meta["model.first.weight"]))
    assert torch.equal(loaded.shift, torch.tensor([0.5, -0.5]))
    assert not torch.equal(loaded.first.weight, model.first.weight)
    state["shift"] += 1
    assert torch.equal(run.state_dict()["shift"], torch.tensor([0.5, -0.5])), "copies"


def test_the_module_is_the_whole_function(regression: tuple[Scaled, Run]) -> None:
    """Its outputs are those of the bundle's own graph, on rows as they are."""
    _, run = regression
    x, y = run.split.heldout.all_rows()
    whole = run.module()
    outputs = whole(torch.tensor(x)).detach().numpy()
    assert not whole.training
    expected = run.engine.backend.name and outputs
    plain = Scaled()
    plain.load_state_dict(run.state_dict())
    train = run.split.train.all_rows()
    (x_mean, y_mean), (x_std, y_std) = ([part.mean(0) for part in train], [part.std(0) for part in train])
    by_hand = plain(torch.tensor((x - x_mean) / x_std)).detach().numpy() * y_std + y_mean
    np.testing.assert_allclose(outputs, by_hand, rtol=1e-4)
    assert np.square(outputs - y).mean() < np.square(y_mean - y).mean()
    assert expected is not None


def test_initialisations_share_what_is_fixed() -> None:
    model = people.classifier()
    model[0].requires_grad_(requires_grad=False)
    fixed = copy.deepcopy(model[0])
    learner, plan = reptile(model, people.people().spec, steps=1), people.plan(1)
    run = simulate(people.people(), learner, plan=plan, initialisations=2, progress=SILENT, engine="torch-loop")
    states = [run.state_dict(number) for number in range(2)]
    for state in states:
        model.load_state_dict(state)
        assert torch.equal(state["0.weight"], fixed.weight)
    assert not torch.equal(states[0]["2.weight"], states[1]["2.weight"])
    x = torch.randn(4, 2)
    torch.testing.assert_close(run.module(1)(x), model.eval()(x))


def test_several_initialisations_have_a_state_each() -> None:
    with people.compiled_once():
        run = simulate(people.people(), people.learner(), plan=people.plan(1), initialisations=2, progress=SILENT)
    for number in (0, 1):
        state = run.state_dict(number)
        assert np.array_equal(state["0.weight"], run.bundle.meta[f"{number}/0.weight"])
        people.classifier().load_state_dict(state)
    for wrong in (None, 2, -1):
        with refused(DataError, f"initialisation is {wrong} and the run has 2", "from 0 to 1"):
            run.state_dict(wrong)


def test_a_learner_without_its_module_says_so(classified: Run) -> None:
    run = replace(classified, learner=replace(classified.learner, source=None), single=None)
    with refused(DataError, "does not know the module", "run.bundle.meta"):
        run.state_dict()
    assert set(run.evaluate(progress=SILENT).curve[0]["baselines"]) == {"finetuned"}


def test_the_evaluation_is_the_experiments_table(classified: Run, finished: tuple[Outcome, Path]) -> None:
    """The tiny experiment has the same users, learner and plan."""
    outcome, _ = finished
    with people.compiled_once():
        found = classified.evaluate(progress=SILENT)
    assert list(found.curve) == outcome.metrics["curve"]
    assert markdown(table_rows(outcome.metrics)) in str(found)
    assert str(found).startswith("reptile: accuracy (higher is better) on 8 held-out users")
    assert found._repr_markdown_() == str(found)
    assert "<table>" in found._repr_html_()
    assert f"<td>{found.curve[0]['baselines']['joint']:.3f}</td>" in found._repr_html_()
    assert len(repr(found)) < 200


def test_baselines_are_optional(classified: Run) -> None:
    found = classified.evaluate(baselines=False, progress=SILENT)
    assert found.curve[0]["baselines"] == {}
    assert "| personalised" in str(found)


def test_the_report_is_a_page(classified: Run, tmp_path: Path) -> None:
    evaluation = classified.evaluate(baselines=False, progress=SILENT)
    classified.report(str(tmp_path / "report.html"), evaluation)
    page = (tmp_path / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.count("<svg") >= 4
    assert f"<td>{evaluation.curve[0]['personalised']:.3f}</td>" in page


def test_runs_and_learners_are_not_pickled_but_copied(classified: Run) -> None:
    with refused(DataError, "cannot be pickled", "run.write(path)", "run.state_dict()"):
        pickle.dumps(classified)
    with refused(DataError, "'reptile' cannot be pickled", "make_bundle"):
        pickle.dumps(classified.learner)
    for value in (classified, classified.learner):
        assert copy.copy(value) is value
        assert copy.deepcopy(value) is value
