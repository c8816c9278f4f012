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

# Its namespace, its interfaces, and whether it reaches its own loopback.
LOOK = """
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


def look(enter: tuple[str, ...]) -> list[str]:
    command = [*enter, sys.executable, "-c", LOOK]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_inside_is_loopback_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Where the system permits namespaces; elsewhere there is no inside, and a warning says so."""
    with loopback_only() as enter:
        assert bool(enter) == namespaces_permitted()
        if enter:
            inside, interfaces, reached, elsewhere = look(enter)
            assert inside != namespace("self")
            assert (interfaces, reached, elsewhere) == ("lo", "reached", "Network is unreachable")
            assert look(enter)[0] == inside, "there must be one namespace for all that is started inside"
            assert caplog.text == ""
        else:
            assert "network namespaces are not permitted here" in caplog.text


def test_namespaces_are_separate() -> None:
    with loopback_only() as one, loopback_only() as two:
        if one:
            assert len({namespace("self"), look(one)[0], look(two)[0]}) == 3
        assert bool(one) == bool(two)


def test_nothing_holds_it_any_longer() -> None:
    before, during = children(), []

    def fail() -> None:
        with loopback_only() as enter:
            during.append((children(), enter))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert children() == before
    assert [(found == before) == (not enter) for found, enter in during] == [True]


@pytest.mark.parametrize("command", ["tegu-no-such-program", "false"])
def test_without_permission_commands_run_plainly(
    command: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether `unshare` is absent or refuses."""

    def refused(words: tuple[str, ...]) -> object:
        return hold((command, *words[1:]))

    hold = module._hold_namespace
    monkeypatch.setattr(module, "_hold_namespace", refused)
    before = children()
    with caplog.at_level(logging.WARNING), loopback_only() as enter:
        assert enter == ()
        assert children() == before
    assert "namespaces are not permitted here: Ray will contact cloud metadata" in caplog.text


def test_the_second_way_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody but root may do plainly, everybody may in a user namespace of their own."""
    asked = []

    def hold(words: tuple[str, ...]) -> subprocess.Popen[str] | None:
        asked.append(words[:4])
        return subprocess.Popen(["true"], text=True) if "--user" in words else None

    monkeypatch.setattr(module, "_hold_namespace", hold)
    with loopback_only() as enter:
        assert enter[0] == "nsenter"
        assert enter[2:] == ("--net", "--user", "--preserve-credentials", "--")
    assert [words[:2] for words in asked] == [("unshare", "--net")] * 2
