"""The experiment: from archives to a table, with any learner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.sim.experiments.omniglot.made_archive import drawing, made_archives, png, write_zip
from torch import nn

from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.core.metrics import find_metric
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import score
from tegu.sim.experiment_run import run_experiment
from tegu.sim.experiments.catalogue import experiment_with
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.experiments.omniglot.archive import SIDE, read_drawings
from tegu.sim.experiments.omniglot.distortion import distorted
from tegu.sim.experiments.omniglot.experiment import Numbers, character_tasks, omniglot
from tegu.sim.experiments.omniglot.pixels import nearest_pixels
from tegu.sim.experiments.omniglot.runs import official_runs
from tegu.sim.reporting.table import further_lines

NUMBERS = Numbers(12, 4, 6)


def built(folder: Path, **options: object) -> Experiment:
    own = {"data": folder, "ways": 3, "shots": (1, 2), "numbers": NUMBERS, **options}
    return experiment_with("omniglot", own)(seed=0, rounds=2, cohort=4)


def test_an_experiment_has_tasks_of_its_ways_and_shots(tmp_path: Path) -> None:
    experiment = built(made_archives(tmp_path))
    assert experiment.ks == (3, 6)
    split = experiment.population.split(0)
    assert [len(part) for part in split] == list(NUMBERS)
    trials = draw_trials(split.heldout, 6, 0).trials
    assert all(np.bincount(trial.support.y).tolist() == [2, 2, 2] for trial in trials)


def test_turned_characters_are_classes_in_training_alone(tmp_path: Path) -> None:
    drawings = read_drawings(made_archives(tmp_path))
    options = {"ways": 3, "shots": 1, "seed": 0, "numbers": NUMBERS}
    plain, turned = (character_tasks(drawings, rotations=each, **options) for each in (False, True))
    assert len(turned.x) == len(plain.x) + 3 * 10 * 6
    given = {row.tobytes() for row in drawings.x}
    for one, other in zip(plain.split(0)[1:], turned.split(0)[1:], strict=True):
        assert {row.tobytes() for row in other.all_rows()[0]} <= given
        assert one.all_rows()[0].shape == other.all_rows()[0].shape
    assert not {row.tobytes() for row in turned.split(0).train.all_rows()[0]} <= given


def test_distorted_copies_are_rows_of_their_character_in_training_alone(tmp_path: Path) -> None:
    drawings = read_drawings(made_archives(tmp_path))
    options = {"ways": 3, "shots": 1, "seed": 0, "numbers": NUMBERS}
    plain, copied = (character_tasks(drawings, copies=each, **options) for each in (0, 2))
    assert (copied.split(0).train.counts == 3 * plain.split(0).train.counts).all()
    given = {row.tobytes() for row in drawings.x}
    assert all({row.tobytes() for row in part.all_rows()[0]} <= given for part in copied.split(0)[1:])
    assert not {row.tobytes() for row in copied.split(0).train.all_rows()[0]} <= given


def test_a_distorted_drawing_is_much_like_it_and_no_other_copy(tmp_path: Path) -> None:
    x = read_drawings(made_archives(tmp_path)).x
    one, other = distorted(x, 0), distorted(x, 1)
    assert one.shape == x.shape
    assert one.dtype == np.float32
    assert (distorted(x, 0) == one).all()
    assert not (one == other).all((1, 2, 3)).any()
    flat = [rows.reshape(len(x), -1) / np.linalg.norm(rows.reshape(len(x), -1), axis=1)[:, None] for rows in (x, one)]
    cosine = flat[1] @ flat[0].T
    own = np.diagonal(cosine)
    assert np.median(own) > np.median(cosine) + 0.1  # the drawing, and not another one, turned or moved a little
    assert own.max() < 0.999


def test_the_nearest_drawing_gives_its_label(tmp_path: Path) -> None:
    heldout = built(made_archives(tmp_path)).population.split(0).heldout
    trials = draw_trials(heldout, 3, 0)
    found = score(nearest_pixels(heldout, heldout)(3), trials, find_metric("accuracy"))
    expected = []
    for trial in trials.trials:
        support, query = (rows.x.reshape(len(rows.x), -1) for rows in (trial.support, trial.query))
        cosine = query @ support.T / np.outer(np.linalg.norm(query, axis=1), np.linalg.norm(support, axis=1))
        expected.append((trial.support.y[cosine.argmax(1)] == trial.query.y).mean())
    assert found == pytest.approx(np.asarray(expected).reshape(len(found), -1).mean(1))
    assert 0.4 < found.mean() < 1


def write_runs(folder: Path, number: int = 2, classes: int = 4) -> None:
    content: dict[str, bytes | str] = {}
    for run in range(1, number + 1):
        lines = []
        for place in range(classes):
            other = (place + run) % classes  # the test drawing of another line is of this class
            content[f"run{run:02d}/training/class{place + 1:02d}.png"] = png(drawing("Alpha", place, 0))
            content[f"run{run:02d}/test/item{other + 1:02d}.png"] = png(drawing("Alpha", place, 1))
            lines.append(f"run{run:02d}/test/item{other + 1:02d}.png run{run:02d}/training/class{place + 1:02d}.png")
        content[f"run{run:02d}/class_labels.txt"] = "\n".join(lines)
    write_zip(folder / "all_runs.zip", content)


def test_official_runs_adapt_on_exactly_their_training_drawings(tmp_path: Path) -> None:
    spec = Spec.classification((1, SIDE, SIDE), 20)
    assert official_runs(tmp_path, spec) is None
    write_runs(tmp_path)
    runs = official_runs(tmp_path, spec)
    assert runs is not None
    assert runs.users.tolist() == ["run01", "run02"]
    for trial in draw_trials(runs, 4, 0, draws=2).trials:
        assert sorted(trial.support.y.tolist()) == sorted(trial.query.y.tolist()) == [0, 1, 2, 3]
        first = {label: row for row, label in zip(trial.support.x, trial.support.y.tolist(), strict=True)}
        for row, label in zip(trial.query.x, trial.query.y.tolist(), strict=True):
            same = [float((row * first[each]).sum()) for each in range(4)]
            assert int(np.argmax(same)) == label, "the class is that of the listed training drawing"
            assert not (row == first[label]).all()
    with pytest.raises(DataError, match="run with --ways 20"):
        official_runs(tmp_path, Spec.classification((1, SIDE, SIDE), 3))


def test_a_run_writes_its_folder_and_prints_further_results(tmp_path: Path) -> None:
    own = built(made_archives(tmp_path))
    small = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 8), nn.ReLU(), nn.Linear(8, own.population.spec.outputs))
    experiment = replace(own, model=small, rebuild=None).with_learner("matching_networks")
    write_runs(tmp_path, classes=3)
    runs = official_runs(tmp_path, experiment.population.spec)
    assert runs is not None
    outcome = run_experiment(replace(experiment, further={"official": runs}), tmp_path / "run")
    curve = outcome.metrics["curve"]
    assert [entry["k"] for entry in curve] == [3, 6]
    assert all(entry["users"] == NUMBERS.heldout for entry in curve)
    assert all("nearest_pixels" in entry["baselines"] for entry in curve)
    assert (tmp_path / "run" / "init.tegu").exists()
    (line,) = further_lines(outcome.metrics)
    assert line.startswith("official, 2 users at k = 3: accuracy ")
    assert outcome.metrics["further"]["official"]["initialisation"] == pytest.approx(1 / 3, abs=0.34)


def test_each_learner_trains_by_its_recipe(tmp_path: Path) -> None:
    experiment = built(made_archives(tmp_path), episodes=5)
    compared, stepped = (experiment.with_learner(name) for name in ("matching_networks", "fomaml"))
    assert compared.learner.knobs["temperature"] == 0.1
    assert (stepped.learner.knobs["steps"], stepped.learner.knobs["lr"]) == (1, 0.4)
    assert compared.population.spec.outputs > stepped.population.spec.outputs == 3
    assert all(len(each.population.split(0).heldout) == 5 for each in (compared, stepped))
    assert {each.learner.name for each in (compared, stepped)} == {"matching_networks", "fomaml"}


def test_options_belong_to_their_experiment(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sine has no --ways: expected it with omniglot only"):
        experiment_with("sine", {"ways": 5})
    with pytest.raises(DataError, match="--data DIR"):
        omniglot(seed=0)
    with pytest.raises(DataError, match="ways is 1"):
        omniglot(seed=0, data=tmp_path, ways=1)
    with pytest.raises(DataError, match="shots is empty"):
        omniglot(seed=0, data=tmp_path, shots=())
