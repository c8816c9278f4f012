"""A row is a window of characters and the next one, and training on some roles helps with others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tegu.learners import reptile
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.sim.data.population import Population
from tegu.sim.evaluation.heldout import evaluate_heldout
from tegu.sim.experiments.models.next_character import NextCharacter
from tegu.sim.experiments.shakespeare import ALPHABET, MAX_ROWS, WINDOW, encode, role_population, shakespeare
from tegu.sim.experiments.shakespeare_text import read_roles
from tegu.sim.run import run_plan

CLASSES = len(ALPHABET) + 1


@pytest.fixture(scope="module")
def population() -> Population:
    return role_population()


def test_characters_are_numbered_and_few_are_left_out() -> None:
    assert encode("aZ—\n").tolist() == [1, 52, 0, ALPHABET.index("\n") + 1]
    ids = np.concatenate([encode(text) for text in read_roles().values()])
    assert (ids.min(), ids.max()) == (0, CLASSES - 1)
    assert 0 < (ids == 0).mean() < 1e-4


def test_rows_are_windows_of_a_roles_text(population: Population) -> None:
    texts = {name: text for name, text in read_roles().items() if len(text) >= 41}
    assert len(population) == len(texts) == 1302
    assert set(population.users.tolist()) == set(texts)
    for index in (0, 700, 1301):
        x, y = population.rows(index)
        name = str(population.users[index])
        said = "".join(c if c in ALPHABET else "\0" for c in texts[name])
        letters = "\0" + ALPHABET
        padded = "\0" * WINDOW + said
        rows = {("".join(letters[i] for i in window), letters[label]) for window, label in zip(x, y, strict=True)}
        assert len(x) == min(MAX_ROWS, len(said))
        assert rows <= {(padded[i : i + WINDOW], padded[i + WINDOW]) for i in range(len(said))}
        assert len(rows) > 0.9 * len(x), "rows are drawn without replacement"


def test_rows_are_the_same_every_time(population: Population) -> None:
    again = role_population()
    assert again.x.tobytes() == population.x.tobytes()
    assert again.y.tobytes() == population.y.tobytes()


def test_the_model_reads_characters_in_order() -> None:
    model = NextCharacter(CLASSES, WINDOW)
    windows = torch.randint(CLASSES, (3, WINDOW), generator=torch.Generator().manual_seed(0))
    assert model(windows).shape == (3, CLASSES)
    assert not torch.allclose(model(windows), model(windows.flip(1)))


def test_the_settings_of_the_experiment() -> None:
    experiment = shakespeare(seed=2, rounds=9, cohort=3)
    assert (experiment.name, experiment.metric.name, experiment.ks) == ("shakespeare", "accuracy", (1, 2, 5, 10, 20))
    assert (experiment.plan.rounds, experiment.plan.cohort.size, experiment.plan.seed) == (9, 3, 2)
    assert experiment.learner.name == "residual_correction"
    assert experiment.model is not None
    other = reptile(experiment.model, experiment.population.spec, **experiment.options)
    assert other.adapted_parameters == ("head.weight", "head.bias")
    automatic = shakespeare(seed=2).plan
    assert (automatic.rounds, automatic.cohort.size, automatic.outer) == (None, None, None)
    assert (experiment.population.spec.x.size, experiment.population.spec.outputs) == (CLASSES, CLASSES)
    split = experiment.population.split(2)
    assert not set(split.train.users) & set(split.heldout.users)


@pytest.mark.slow
def test_a_short_run_learns_to_spell() -> None:
    """The most frequent character, the space, is one in six."""
    experiment = shakespeare(seed=0, rounds=60)
    plan = replace(experiment.plan, calibration=CalibrationPlan(ks=(5,)))
    run = run_plan(experiment.population, experiment.learner, plan)
    (entry,) = evaluate_heldout(run, {}).curve
    assert entry["users"] == 260
    assert entry["initialisation"] > 0.25
