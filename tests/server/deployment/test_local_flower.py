"""Flower's command line: the arguments it receives and the output that is read. A small script replaces Flower."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tegu.core.errors import FederationError
from tegu.server.deployment import FlowerRun, LocalFlower
from tegu.server.deployment import local_flower as module

# Stores its arguments and the configuration file. `flwr list` writes another line before its JSON.
STARTED = "Successfully started run 1234"
FLWR = """#!/bin/sh
echo "$@" >>arguments
case $1 in
  run) cp run-config.toml received.toml; echo "STARTED" ;;
  list) echo "Using SuperLink"; echo '{"success": true, "runs": [{"status": "finished:failed"}]}' ;;
esac
"""


def flower(folder: Path, monkeypatch: pytest.MonkeyPatch, *, output: str = STARTED, **options: object) -> LocalFlower:
    flwr = folder / "flwr"
    flwr.write_text(FLWR.replace("STARTED", output))
    flwr.chmod(0o755)
    monkeypatch.setattr(module, "program", lambda name: str(folder / name))
    return LocalFlower(folder / "app", folder, 8765, **options)  # type: ignore[arg-type]


def received_arguments(folder: Path) -> list[str]:
    return (folder / "arguments").read_text().splitlines()


def test_the_status_is_the_one_flower_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`flwr run` exits with 0 here, as it does even for failed runs."""
    run = flower(tmp_path, monkeypatch).run({}, timeout=30)
    assert (run.status, run.completed) == ("finished:failed", False)
    assert run.log == f"{STARTED}\n"
    assert received_arguments(tmp_path)[1] == "list local --run-id 1234 --format json"


@pytest.mark.parametrize(
    ("status", "completed"), [("finished:completed", True), ("finished:stopped", False), ("running", False)]
)
def test_completed_follows_from_the_status(status: str, completed: bool) -> None:
    assert FlowerRun(status, "", 1.0).completed == completed


def test_settings_are_passed_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"num-supernodes": 3, "init-args-num-cpus": 2}
    config = {"out": "a 'quoted' path\n", "rounds": 3, "outer-lr": 0.1, "outer-decay": True}
    flower(tmp_path, monkeypatch, settings=settings).run(config, timeout=30)
    assert received_arguments(tmp_path)[0] == (
        f"run {tmp_path}/app local --stream --run-config {tmp_path}/run-config.toml "
        f"--federation-config {tmp_path}/federation-config.toml"
    )
    assert tomllib.loads((tmp_path / "received.toml").read_text()) == config
    assert tomllib.loads((tmp_path / "federation-config.toml").read_text()) == settings


def test_without_settings_no_federation_config_is_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flower(tmp_path, monkeypatch).run({}, timeout=30)
    assert received_arguments(tmp_path)[0].endswith(f"--run-config {tmp_path}/run-config.toml")


def test_the_connection_points_to_the_own_superlink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flower(tmp_path, monkeypatch)
    connections = tomllib.loads((tmp_path / "flwr-home" / "config.toml").read_text())["superlink"]
    assert connections == {"local": {"address": "127.0.0.1:8765", "insecure": True}}


def test_output_without_a_run_id_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FederationError, match=r"names no run id: check the Flower .*\nStarted something"):
        flower(tmp_path, monkeypatch, output="Started something").run({}, timeout=30)
