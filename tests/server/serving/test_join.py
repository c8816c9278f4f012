"""A node comes back by itself, and says why it waits. A script stands for Flower's SuperNode."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from tests.core.samples import refused

from tegu.core.errors import FederationError
from tegu.server.serving import join as module
from tegu.server.serving import processes
from tegu.server.serving.join import Participant, join, prepare_participant
from tegu.server.serving.security import Address
from tegu.server.serving.settings import read_federation

REFUSED = "[code: 2004] SuperNode activation failed."


def joined(folder: Path, monkeypatch: pytest.MonkeyPatch, lives: list[str], until: str) -> list[str]:
    """What `join` says. Each life of the SuperNode is a line of Python; the last one is repeated."""
    monkeypatch.setattr(processes, "_FIRST_SECONDS", 0.01)
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.02)
    scripts = iter(lives)
    monkeypatch.setattr(module, "_command", lambda participant: [sys.executable, "-uc", next(scripts, lives[-1])])
    participant = Participant(Address("127.0.0.1", 9), None, None, folder / "node", {"data": "d", "bundle": "b"})
    said: list[str] = []
    deadline = time.monotonic() + 60

    def stopped() -> bool:
        assert time.monotonic() < deadline, said
        return any(until in line for line in said)

    join(participant, said.append, stopped)
    return [line.rpartition(": it tries again")[0] or line for line in said]


def test_a_node_waits_until_its_key_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lives = [f"print('{REFUSED}'); raise SystemExit(1)"] * 2 + ["print('SuperNode ID: 7'); input()"]
    lives[-1] = "import time; print('SuperNode ID: 7'); time.sleep(60)"
    unknown = (
        "the server does not know this node's key (tegu nodes add makes it known), "
        "or waits up to a minute for an earlier connection to end"
    )
    said = joined(tmp_path, monkeypatch, lives, "connected")
    assert said == ["joining 127.0.0.1:9 without TLS and authentication", unknown, unknown, "connected"]
    assert (tmp_path / "node/node.toml").read_text().splitlines() == ['data = "d"', 'bundle = "b"']


def test_a_node_that_was_in_is_not_told_that_its_key_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives = ["import time; print('SuperNode ID: 7'); time.sleep(0.5)", f"print('{REFUSED}'); raise SystemExit(1)"]
    said = joined(tmp_path, monkeypatch, lives, "earlier connection")
    assert said[1:] == [
        "connected",
        "the SuperNode has ended with code 0",
        "the server waits up to a minute for this node's earlier connection to end",
    ]


def test_a_supernode_without_heartbeats_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = "import time; print('SuperNode ID: 7'); time.sleep(0.3); print('Exception in thread T'); time.sleep(60)"
    said = joined(tmp_path, monkeypatch, [stuck, "print('[code: 99] full.')"], "refuses")
    assert said[1:] == ["connected", "the SuperNode has ended with code -15", "the server refuses: full. (code 99)"]


def test_a_server_that_does_not_answer_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is where the server uses TLS and the node does not, or the other way round."""
    failed = "print('Connection attempt failed, retrying in 0.75 seconds')"
    life = (
        f"import time; {failed}; time.sleep(0.3); {failed}; time.sleep(0.3); print('SuperNode ID: 7'); time.sleep(60)"
    )
    said = joined(tmp_path, monkeypatch, [life], "connected")
    asks = "no answer from 127.0.0.1:9 yet, trying again: is tegu serve running there, without TLS, as --insecure says?"
    assert said[1:] == [asks, "connected"]


def test_what_a_node_needs(tmp_path: Path) -> None:
    file = tmp_path / "federation.toml"
    file.write_text("[node]\ndata = 'd'\nbundle = 'b'\nkey = 'k'\nleast-people = 9\n[tls]\nca = 'c'")
    for name in "dbk":
        (tmp_path / name).touch()
    federation = read_federation(file, None, {})
    with refused(FederationError, "[tls] ca", "no such file"):
        prepare_participant(federation)
    (tmp_path / "c").touch()
    found = prepare_participant(federation)
    assert (found.ca, found.key, found.state) == (tmp_path / "c", tmp_path / "k", tmp_path / "state/nodes/k")
    assert found.config == {"data": f"{tmp_path}/d", "bundle": f"{tmp_path}/b", "least-people": 9}
    assert prepare_participant(federation, insecure=True).key is None


def test_a_node_knows_where_newer_bundles_are(tmp_path: Path) -> None:
    """Its own settings say it; an address is no path."""
    for name in ("d", "b"):
        (tmp_path / name).touch()
    lines = '[node]\ndata = "d"\nbundle = "b"\npublic-key = "ab"\nbundle-source = "{}"'
    for source, expected in (("https://a.example/b", "https://a.example/b"), ("shared", f"{tmp_path}/shared")):
        (tmp_path / "federation.toml").write_text(lines.format(source))
        config = prepare_participant(read_federation(tmp_path / "federation.toml", None), insecure=True).config
        kept = f"{tmp_path}/state/nodes/d/bundles"
        assert (config["bundle-source"], config["bundle-cache"], config["public-key"]) == (expected, kept, "ab")
