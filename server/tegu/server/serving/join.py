"""`tegu join`: a SuperNode that comes back by itself.

A SuperNode gives up when the server refuses it, as it does after some restarts. Here it is started again, with back-off
and jitter, until this process is stopped.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tegu.server.deployment.environment import Scalar, free_ports, program, write_toml
from tegu.server.serving.processes import Respawned, own_folder, service_environment
from tegu.server.serving.security import Address, is_loopback, parse_address, require_tls_or_words
from tegu.server.serving.settings import Federation

__all__ = ["Participant", "join", "prepare_participant"]

_POLL_SECONDS = 0.5
_UNREACHED = "Connection attempt failed"  # it goes on trying, and says nothing else
_CONNECTED = "SuperNode ID:"  # a SuperNode logs it once the server has let it in
# A SuperNode whose thread of heartbeats has failed goes on without them: the server takes it for gone, for good.
_STUCK = "Exception in thread"
_REASON = re.compile(r"\[code: (\d+)\]\s*(.*)")
_NOT_LET_IN = ("2001", "2004")  # of Flower: the key is not registered, or the node is still connected


@dataclass(frozen=True)
class Participant:
    """What a node needs, read and checked.

    Attributes:
        server: where the node reaches the server.
        ca: certificate of the authority that signed the server's; None without TLS.
        key: the node's private key; None without TLS.
        state: folder for the log.
        config: the node configuration, which the ClientApp reads.
    """

    server: Address
    ca: Path | None
    key: Path | None
    state: Path
    config: dict[str, Scalar]

    def __repr__(self) -> str:
        return f"Participant({self.config['data']} at {self.server})"


def prepare_participant(
    federation: Federation, *, insecure: bool = False, beyond_loopback: bool = False
) -> Participant:
    """Read and check everything that a node needs, before anything is started.

    Args:
        federation: the file.
        insecure: `--insecure` was said.
        beyond_loopback: `--beyond-loopback` was said.

    Raises:
        FederationError: a setting is missing, a file is not there, or TLS is off beyond this machine.
    """
    server = parse_address(federation.text("server", "address"))
    require_tls_or_words((server.host,), insecure=insecure, beyond_loopback=beyond_loopback)
    data, bundle = federation.file("node", "data"), federation.file("node", "bundle")
    key = None if insecure else federation.file("node", "key")
    state = federation.folder("server", "state") / "nodes" / (key.name if key else data.stem)
    newer = {name: federation.text("node", name) for name in ("bundle-source", "public-key")}
    kept = {"bundle-cache": str(state / "bundles")} if newer["bundle-source"] else {}
    said = {**{name: value for name, value in newer.items() if value}, **kept}
    return Participant(
        server=server,
        ca=None if insecure else federation.file("tls", "ca"),
        key=key,
        state=state,
        config={"data": str(data), "bundle": str(bundle), **said, **federation.demands},
    )


def join(participant: Participant, say: Callable[[str], None], stopped: Callable[[], bool] = lambda: False) -> None:
    """Take part until `stopped` is true, or until this process is interrupted.

    Args:
        participant: of `prepare_participant`.
        say: told what happens, in lines of text.
        stopped: asked twice a second.

    Raises:
        FederationError: the node runs already.
    """
    with own_folder(participant.state, "this node") as mark:
        write_toml(participant.state / "node.toml", participant.config)
        log = participant.state / "supernode.log"

        connected_as: int | None = None
        unreached_by: int | None = None

        def ended(code: int, wait: float) -> None:
            reason = _reason(node.said(), been_there=connected_as is not None)
            say(f"{reason or f'the SuperNode has ended with code {code}'}: it tries again in {wait:.0f} s")

        far = not is_loopback(participant.server.host)
        environment = service_environment(participant.state, mark, proxies=far)
        node = Respawned("SuperNode", partial(_command, participant), log, environment, ended)
        say(f"joining {participant.server}{'' if participant.ca else ' without TLS and authentication'}")
        with closing(node):
            while not stopped():
                node.tend()
                pid, said = node.pid, node.said()
                if pid != connected_as and pid is not None and _CONNECTED in said:
                    connected_as = pid
                    say("connected")
                elif pid is not None and pid not in (connected_as, unreached_by) and _UNREACHED in said:
                    unreached_by = pid
                    say(_unreached(participant))
                if pid is not None and _STUCK in said:
                    node.end()
                time.sleep(_POLL_SECONDS)


def _unreached(participant: Participant) -> str:
    security = "with TLS" if participant.ca else "without TLS, as --insecure says"
    return f"no answer from {participant.server} yet, trying again: is tegu serve running there, {security}?"


def _command(participant: Participant) -> list[str]:
    """The SuperNode's command. Its own Runtime API listens on loopback, at a port that is free now."""
    (port,) = free_ports(1)
    security = ["--insecure"]
    if participant.ca and participant.key:
        security = ["--root-certificates", str(participant.ca)]
        security += ["--auth-supernode-private-key", str(participant.key)]
    place = ["--superlink", str(participant.server), "--host", "127.0.0.1", "--port", str(port)]
    return [program("flower-supernode"), *place, *security, "--node-config", str(participant.state / "node.toml")]


def _reason(said: str, *, been_there: bool) -> str:
    """Why the server has refused the node, by the end of the SuperNode's log; empty if it is not known.

    Args:
        said: the log since the SuperNode's start.
        been_there: the server has let the node in before.
    """
    found = _REASON.findall(said)
    if not found:
        return ""
    code, text = found[-1]
    if code not in _NOT_LET_IN:
        return f"the server refuses: {text} (code {code})"
    if been_there:
        return "the server waits up to a minute for this node's earlier connection to end"
    # A node whose process was killed does not know that it was in, and Flower's code is the same.
    return (
        "the server does not know this node's key (tegu nodes add makes it known), "
        "or waits up to a minute for an earlier connection to end"
    )
