"""The commands of a federation: `tegu certificates`, `serve`, `join`, `nodes` and `status`."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from tegu.core.errors import FederationError
from tegu.core.notes import show_notes
from tegu.server.serving.certificates import make_node_key, make_server_certificate
from tegu.server.serving.control import Control, Node, connect, read_public_key
from tegu.server.serving.join import join, prepare_participant
from tegu.server.serving.security import own_address
from tegu.server.serving.settings import read_federation

__all__ = [
    "add_nodes_command",
    "certificates_command",
    "join_command",
    "list_nodes_command",
    "remove_nodes_command",
    "serve_command",
    "status_command",
]

_STARTUP_SECONDS = 30.0


def certificates_command(
    folder: Path, hosts: Sequence[str], nodes: Sequence[str], *, days: int, server: bool, renew: bool
) -> None:
    """Make certificates and keys, and say what was made and what was kept.

    Raises:
        FederationError: an existing file cannot be used, or a name is not possible.
        FileError: a file cannot be written.
    """
    made = make_server_certificate(folder, hosts, days=days, renew=renew) if server else []
    for name in nodes:
        made += make_node_key(folder, name)
    for each in made:
        typer.echo(str(each))


def serve_command(file: Path, *, insecure: bool, beyond_loopback: bool) -> None:
    """Run the server until the result is written.

    Raises:
        FederationError: see `tegu.server.serving.serve`.
    """
    from tegu.server.run_config import to_config  # noqa: PLC0415 # torch, which a node does without
    from tegu.server.serving.serve import serve  # noqa: PLC0415
    from tegu.server.serving.server import prepare_server  # noqa: PLC0415
    from tegu.server.training.automatic import with_recommended  # noqa: PLC0415
    from tegu.server.training.plan import TrainingPlan  # noqa: PLC0415

    show_notes()
    with _stops_at_signals():
        federation = read_federation(file, to_config(with_recommended(TrainingPlan(), None)))
        server = prepare_server(federation, insecure=insecure, beyond_loopback=beyond_loopback)
        result = serve(server, _say)
    typer.echo(str(result))


def join_command(
    file: Path, overrides: Mapping[tuple[str, str], str], *, insecure: bool, beyond_loopback: bool
) -> None:
    """Take part as a node until this process is stopped.

    Raises:
        FederationError: see `tegu.server.serving.join`.
    """
    with _stops_at_signals():
        federation = read_federation(file, None, overrides=overrides)
        join(prepare_participant(federation, insecure=insecure, beyond_loopback=beyond_loopback), _say)


def status_command(file: Path, *, insecure: bool) -> tuple[dict[str, Any], list[str]]:
    """What the run does, as JSON and in words."""
    from tegu.server.serving.status import status_lines, status_of  # noqa: PLC0415 # torch

    found = status_of(read_federation(file, None), insecure=insecure)
    return found, status_lines(found)


def add_nodes_command(file: Path, keys: Sequence[Path], *, insecure: bool) -> None:
    """Register public keys. A key that is registered already is said to be.

    Raises:
        FederationError: a key cannot be read, or the server does not answer.
    """
    read = [(path.name.removesuffix(".pub"), read_public_key(path)) for path in keys]
    with _control(file, insecure) as control:
        known = {node.key: node for node in control.nodes()}
        for name, key in read:
            if key in known:
                typer.echo(f"{name} is registered already, as {known[key].name}")
            else:
                typer.echo(f"registered {name} as node {control.add_node(key, name)}")


def list_nodes_command(file: Path, *, insecure: bool) -> None:
    """Print the registered nodes."""
    with _control(file, insecure) as control:
        for node in sorted(control.nodes(), key=lambda node: node.name):
            typer.echo(f"{node.id:>20}  {node.status:<10}  {node.since[:19]}  {node.name}")


def remove_nodes_command(file: Path, which: Sequence[str], *, insecure: bool) -> None:
    """Remove nodes by id, name or public key.

    Raises:
        FederationError: no such node, or the server does not answer.
    """
    with _control(file, insecure) as control:
        known = control.nodes()
        for node in [_find(known, text) for text in which]:
            control.remove_node(node.id)
            typer.echo(f"removed {node.name} (node {node.id})")


def _find(known: Sequence[Node], text: str) -> Node:
    key = read_public_key(Path(text)) if text.endswith(".pub") else None
    found = [node for node in known if text in (str(node.id), node.name) or node.key == key]
    if len(found) != 1:
        many = "no node" if not found else f"{len(found)} nodes"
        raise FederationError(
            f"{many} of the federation can be meant by {text!r}: give an id that tegu nodes list shows"
        )
    return found[0]


@contextmanager
def _control(file: Path, insecure: bool) -> Iterator[Control]:
    federation = read_federation(file, None)
    with connect(str(own_address(federation)), None if insecure else federation.file("tls", "ca")) as control:
        _wait_for(control)
        yield control


def _wait_for(control: Control) -> None:
    """Wait until the server answers: it may have been started by the command before this one.

    Raises:
        FederationError: it does not answer in time.
    """
    deadline = time.monotonic() + _STARTUP_SECONDS
    while True:
        try:
            control.nodes()
        except FederationError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _stops_at_signals() -> Iterator[None]:
    """Make the signal that service managers send end the command as Control-C does: in order, with its processes."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        _say("stopped: the same command goes on from here")
        sys.exit(130)
