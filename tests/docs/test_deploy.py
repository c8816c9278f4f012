"""The commands in `deploy/` are commands of `tegu`, with options that it has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from tegu.cli.app import app

DEPLOY = Path(__file__).parents[2] / "deploy"


def commands() -> Iterator[tuple[str, ...]]:
    """Arguments of `tegu` in the units and in the compose file."""
    for unit in sorted(DEPLOY.glob("*.service")):
        (line,) = re.findall(r"^ExecStart=/opt/tegu/bin/tegu (.*)$", unit.read_text(), re.MULTILINE)
        yield tuple(shlex.split(line.replace("%i", "node-0")))
    for service in yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"].values():
        yield tuple(service["command"])


@pytest.mark.parametrize("arguments", list(commands()))
def test_a_command_can_be_parsed(arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys").mkdir()
    for name in ("federation.toml", "keys/node-0", "keys/node-1", "node-0.npz", "node-1.npz"):
        (tmp_path / name).touch()
    name, *own = arguments
    found = get_command(app).commands[name].make_context(name, own)  # type: ignore[attr-defined]
    assert str(found.params["file"]) == "federation.toml"
