"""The commands of a federation, without a server: certificates, mistakes and the status of a run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import CommandResult
from tests.client.graphs import linear_bundle

from tegu.core.bundle.file import write_bundle
from tegu.server.deployment.environment import free_ports
from tegu.server.serving.control import Control, Node
from tegu.server.training.journal import append_event

Run = Callable[..., CommandResult]


def federation(folder: Path, text: str = "") -> Path:
    (port,) = free_ports(1)
    path = folder / "federation.toml"
    path.write_text(f"[server]\naddress = '127.0.0.1:{port}'\n{text}")
    return path


def test_certificates_says_what_was_made_and_kept(tegu: Run, tmp_path: Path) -> None:
    first = tegu("certificates", tmp_path / "keys", "--node", "phone")
    assert first.code == 0
    assert [line.split()[0] for line in first.out.splitlines()] == ["made"] * 6
    assert "server.crt, valid until 20" in first.out
    again = tegu("certificates", tmp_path / "keys", "--node", "phone", "--node", "tablet")
    assert [line.split()[0] for line in again.out.splitlines()] == ["kept"] * 6 + ["made"] * 2
    only = tegu("certificates", tmp_path / "device", "--no-server", "--node", "watch")
    assert sorted(path.name for path in (tmp_path / "device").iterdir()) == ["watch", "watch.pub"]
    assert only.code == 0


@pytest.mark.parametrize(
    ("arguments", "text", "said"),
    [
        (["serve"], "", "[tls] ca"),
        (["serve", "--beyond-loopback"], "", "without --insecure"),
        (["serve", "--insecure"], "listen = '0.0.0.0'", "say --beyond-loopback too"),
        (["serve", "--insecure"], "[run]\nround = 3", "Did you mean 'rounds'?"),
        (["serve", "--insecure"], "[run]\nbundle = 'absent.tegu'", "there is no such file"),
        (["serve", "--insecure"], "[run]\nbundle = 'start.tegu'\nrounds = 'many'", "rounds is 'many'"),
        (["serve", "--insecure"], "[run]\nbundle = 'start.tegu'\nsigning-key = 'open.key'", "chmod 600"),
        (["join", "--insecure"], "", "does not say data"),
        (["join", "--insecure"], "[node]\ndata = 'absent.npz'", "[node] data"),
        (["join"], "[node]\ndata = 'open.key'\nbundle = 'start.tegu'", "[node] key"),
    ],
)
def test_mistakes_are_named_before_anything_starts(
    tegu: Run, tmp_path: Path, arguments: list[str], text: str, said: str
) -> None:
    write_bundle(tmp_path / "start.tegu", linear_bundle())
    (tmp_path / "open.key").write_text("00" * 32)
    (tmp_path / "open.key").chmod(0o644)
    command, *options = arguments
    result = tegu(command, federation(tmp_path, text), *options)
    assert result.code == 1
    assert said in result.err
    assert not (tmp_path / "state").exists()


def test_a_finished_run_is_said_to_be_at_once(tegu: Run, tmp_path: Path) -> None:
    result = tegu("status", federation(tmp_path, "[run]\nout = 'out'"), "--insecure", "--json")
    assert json.loads(result.out)["state"] == "not started"
    (tmp_path / "out/checkpoints").mkdir(parents=True)
    refusal = {"node": "7", "code": "users", "reason": "too many"}
    shown = {
        "users": 5,
        "nodes": ["1"],
        "refused": [refusal],
        "failed": [],
        "late": ["3"],
        "seconds": 2.0,
        "validation": None,
    }
    append_event(tmp_path / "out/checkpoints", "round", fold=0, round=2, rounds=3, **shown)
    told = tegu("status", tmp_path / "federation.toml", "--insecure").out
    assert "round       2 of 3" in told
    assert "1 refused, 1 late" in told
    assert "the server does not answer" in told
    append_event(tmp_path / "out/checkpoints", "finished", fold=0, round=3)
    assert "nodes       the server has ended" in tegu("status", tmp_path / "federation.toml", "--insecure").out


def test_nodes_are_found_by_id_name_or_key(tegu: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tegu("certificates", tmp_path / "keys", "--node", "a", "--node", "b")
    known: list[Node] = []

    def add(self: Control, key: bytes, name: str) -> int:
        known.append(Node(len(known) + 1, name, "registered", "2026-01-01T00:00:00", key))
        return known[-1].id

    monkeypatch.setattr(Control, "nodes", lambda self: list(known))
    monkeypatch.setattr(Control, "add_node", add)
    monkeypatch.setattr(Control, "remove_node", lambda self, node: known.remove(next(k for k in known if k.id == node)))
    file = federation(tmp_path)
    assert "registered a as node 1" in tegu("nodes", "add", file, tmp_path / "keys/a.pub", tmp_path / "keys/b.pub").out
    assert "a is registered already" in tegu("nodes", "add", file, tmp_path / "keys/a.pub").out
    assert [line.split()[-1] for line in tegu("nodes", "list", file).out.splitlines()] == ["a", "b"]
    assert "not a readable public key" in tegu("nodes", "add", file, tmp_path / "keys/a").err
    assert "no node of the federation" in tegu("nodes", "remove", file, "c").err
    assert "removed a (node 1)" in tegu("nodes", "remove", file, tmp_path / "keys/a.pub").out
    assert "removed b (node 2)" in tegu("nodes", "remove", file, "b").out
    assert known == []


def test_a_node_needs_no_torch() -> None:
    """`tegu[federated,cli]` has none."""
    program = "import sys, tegu.cli.app, tegu.cli.commands.federation; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout.split()
    assert "tegu.server.serving.join" in loaded
    assert {"torch", "onnx", "pandas", "ray"} & set(loaded) == set()
