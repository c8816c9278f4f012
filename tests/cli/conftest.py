from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from tests.sim import people
from torch import Tensor, nn

from tegu.cli.main import main
from tegu.compile import make_bundle
from tegu.core.bundle.file import write_bundle
from tegu.core.bundle.manifest import ScheduleEntry
from tegu.core.bundle.shown import FrontierPoint, HarmShown
from tegu.core.data.spec import Spec
from tegu.learners import Learner, reptile

ITEMS = 15


class CommandResult(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


class Taste(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.film = nn.Embedding(ITEMS, 3)
        self.user = nn.Parameter(torch.zeros(3))

    def forward(self, films: Tensor) -> Tensor:
        return self.film(films) @ self.user


def learners() -> dict[str, Learner]:
    return {
        "classification": people.learner(),
        "regression": reptile(nn.Linear(2, 2), Spec.regression((2,), 2), steps=5, lr=0.2, init="fresh"),
        "ranking": reptile(Taste(), Spec.ranking(ITEMS), adapted_parameters=["user"], steps=5, lr=2.0, init="fresh"),
    }


SHOWN = HarmShown(0.068, 0.9, 61, 0.0, 0.1, 0.05, 90, 0.05)
FRONTIER = (FrontierPoint(0.05, 0.5, 0.016, 0.1), FrontierPoint(None, 0.6, 0.1, 0.3))


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A `.tegu` file of every kind. The classifier's has a schedule, results and a paper with brackets."""
    from dataclasses import replace

    folder, paths = tmp_path_factory.mktemp("bundles"), {}
    for kind, learner in learners().items():
        bundle = make_bundle(learner, learner.init(0))
        if kind == "classification":
            manifest = replace(
                bundle.manifest,
                paper="A [bold]paper[/bold] of [/nobody]",
                schedule=(ScheduleEntry(1, {"steps": 2.0, "lr": 0.125, "prior": 1.0}, harm=SHOWN, frontier=FRONTIER),),
                training={"rounds": 17, "seed": 5, "libraries": {"torch": "0"}},
                heldout=({"k": 5, "initialisation": 0.25, "personalised": 0.75}, {"k": 9, "note": "free"}),
            )
            bundle = replace(bundle, manifest=manifest)
        paths[kind] = folder / f"{kind}.tegu"
        write_bundle(paths[kind], bundle)
    return paths


@pytest.fixture
def tegu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """Runs the command line in this process, on a wide terminal without colours."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "dumb")
    for name in ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["tegu", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        out, err = capsys.readouterr()
        return CommandResult(code, re.sub(r"\x1b\[[0-9;]*m", "", out), re.sub(r"\x1b\[[0-9;]*m", "", err))

    return run


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., CommandResult]:
    """Runs Python in a separate process with warnings as errors: `process("-m", "tegu.cli.main", ...)`."""
    environment = {**os.environ, "COLUMNS": "160", "TERM": "dumb"}

    def run(*arguments: object) -> CommandResult:
        # flwr uses a deprecated function of click when it is imported; see pyproject.toml.
        command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
        return CommandResult(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def compiled_once() -> Iterator[None]:
    with people.compiled_once():
        yield
