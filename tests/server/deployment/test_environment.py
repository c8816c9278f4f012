"""The environment of Flower's programs: variables, program paths, TOML files, ports."""

from __future__ import annotations

import math
import os
import socket
import string
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tegu.core.errors import MissingExtraError
from tegu.server.deployment.environment import Scalar, Table, free_ports, offline_environment, program, write_toml

names = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=8)
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()
without_deadline = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_proxies_and_a_running_ray_are_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unwanted = ["http_proxy", "HTTPS_PROXY", "All_Proxy", "no_proxy", "RAY_ADDRESS"]
    for name in unwanted:
        monkeypatch.setenv(name, "somewhere")
    monkeypatch.setenv("PROXY_OF_MINE", "kept")
    before = dict(os.environ)
    environment = offline_environment(tmp_path)
    assert [name for name in unwanted if name in environment] == []
    assert environment["PROXY_OF_MINE"] == "kept"
    assert dict(os.environ) == before


def test_flower_and_ray_contact_no_other_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The caller's environment cannot change this."""
    expected = {
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    for name in expected:
        monkeypatch.setenv(name, "otherwise")
    environment = offline_environment(tmp_path)
    assert {name: environment[name] for name in expected} == expected
    assert environment["FLWR_HOME"] == str(tmp_path)


def test_flowers_programs_are_those_of_this_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another Flower that is first on the caller's path changes nothing. The SuperLink starts programs by name."""
    other = tmp_path / "flwr"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    own = Path(sys.executable).parent
    assert program("flwr") == str(own / "flwr")
    assert offline_environment(tmp_path)["PATH"].split(os.pathsep)[0] == str(own)


def test_a_missing_program_names_the_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"flower-nothing is not installed: pip install 'tegu\[sim\]'"):
        program("flower-nothing")


@given(st.dictionaries(names, scalars, max_size=5))
@without_deadline
def test_toml_holds_every_value(tmp_path: Path, values: dict[str, Scalar]) -> None:
    found = tomllib.loads(write_toml(tmp_path / "values.toml", values).read_text("utf-8"))
    assert found == values
    assert {name: type(value) for name, value in found.items()} == {name: type(v) for name, v in values.items()}


@pytest.mark.parametrize(
    "value", [math.inf, -math.inf, 1e16, 1e-7, -0.0, "a 'path' with \"quotes\" \\ \n\t\x7f", "é🦎"]
)
def test_toml_holds_unusual_values(tmp_path: Path, value: Scalar) -> None:
    found = tomllib.loads(write_toml(tmp_path / "odd.toml", {"odd": value}).read_text("utf-8"))["odd"]
    assert repr(found) == repr(value)


def test_toml_holds_nested_tables(tmp_path: Path) -> None:
    values: Table = {"outer": {"inner.name": {"address": "127.0.0.1:9", "insecure": True}}}
    assert tomllib.loads(write_toml(tmp_path / "nested.toml", values).read_text("utf-8")) == values


def test_ports_are_free_and_different() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        with socket.socket() as one:
            one.bind(("127.0.0.1", port))
            one.listen()
    assert free_ports(0) == []


def test_a_used_port_is_not_returned() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert taken.getsockname()[1] not in {port for _ in range(20) for port in free_ports(20)}
