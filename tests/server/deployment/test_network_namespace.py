"""A network namespace with only loopback."""

from __future__ import annotations

import logging
import subprocess
import sys

import psutil
import pytest
from tests.federation.network_namespaces import namespace, namespaces_permitted

from tegu.server.deployment import network_namespace as module
from tegu.server.deployment.network_namespace import loopback_only

# Prints its namespace, its interfaces, whether it reaches its own loopback, and whether it reaches another machine.
REPORT_NETWORK = """
import os, socket
print(os.readlink("/proc/self/ns/net"))
print(*(line.split(":")[0].strip() for line in open("/proc/self/net/dev").readlines()[2:]))
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
    print("reached")
try:
    socket.create_connection(("192.0.2.1", 80), timeout=5).close()
except OSError as error:
    print(error.strerror)
"""


def report_from(prefix: tuple[str, ...]) -> list[str]:
    command = [*prefix, sys.executable, "-c", REPORT_NETWORK]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_the_namespace_has_only_loopback(caplog: pytest.LogCaptureFixture) -> None:
    """If the system does not permit namespaces, there is none, and a warning says so."""
    with loopback_only() as prefix:
        assert bool(prefix) == namespaces_permitted()
        if prefix:
            inside, interfaces, reached, elsewhere = report_from(prefix)
            assert inside != namespace("self")
            assert (interfaces, reached, elsewhere) == ("lo", "reached", "Network is unreachable")
            assert report_from(prefix)[0] == inside, "all processes started inside share one namespace"
            assert caplog.text == ""
        else:
            assert "network namespaces are not permitted here" in caplog.text


def test_namespaces_are_separate() -> None:
    with loopback_only() as one, loopback_only() as two:
        if one:
            assert len({namespace("self"), report_from(one)[0], report_from(two)[0]}) == 3
        assert bool(one) == bool(two)


def test_no_process_remains_after_an_error() -> None:
    before, during = children(), []

    def fail() -> None:
        with loopback_only() as prefix:
            during.append((children(), prefix))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert children() == before
    assert [(found == before) == (not prefix) for found, prefix in during] == [True]


@pytest.mark.parametrize("command", ["tegu-no-such-program", "false"])
def test_without_permission_commands_run_without_a_namespace(
    command: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`unshare` is either missing or fails."""

    def refused(words: tuple[str, ...]) -> object:
        return hold((command, *words[1:]))

    hold = module._hold_namespace
    monkeypatch.setattr(module, "_hold_namespace", refused)
    before = children()
    with caplog.at_level(logging.WARNING), loopback_only() as prefix:
        assert prefix == ()
        assert children() == before
    assert "namespaces are not permitted here: Ray will contact cloud metadata" in caplog.text


def test_a_user_namespace_is_tried_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root a network namespace may need a user namespace."""
    commands = []

    def hold(words: tuple[str, ...]) -> subprocess.Popen[str] | None:
        commands.append(words[:4])
        return subprocess.Popen(["true"], text=True) if "--user" in words else None

    monkeypatch.setattr(module, "_hold_namespace", hold)
    with loopback_only() as prefix:
        assert prefix[0] == "nsenter"
        assert prefix[2:] == ("--net", "--user", "--preserve-credentials", "--")
    assert [words[:2] for words in commands] == [("unshare", "--net")] * 2
