"""What the documents name exists: files, modules, commands, options, settings and names of the code."""

from __future__ import annotations

import importlib
import re
import subprocess
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
import typer

from tegu.bench.learners.tasks import TASKS as LEARNER_TASKS
from tegu.bench.suites.catalogue import BENCHMARKS
from tegu.bench.tasks.catalogue import DEVICE_TASKS, SIMULATION_TASKS
from tegu.cli.app import app
from tegu.server import TrainingPlan, to_config
from tegu.server.serving.settings import DEMANDS, SETTINGS
from tegu.sim import EXPERIMENTS
from tegu.sim.engine import EngineKind
from tegu.wire import FAILURES

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("shared", "client_sdk", "server", "simulations")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# Names of other projects, and of what a record says was not built or is no longer there.
ELSEWHERE = {
    "add_0", "expand_before_binary_op", "materialize_reshape_shape", "mul_by_1", "no_op_transpose",
    "tegu/__init__.py", "transpose_transpose", "/v1/fleet/",
}  # fmt: skip
PROGRAMS = {"flower-superlink", "flower-superexec", "flower-supernode"}
TASKS = {*SIMULATION_TASKS, *DEVICE_TASKS, *LEARNER_TASKS}
SYSTEM_OPTIONS = {  # of curl, useradd, systemctl, journalctl, docker and tensorboard
    "--cacert", "--system", "--home", "--create-home", "--now", "--fail", "--detach", "--follow", "--unit", "--logdir",
}  # fmt: skip
FLOWER_OPTIONS = {  # and those of `ray start`
    "--address",
    "--head",
    "--num-cpus",
    "--insecure",
    "--isolation",
    "--superlink",
    "--host",
    "--port",
    "--node-config",
    "--stream",
    "--run-config",
    "--federation-config",
    "--simulation",
    "--ssl-ca-certfile",
    "--ssl-certfile",
    "--ssl-keyfile",
    "--root-certificates",
    "--enable-supernode-auth",
    "--auth-supernode-private-key",
}


def inline_code(text: str) -> list[str]:
    """The code between single backticks, outside of code blocks."""
    without_blocks = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", without_blocks)


@cache
def files() -> list[str]:
    """Paths of all files of the repository, with a leading slash."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [f"/{path}" for path in listed.stdout.splitlines()]


@cache
def words() -> frozenset[str]:
    """All words of the source code."""
    sources = [path for root in SOURCES for path in (ROOT / root).rglob("*.py")]
    return frozenset(word for path in sources for word in re.findall(r"\w+", path.read_text("utf-8")))


@cache
def options() -> dict[str, set[str]]:
    """The options of each command of `tegu`."""
    return {
        name: {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for name, command in typer.main.get_group(app).commands.items()
    }


def unknown_in(code: str) -> list[str]:
    """What one piece of inline code names and the repository does not have."""
    found = unknown_files(code) + unknown_modules(code) + unknown_settings(code)
    if code.startswith("tegu "):
        return found + unknown_command(code)
    return found + [
        word
        for word in re.findall(r"(?<![\w./])[a-z]\w*_\w+(?![\w/]|\.py)|\b[A-Z][a-z]+[A-Z]\w+", code)
        if word not in words() | ELSEWHERE | set(SOURCES)
    ]


def unknown_files(code: str) -> list[str]:
    paths = re.findall(r"(?<![\w./])(?:[\w/]+\.py\b|[\w/]+/$)", code)
    return [path for path in paths if path not in ELSEWHERE and not any(f"/{path}" in file for file in files())]


def unknown_modules(code: str) -> list[str]:
    names = re.findall(r"(?<![\w/])tegu(?:\.\w+)+", code)
    names = [name for name in names if not (ROOT / "docs").joinpath(name).exists()]
    return [name for name in names if not _resolves(name)]


def _resolves(name: str) -> bool:
    package, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return package != "tegu" and hasattr(importlib.import_module(package), attribute)
    return True


def unknown_settings(code: str) -> list[str]:
    """Keys of a run configuration, such as `patience=5` next to `validate-every=10`, have hyphens in them."""
    keys = re.findall(r"(?:^|(?<= ))([a-z]+(?:-[a-z]+)+)(?==|$)", code)
    known = {*to_config(TrainingPlan()), *get_args(EngineKind), *DEMANDS, *PROGRAMS}
    known |= {setting.name for setting in SETTINGS}
    known |= {*FAILURES}
    return [key for key in keys if key not in known and not code.startswith(("tegu ", "pip ", "systemctl "))]


def unknown_command(code: str) -> list[str]:
    _, command, *rest = code.split()
    if command not in options():
        return [command]
    known = {"simulate": EXPERIMENTS, "bench": {*BENCHMARKS, "learners", "soak"}}.get(command)
    named = [rest[0]] if known is not None and rest and rest[0] not in {*known, "NAME"} else []
    given = [word.partition("=")[0] for word in rest if word.startswith("--")]
    tasks = [value for option, value in pairwise(rest) if option == "--task" and value not in TASKS]
    return named + [option for option in given if option not in options()[command]] + tasks


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_exist(document: Path) -> None:
    found = [(code, unknown_in(code)) for code in inline_code(document.read_text("utf-8"))]
    assert not [(code, unknown) for code, unknown in found if unknown]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_options_exist(document: Path) -> None:
    given = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", document.read_text("utf-8")))
    external = FLOWER_OPTIONS | SYSTEM_OPTIONS | {"--strict"}
    assert not given - external - set().union(*options().values())


def test_the_guide_documents_every_setting_of_a_federation() -> None:
    guide = (ROOT / "docs/guides/federation.md").read_text("utf-8")
    for section, name, default, meaning in SETTINGS:
        shown = "none" if default is None else f"`{default}`" if default else "empty"
        assert f"| `[{section}]` | `{name}` | {shown} | {meaning} |" in guide
    assert not [name for name in (*DEMANDS, *to_config(TrainingPlan())) if f"| `{name}` |" not in guide]


@pytest.mark.parametrize(
    "code",
    ["core/gone.py", "sim/gone/", "tegu.core.Gone", "tegu bench gone", "tegu simulate sine --gone", "gone_since=",
     "GoneSince", "gone-since=1", "tegu bench simulate --task W9"],
)  # fmt: skip
def test_a_name_that_is_gone_is_found(code: str) -> None:
    assert unknown_in(code)
