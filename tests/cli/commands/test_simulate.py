"""`tegu simulate` on the tiny experiment, and once in its own process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import CommandResult
from tests.cli.test_help import assert_error
from tests.sim import people

from tegu.core.bundle.file import read_bundle
from tegu.server.training.outer_optimiser import OuterRule
from tegu.sim.experiments import catalogue
from tegu.sim.experiments.experiment import Experiment

Run = Callable[..., CommandResult]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, compiled_once: None) -> None:
    monkeypatch.setitem(catalogue.EXPERIMENTS, "tiny", people.experiment)
    monkeypatch.setitem(catalogue.EXPERIMENTS, "tiny-drift", people.drifting)
    monkeypatch.setitem(catalogue.EXPERIMENTS, "tiny-folds", people.cross_fitted)
    monkeypatch.setitem(catalogue.EXPERIMENTS, "tiny-ranking", people.ranking)


@pytest.mark.usefixtures("tiny")
def test_files_table_and_json(tegu: Run, tmp_path: Path) -> None:
    result = tegu("simulate", "tiny", "--rounds", 2, "--cohort", 3, "--seed", 4, "--out", tmp_path / "run", "--json")
    assert result.code == 0, result.err
    metrics = json.loads(result.out.splitlines()[-1])
    assert metrics == json.loads((tmp_path / "run/metrics.json").read_text())
    assert (metrics["rounds"], metrics["cohort"], metrics["seed"]) == (2, 3, 4)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "init.tegu", "metrics.json", "report.html", "checkpoints",
    }  # fmt: skip
    lines = result.out.splitlines()
    assert "tiny (reptile): accuracy on 8 held-out users" in result.out
    for name in (
        "personalised", "initialisation", "local_only", "joint", "finetuned", "mean gain", "gain, 95% CI lower",
        "gain, 95% CI upper", "mean gain, worst decile", "materially hurt", "any decline", "harm ratio",
        "harm ratio less noise",
    ):  # fmt: skip
        assert sum(line.startswith("|") and line.split("|")[1].strip() == name for line in lines) == 1


@pytest.mark.usefixtures("tiny")
def test_patience_does_not_end_a_run_within_noise_of_its_best(tegu: Run, tmp_path: Path) -> None:
    result = tegu("simulate", "tiny", "--rounds", 30, "--patience", 2, "--out", tmp_path / "run", "--json")
    assert result.code == 0, result.err
    metrics = json.loads(result.out.splitlines()[-1])
    assert (metrics["kept_round"], metrics["decline"]["warning"]) == (30, "")
    assert "after round 30, accuracy is" in result.out
    assert "warning:" not in result.out


@pytest.mark.usefixtures("tiny")
def test_patience_ends_a_run_that_declines_and_says_so(
    tegu: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverging(**options: Any) -> Experiment:
        experiment = people.experiment(**options)
        return replace(experiment, plan=replace(experiment.plan, outer=OuterRule("SGD", 30.0)))

    monkeypatch.setitem(catalogue.EXPERIMENTS, "diverging", diverging)
    result = tegu("simulate", "diverging", "--rounds", 40, "--patience", 2, "--out", tmp_path / "run", "--json")
    assert result.code == 0, result.err
    metrics = json.loads(result.out.splitlines()[-1])
    assert metrics["kept_round"] == metrics["decline"]["since"] < metrics["decline"]["round"] < 40
    assert f"warning: {metrics['decline']['warning']}" in result.out
    assert metrics["decline"]["warning"].endswith(f"Round {metrics['kept_round']} is kept")


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("seeds", [1, 2])
def test_users_whose_preferences_change_have_their_own_table(tegu: Run, tmp_path: Path, seeds: int) -> None:
    result = tegu("simulate", "tiny-drift", "--rounds", 2, "--seeds", seeds, "--out", tmp_path / "run", "--json")
    assert result.code == 0, result.err
    metrics = json.loads(result.out.splitlines()[-1])
    assert len(metrics["drift"]["chosen"]) == seeds
    assert f"accuracy of {8 * seeds} held-out users whose preferences change after 4 interactions" in result.out
    lines = result.out.splitlines()
    header = next(line for line in lines if "| recovered |" in line)
    assert [cell.strip() for cell in header.strip("|").split("|")] == [
        "accuracy", "4", "+0", "+1", "+2", "recovered", "unchanged",
    ]  # fmt: skip
    for name in ("no recency", "recency", "resetting", "recency: mean gain"):
        assert sum(line.startswith("|") and line.split("|")[1].strip() == name for line in lines) == 1
    first = tmp_path / "run" if seeds == 1 else tmp_path / "run/seed-0"
    assert "When preferences change" in (first / "report.html").read_text()
    assert json.loads((first / "metrics.json").read_text())["drift"]["change"] == 4
    assert "joint" not in result.err, "baselines are not trained"


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_the_cost_of_storage_is_printed(tegu: Run, tmp_path: Path, precision: str) -> None:
    result = tegu("simulate", "tiny", "--rounds", 2, "--precision", precision, "--out", tmp_path / "run", "--json")
    assert result.code == 0, result.err
    metrics = json.loads(result.out.splitlines()[-1])
    stored = metrics["precision"]
    (line,) = [line for line in result.out.splitlines() if line.startswith("stored as")]
    assert line.startswith(f"stored as {precision}: {stored['float32_bytes'] / 1000:.1f} KB → ")
    for entry in metrics["curve"]:
        after = entry["personalised"] - stored["loss"][str(entry["k"])]
        assert f"{entry['personalised']:.4f} → {after:.4f} at k = {entry['k']}" in line
    cells = tegu("inspect", tmp_path / "run/init.tegu").out.replace("│", " ").split()
    assert f"stored_as {precision}" in " ".join(cells)


@pytest.mark.usefixtures("tiny")
def test_several_initialisations_are_compared_with_one(tegu: Run, tmp_path: Path) -> None:
    result = tegu(
        "simulate", "tiny", "--rounds", 2, "--initialisations", 2, "--precision", "int8", "--out", tmp_path / "run",
        "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    metrics = json.loads(result.out.splitlines()[-1])
    assert metrics["initialisations"] == 2
    assert all("one_initialisation" in entry["baselines"] for entry in metrics["curve"])
    assert "accuracy on 8 held-out users, 2 initialisations\n" in result.out
    assert "2 initialisations." in (tmp_path / "run/report.html").read_text()
    bundle = read_bundle(tmp_path / "run/init.tegu")
    assert bundle.manifest.training["initialisations"] == 2
    assert {"0/0.weight", "1/0.weight", "share/0", "share/1"} <= set(bundle.meta)


@pytest.mark.usefixtures("tiny")
def test_the_named_learner_is_trained_printed_and_written(tegu: Run, tmp_path: Path) -> None:
    found = {}
    for arguments in ((), ("--learner", "reptile"), ("--learner", "residual_correction")):
        result = tegu("simulate", "tiny", *arguments, "--rounds", 2, "--out", tmp_path / "run", "--json")
        assert result.code == 0, result.err
        learner = arguments[-1] if arguments else "reptile"
        assert f"tiny ({learner}): accuracy" in result.out
        assert f"{learner}: compiling" in result.err
        assert json.loads(result.out.splitlines()[-1])["learner"] == learner
        found[arguments] = read_bundle(tmp_path / "run/init.tegu").manifest
    assert [manifest.learner for manifest in found.values()] == ["reptile", "reptile", "residual_correction"]
    assert [set(manifest.knobs) >= {"ridge"} for manifest in found.values()] == [False, False, True]


@pytest.mark.usefixtures("tiny")
def test_an_unsuitable_learner_is_refused_in_one_line(tegu: Run, tmp_path: Path) -> None:
    assert_error(
        tegu("simulate", "tiny", "--learner", "residual_correctio", "--out", tmp_path),
        "Did you mean 'residual_correction'?",
    )
    assert_error(
        tegu("simulate", "tiny-ranking", "--learner", "residual_correction", "--out", tmp_path),
        "a ranking has no residuals",
    )


@pytest.mark.usefixtures("tiny")
def test_patience_replaces_the_experiments_folds(tegu: Run, tmp_path: Path) -> None:
    """As in `ratings`, which uses cross-fitting."""
    run = ("simulate", "tiny-folds", "--rounds", 2, "--out", tmp_path / "run", "--json")
    result = tegu(*run)
    assert json.loads(result.out.splitlines()[-1])["folds"] == 2
    result = tegu(*run, "--patience", 1)
    assert result.code == 0, result.err
    assert json.loads(result.out.splitlines()[-1])["folds"] == 0
    assert "--patience 1 needs separate calibration users to validate on: --folds is set to 0" in result.err
    result = tegu(*run, "--folds", 3)
    assert json.loads(result.out.splitlines()[-1])["folds"] == 3
    assert_error(tegu(*run, "--patience", 1, "--folds", 3), "patience is 1 with 3 folds", "set patience or folds to 0")


@pytest.mark.usefixtures("tiny")
def test_progress_is_on_stderr_alone(tegu: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = tegu("simulate", "tiny", "--rounds", 1)
    assert (tmp_path / "runs/tiny/metrics.json").exists(), "without --out, runs/<experiment>"
    for stage in ("reptile: compiling", "finetuned:", "joint:", "local_only:", "evaluating", "written: runs/tiny"):
        assert stage in result.err
        assert stage not in result.out
    known = (
        "|",
        "tiny (reptile): ",
        "mean gain in accuracy and, in brackets,",
        "calibration cannot show",
        "after round 1, ",
    )
    assert all(line.startswith(known) for line in result.out.splitlines() if line)


@pytest.mark.usefixtures("tiny")
def test_resume_continues_the_run(tegu: Run, tmp_path: Path) -> None:
    def meta(*arguments: object) -> str:
        result = tegu("simulate", "tiny", *arguments, "--json")
        assert result.code == 0, result.err
        return str(json.loads(result.out.splitlines()[-1])["meta"])

    whole = meta("--rounds", 4, "--out", tmp_path / "whole")
    shutil.copytree(tmp_path / "whole/checkpoints", tmp_path / "part/checkpoints")
    (tmp_path / "part/checkpoints/round-000004.safetensors").unlink()
    assert meta("--rounds", 4, "--out", tmp_path / "part", "--resume") == whole
    other = tegu("simulate", "tiny", "--rounds", 4, "--seed", 1, "--out", tmp_path / "whole", "--resume")
    assert (other.code, other.out) == (1, "")
    assert "seed 0 there, 1 here" in other.err.splitlines()[-1]
    assert meta("--rounds", 4, "--seed", 1, "--out", tmp_path / "whole") != whole, "a finished run is replaced"


@pytest.mark.usefixtures("tiny")
def test_errors_are_one_line(tegu: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_error(
        tegu("simulate", "tiny", "--out", tmp_path / "file"), "cannot make the folder", "choose a writable folder"
    )
    result = tegu("simulate", "tiny", "--precision", "int9", "--out", tmp_path / "none")
    assert_error(result, "no precision is called 'int9'", "Did you mean 'int8'?")
    assert not (tmp_path / "none").exists()
    result = tegu("simulate", "tiny", "--cohort", 99, "--out", tmp_path / "run")
    assert result.code == 1
    assert "cohort is 99 of 24 nodes" in result.err.splitlines()[-1]
    assert result.out == ""
    assert "Traceback" not in result.err


IN_A_PROCESS = """
import runpy, sys
from tegu.cli.main import main
from tegu.sim.experiments import catalogue

catalogue.EXPERIMENTS["tiny"] = runpy.run_path({people!r})["experiment"]
sys.argv = ["tegu", *{arguments!r}]
main()
"""


@pytest.mark.slow
def test_in_its_own_process(process: Run, tmp_path: Path) -> None:
    """Output of libraries goes to stderr; stdout has the table, the notes and the JSON alone."""
    arguments = ["simulate", "tiny", "--rounds", "2", "--out", "run", "--json"]
    result = process("-c", IN_A_PROCESS.format(people=people.__file__, arguments=arguments))
    assert result.code == 0, result.err
    metrics = json.loads(result.out.splitlines()[-1])
    assert metrics == json.loads((tmp_path / "run/metrics.json").read_text())
    shown = (
        "|",
        "tiny (reptile): ",
        "mean gain in ",
        "calibration cannot ",
        "after round ",
        "warning: after round ",
        "{",
    )
    assert all(line.startswith(shown) for line in result.out.splitlines() if line), result.out
    assert "evaluating on held-out users" in result.err
    assert "Warning" not in result.err


@pytest.mark.parametrize(
    ("option", "value", "parts"),
    [
        ("--risk", "lax", ["risk is 'lax'", "0.05", "strict"]),
        ("--risk", 1.5, ["risk is 1.5", "from 0 to 1"]),
        ("--material", 2, ["material is 2", "from 0 to 1"]),
        ("--harm-ratio", -0.5, ["harm_ratio is -0.5", "at least 0"]),
        ("--confidence", 1.0, ["confidence is 1.0", "below 1"]),
    ],
)
def test_limits_on_harm_out_of_range_are_refused(
    tegu: Run, tmp_path: Path, option: str, value: object, parts: list[str]
) -> None:
    assert_error(tegu("simulate", "tiny", option, value, "--out", tmp_path / "run"), *parts)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("tiny")
def test_the_limits_on_harm_reach_the_schedule(tegu: Run, tmp_path: Path) -> None:
    run = ["simulate", "tiny", "--rounds", 1, "--out", tmp_path / "run", "--json"]
    found = tegu(*run, "--risk", 0.3, "--material", 0.1)
    assert not found.code, found.err
    schedule = json.loads(found.out.splitlines()[-1])["schedule"]
    assert {(entry["harm"]["risk"], entry["harm"]["material"]) for entry in schedule} == {(0.3, 0.1)}
    schedule = json.loads(tegu(*run, "--risk", "strict").out.splitlines()[-1])["schedule"]
    assert {entry["harm"] is None for entry in schedule} == {True}


def test_options_of_an_experiment_are_checked_before_it_runs(tegu: Run, tmp_path: Path) -> None:
    assert_error(tegu("simulate", "sine", "--ways", 5), "sine has no --ways: expected it with omniglot only")
    assert_error(tegu("simulate", "omniglot"), "give the folder with the official archives, by --data DIR")
    assert_error(tegu("simulate", "omniglot", "--data", tmp_path), "has no drawings")
    assert_error(tegu("simulate", "omniglot", "--data", tmp_path, "--shots", "one"), "expected whole numbers separated")
