"""The file of a federation: defaults, overrides, and errors that name the key."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from tests.core.samples import refused

from tegu.client.federation.minimums import Minimums
from tegu.core.errors import FederationError, UnknownNameError
from tegu.server.run_config import from_config, to_config
from tegu.server.serving.settings import DEMANDS, SETTINGS, Federation, read_federation, variable_name
from tegu.server.training.automatic import with_recommended
from tegu.server.training.plan import TrainingPlan

KNOWN = to_config(with_recommended(TrainingPlan(), None))


def read(folder: Path, text: str, environment: dict[str, str] | None = None, **options: Any) -> Federation:
    (folder / "federation.toml").write_text(text)
    return read_federation(folder / "federation.toml", KNOWN, environment or {}, **options)


def test_an_empty_file_has_the_defaults(tmp_path: Path) -> None:
    found = read(tmp_path, "")
    assert found.text("server", "address") == "127.0.0.1:8000"
    assert found.text("tls", "ca") == str(tmp_path / "keys/ca.crt")
    assert found.text("run", "signing-key") == ""
    with refused(FederationError, "does not say bundle", "[run]", "TEGU_RUN_BUNDLE"):
        found.text("run", "bundle")


def test_the_settings_of_a_run_are_those_of_a_run_configuration(tmp_path: Path) -> None:
    text = (
        '[run]\nrounds = 3\ncohort = 2\ncalibration-ks = [1, 5]\nouter = "AdamW"\nouter-options = {weight_decay = 0.1}'
    )
    plan = from_config(read(tmp_path, text).run_config)
    assert (plan.rounds, plan.cohort.size, plan.calibration.ks) == (3, 2, (1, 5))
    assert plan.outer is not None
    assert dict(plan.outer.options) == {"weight_decay": 0.1}
    assert plan.cohort.wait_seconds == 604800, "a server waits for its nodes"


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    environment = {
        "TEGU_RUN_ROUNDS": "7",
        "TEGU_SERVER_ADDRESS": "a:1",
        "TEGU_RUN_OUTER_DECAY": "true",
        "TEGU_CACHE": "x",
    }
    found = read(tmp_path, "[run]\nrounds = 3\n[server]\naddress = 'b:2'", environment)
    assert found.run_config["rounds"] == 7
    assert found.run_config["outer-decay"] is True
    assert found.text("server", "address") == "a:1"


def test_the_command_line_overrides_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path.parent)
    found = read(tmp_path, "[node]\ndata = 'a'", {"TEGU_NODE_DATA": "b"}, overrides={("node", "data"): "c"})
    assert found.text("node", "data") == str(tmp_path.parent / "c")


def test_paths_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "rows.npz").touch()
    assert read(tmp_path, "[node]\ndata = 'rows.npz'").file("node", "data") == tmp_path / "rows.npz"
    assert read(tmp_path, "[run]\nout = '/elsewhere'").folder("run", "out") == Path("/elsewhere")
    with refused(FederationError, "[node] data", "there is no such file"):
        read(tmp_path, "[node]\ndata = 'absent.npz'").file("node", "data")


@pytest.mark.parametrize(
    ("text", "environment", "kind", "parts"),
    [
        ("[run]\nround = 3", {}, UnknownNameError, ("[run]", "'round'", "'rounds'")),
        ("[server]\nadress = 'a:1'", {}, UnknownNameError, ("[server]", "'adress'", "'address'")),
        ("[sever]\naddress = 'a:1'", {}, UnknownNameError, ("'sever'", "'server'")),
        ("[server]\naddress = 8000", {}, FederationError, ("[server] address", "8000", "expected text")),
        ("[node]\nleast-people = '5'", {}, FederationError, ("[node] least-people", "'5'")),
        ("[node]\nleast-peple = 5", {}, UnknownNameError, ("[node]", "'least-people'")),
        ("run = 3", {}, FederationError, ("run", "[run]")),
        ("[run", {}, FederationError, ("federation.toml cannot be read",)),
        ("", {"TEGU_RUN_ROUND": "3"}, UnknownNameError, ("'TEGU_RUN_ROUND'", "'TEGU_RUN_ROUNDS'")),
        ("", {"TEGU_RUN_ROUNDS": "many"}, FederationError, ("TEGU_RUN_ROUNDS", "'many'")),
        ("", {"TEGU_RUN_OUTER_DECAY": "1"}, FederationError, ("TEGU_RUN_OUTER_DECAY", "'1'", "such as false")),
    ],
)
def test_a_mistake_is_named(
    tmp_path: Path, text: str, environment: dict[str, str], kind: type[Exception], parts: tuple[str, ...]
) -> None:
    with refused(kind, *parts):
        read(tmp_path, text, environment)


def test_a_node_does_not_read_the_run(tmp_path: Path) -> None:
    (tmp_path / "federation.toml").write_text("[run]\nof-a-later-version = 1\n[node]\nkey = 'k'")
    found = read_federation(tmp_path / "federation.toml", None, {"TEGU_RUN_LATER": "1"})
    assert found.text("node", "key") == str(tmp_path / "k")


def test_a_node_may_demand_what_its_configuration_can(tmp_path: Path) -> None:
    assert {field.name.replace("_", "-"): field.type for field in fields(Minimums)} == {
        name: type(value).__name__ for name, value in DEMANDS.items()
    }
    text = "[node]\nleast-people = 10\nlargest-clip = 1\ntrains = false"
    assert read(tmp_path, text, {"TEGU_NODE_LEAST_ROWS": "9"}).demands == {
        "least-people": 10, "largest-clip": 1.0, "trains": False, "least-rows": 9,
    }  # fmt: skip


def test_every_setting_has_its_own_variable() -> None:
    names = [variable_name(setting.section, setting.name) for setting in SETTINGS] + [
        variable_name("run", name) for name in KNOWN
    ]
    assert len(set(names)) == len(names)
