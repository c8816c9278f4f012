"""`tegu simulate` on the tiny experiment, and once in a process of its own on a real one."""

from __future__ import annotations

import json
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
    said = tegu("simulate", "tiny", "--rounds", 2, "--cohort", 3, "--seed", 4, "--out", tmp_path / "run", "--json")
    assert said.code == 0, said.err
    metrics = json.loads(said.out.splitlines()[-1])
    assert metrics == json.loads((tmp_path / "run/metrics.json").read_text())
    assert (metrics["rounds"], metrics["cohort"], metrics["seed"]) == (2, 3, 4)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "init.tegu", "metrics.json", "report.html", "checkpoints",
    }  # fmt: skip
    lines = said.out.splitlines()
    assert "tiny (reptile): accuracy on 8 held-out people" in said.out
    for name in (
        "personalised", "initialisation", "local_only", "fedsgd", "fedavg", "mean gain", "gain, 95% CI lower",
        "gain, 95% CI upper", "mean gain, worst decile", "hurt by adapting", "any decline",
    ):  # fmt: skip
        assert sum(line.startswith(f"| {name} ") for line in lines) == 1


@pytest.mark.usefixtures("tiny")
def test_patience_does_not_end_a_run_within_noise_of_its_best(tegu: Run, tmp_path: Path) -> None:
    said = tegu("simulate", "tiny", "--rounds", 30, "--patience", 2, "--out", tmp_path / "run", "--json")
    assert said.code == 0, said.err
    metrics = json.loads(said.out.splitlines()[-1])
    assert (metrics["kept_round"], metrics["decline"]["warning"]) == (30, "")
    assert "after round 30 accuracy is" in said.out
    assert "warning:" not in said.out


@pytest.mark.usefixtures("tiny")
def test_patience_ends_a_run_that_declines_and_says_so(
    tegu: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverging(**options: Any) -> Experiment:
        experiment = people.experiment(**options)
        return replace(experiment, plan=replace(experiment.plan, outer=OuterRule("SGD", 30.0)))

    monkeypatch.setitem(catalogue.EXPERIMENTS, "diverging", diverging)
    said = tegu("simulate", "diverging", "--rounds", 40, "--patience", 2, "--out", tmp_path / "run", "--json")
    assert said.code == 0, said.err
    metrics = json.loads(said.out.splitlines()[-1])
    assert metrics["kept_round"] == metrics["decline"]["since"] < metrics["decline"]["round"] < 40
    assert f"warning: {metrics['decline']['warning']}" in said.out
    assert metrics["decline"]["warning"].endswith(f"Round {metrics['kept_round']} is kept")


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("seeds", [1, 2])
def test_people_whose_taste_changes_have_a_table_of_their_own(tegu: Run, tmp_path: Path, seeds: int) -> None:
    said = tegu("simulate", "tiny-drift", "--rounds", 2, "--seeds", seeds, "--out", tmp_path / "run", "--json")
    assert said.code == 0, said.err
    metrics = json.loads(said.out.splitlines()[-1])
    assert len(metrics["drift"]["chosen"]) == seeds
    assert f"accuracy of {8 * seeds} held-out people whose taste changes after 4 interactions" in said.out
    lines = said.out.splitlines()
    header = next(line for line in lines if "| recovered |" in line)
    assert [cell.strip() for cell in header.strip("|").split("|")] == [
        "accuracy", "4", "+0", "+1", "+2", "recovered", "unchanged",
    ]  # fmt: skip
    for name in ("no recency", "recency", "resetting", "recency: mean gain"):
        assert sum(line.startswith(f"| {name} ") for line in lines) == 1
    first = tmp_path / "run" if seeds == 1 else tmp_path / "run/seed-0"
    assert "When taste changes" in (first / "report.html").read_text()
    assert json.loads((first / "metrics.json").read_text())["drift"]["change"] == 4
    assert "fedsgd" not in said.err, "other learners are not compared"


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_what_fewer_bytes_cost_is_printed(tegu: Run, tmp_path: Path, precision: str) -> None:
    said = tegu("simulate", "tiny", "--rounds", 2, "--precision", precision, "--out", tmp_path / "run", "--json")
    assert said.code == 0, said.err
    metrics = json.loads(said.out.splitlines()[-1])
    stored = metrics["precision"]
    (line,) = [line for line in said.out.splitlines() if line.startswith("stored as")]
    assert line.startswith(f"stored as {precision}: {stored['float32_bytes'] / 1000:.1f} KB → ")
    for entry in metrics["curve"]:
        after = entry["personalised"] - stored["loss"][str(entry["k"])]
        assert f"{entry['personalised']:.4f} → {after:.4f} at k = {entry['k']}" in line
    cells = tegu("inspect", tmp_path / "run/init.tegu").out.replace("│", " ").split()
    assert f"stored_as {precision}" in " ".join(cells)


@pytest.mark.usefixtures("tiny")
def test_several_initialisations_stand_next_to_one(tegu: Run, tmp_path: Path) -> None:
    said = tegu(
        "simulate", "tiny", "--rounds", 2, "--initialisations", 2, "--precision", "int8", "--out", tmp_path / "run",
        "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    metrics = json.loads(said.out.splitlines()[-1])
    assert metrics["initialisations"] == 2
    assert all("one_initialisation" in entry["baselines"] for entry in metrics["curve"])
    assert "accuracy on 8 held-out people, 2 initialisations\n" in said.out
    assert "2 initialisations." in (tmp_path / "run/report.html").read_text()
    bundle = read_bundle(tmp_path / "run/init.tegu")
    assert bundle.manifest.training["initialisations"] == 2
    assert {"0/0.weight", "1/0.weight", "share/0", "share/1"} <= set(bundle.meta)


@pytest.mark.usefixtures("tiny")
def test_the_learner_that_is_named_is_trained_printed_and_written(tegu: Run, tmp_path: Path) -> None:
    found = {}
    for arguments in ((), ("--learner", "reptile"), ("--learner", "residual_correction")):
        said = tegu("simulate", "tiny", *arguments, "--rounds", 2, "--out", tmp_path / "run", "--json")
        assert said.code == 0, said.err
        learner = arguments[-1] if arguments else "reptile"
        assert f"tiny ({learner}): accuracy" in said.out
        assert f"{learner}: compiling" in said.err
        assert json.loads(said.out.splitlines()[-1])["learner"] == learner
        found[arguments] = read_bundle(tmp_path / "run/init.tegu").manifest
    assert [manifest.learner for manifest in found.values()] == ["reptile", "reptile", "residual_correction"]
    assert [set(manifest.knobs) >= {"ridge"} for manifest in found.values()] == [False, False, True]


@pytest.mark.usefixtures("tiny")
def test_a_learner_that_does_not_suit_is_refused_in_one_line(tegu: Run, tmp_path: Path) -> None:
    assert_error(
        tegu("simulate", "tiny", "--learner", "residual_correctio", "--out", tmp_path),
        "Did you mean 'residual_correction'?",
    )
    assert_error(
        tegu("simulate", "tiny-ranking", "--learner", "residual_correction", "--out", tmp_path),
        "a ranking has no residuals",
    )


@pytest.mark.usefixtures("tiny")
def test_patience_goes_before_the_experiments_folds(tegu: Run, tmp_path: Path) -> None:
    """As in `ratings`, which is cross-fitted."""
    run = ("simulate", "tiny-folds", "--rounds", 2, "--out", tmp_path / "run", "--json")
    said = tegu(*run)
    assert json.loads(said.out.splitlines()[-1])["folds"] == 2
    said = tegu(*run, "--patience", 1)
    assert said.code == 0, said.err
    assert json.loads(said.out.splitlines()[-1])["folds"] == 0
    assert "--patience 1 needs users apart who validate: --folds is 0 here" in said.err
    said = tegu(*run, "--folds", 3)
    assert json.loads(said.out.splitlines()[-1])["folds"] == 3
    assert_error(tegu(*run, "--patience", 1, "--folds", 3), "patience is 1 with 3 folds", "set patience or folds to 0")


@pytest.mark.usefixtures("tiny")
def test_progress_is_on_stderr_alone(tegu: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = tegu("simulate", "tiny", "--rounds", 1)
    assert (tmp_path / "runs/tiny/metrics.json").exists(), "without --out, runs/<experiment>"
    for stage in ("reptile: compiling", "local_only:", "fedsgd:", "fedavg:", "judging", "written: runs/tiny"):
        assert stage in said.err
        assert stage not in said.out
    assert all(line.startswith(("|", "tiny (reptile): ", "after round 1 ")) for line in said.out.splitlines() if line)


@pytest.mark.usefixtures("tiny")
def test_resume_goes_on(tegu: Run, tmp_path: Path) -> None:
    def meta(*arguments: object) -> str:
        said = tegu("simulate", "tiny", *arguments, "--json")
        assert said.code == 0, said.err
        return str(json.loads(said.out.splitlines()[-1])["meta"])

    whole = meta("--rounds", 4, "--out", tmp_path / "whole")
    for number in (1, 2, 3):  # the checkpoints of the first run, but the last
        (tmp_path / "part/checkpoints").mkdir(parents=True, exist_ok=True)
        name = f"checkpoints/round-{number:06d}.safetensors"
        if (tmp_path / "whole" / name).exists():
            (tmp_path / "part" / name).write_bytes((tmp_path / "whole" / name).read_bytes())
    assert meta("--rounds", 4, "--out", tmp_path / "part", "--resume") == whole
    assert meta("--rounds", 4, "--seed", 1, "--out", tmp_path / "whole") != whole


@pytest.mark.usefixtures("tiny")
def test_what_cannot_be_run_ends_with_one_line(tegu: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_error(
        tegu("simulate", "tiny", "--out", tmp_path / "file"), "cannot make the folder", "choose a writable folder"
    )
    said = tegu("simulate", "tiny", "--precision", "int9", "--out", tmp_path / "none")
    assert_error(said, "no precision is called 'int9'", "Did you mean 'int8'?")
    assert not (tmp_path / "none").exists()
    said = tegu("simulate", "tiny", "--cohort", 99, "--out", tmp_path / "run")
    assert said.code == 1
    assert "cohort is 99 of 24 nodes" in said.err.splitlines()[-1]
    assert said.out == ""
    assert "Traceback" not in said.err


IN_A_PROCESS = """
import runpy, sys
from tegu.cli.main import main
from tegu.sim.experiments import catalogue

catalogue.EXPERIMENTS["tiny"] = runpy.run_path({people!r})["experiment"]
sys.argv = ["tegu", *{arguments!r}]
main()
"""


@pytest.mark.slow
def test_a_process_of_its_own(process: Run, tmp_path: Path) -> None:
    """Everything that any library prints goes to stderr: stdout is the table, the gap and the JSON."""
    arguments = ["simulate", "tiny", "--rounds", "2", "--out", "run", "--json"]
    said = process("-c", IN_A_PROCESS.format(people=people.__file__, arguments=arguments))
    assert said.code == 0, said.err
    metrics = json.loads(said.out.splitlines()[-1])
    assert metrics == json.loads((tmp_path / "run/metrics.json").read_text())
    shown = ("|", "tiny (reptile): ", "after round ", "warning: after round ", "{")
    assert all(line.startswith(shown) for line in said.out.splitlines() if line), said.out
    assert "judging on people never seen" in said.err
    assert "Warning" not in said.err
