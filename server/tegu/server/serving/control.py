"""Flower's Control API: the nodes and the runs of a SuperLink. The only module that uses it.

These modules of Flower are not public. `flwr supernode` and `flwr run` use them in the same way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.cli.build import build_fab_from_disk
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import FlowerError
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, uses_nist_ec_curve

from tegu.core.errors import FederationError

__all__ = ["Control", "Node", "RunStatus", "connect", "read_public_key"]

Answer = TypeVar("Answer")
_ONLINE, _UNREGISTERED, _FINISHED = "online", "unregistered", "finished"


class Node(NamedTuple):
    """A registered node.

    Attributes:
        id: Flower's id.
        name: the name that it was registered with.
        status: "registered", "online" or "offline".
        since: when that began, in ISO 8601.
        key: the public key as Flower sends it.
    """

    id: int
    name: str
    status: str
    since: str
    key: bytes

    @property
    def is_online(self) -> bool:
        """Whether the node is connected."""
        return self.status == _ONLINE


class RunStatus(NamedTuple):
    """The state of a run as Flower reports it.

    Attributes:
        id: Flower's id.
        status: "pending", "starting", "running" or "finished".
        how: of a finished run "completed", "failed" or "stopped".
        details: what Flower says besides.
    """

    id: int
    status: str
    how: str
    details: str

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended, in whichever way."""
        return self.status == _FINISHED


class Control:
    """A connection to the Control API; see `connect`."""

    def __init__(self, client: ControlHttpClient, address: str) -> None:
        self._client, self._address = client, address

    def __repr__(self) -> str:
        return f"Control({self._address})"

    def nodes(self) -> list[Node]:
        """All registered nodes."""
        answer = self._ask(lambda: self._client.ListNodes(ListNodesRequest()))
        return [
            Node(each.node_id, each.name, each.status, _since(each), each.public_key)
            for each in answer.nodes_info
            if each.status != _UNREGISTERED
        ]

    def add_node(self, key: bytes, name: str) -> int:
        """Register a node's public key under a name, and return the node's id."""
        request = RegisterNodeRequest(public_key=key, name=name)
        return int(self._ask(lambda: self._client.RegisterNode(request)).node_id)

    def remove_node(self, node: int) -> None:
        """Remove a node's registration."""
        self._ask(lambda: self._client.UnregisterNode(UnregisterNodeRequest(node_id=node)))

    def start_run(self, app: Path, config: Mapping[str, Any]) -> int:
        """Start an app with a run configuration, and return the run's id."""
        content = build_fab_from_disk(app)
        fab = fab_to_proto(Fab(hashlib.sha256(content).hexdigest(), content, {}))
        request = StartRunRequest(fab=fab, override_config=user_config_to_proto(dict(config)))
        return int(self._ask(lambda: self._client.StartRun(request)).run_id)

    def run(self, run: int) -> RunStatus:
        """The state of a run."""
        answer = self._ask(lambda: self._client.ListRuns(ListRunsRequest(run_id=run)))
        return _run_status(answer.run_dict[run])

    def unfinished_runs(self) -> list[RunStatus]:
        """The runs that have not ended."""
        answer = self._ask(lambda: self._client.ListRuns(ListRunsRequest()))
        return [status for status in map(_run_status, answer.run_dict.values()) if not status.is_finished]

    def stop_run(self, run: int) -> None:
        """Stop a run."""
        self._ask(lambda: self._client.StopRun(StopRunRequest(run_id=run)))

    def _ask(self, call: Callable[[], Answer]) -> Answer:
        """The answer to a call.

        Raises:
            FederationError: the server does not answer, or refuses.
        """
        try:
            return call()
        except httpx.HTTPStatusError as error:
            raise FederationError(f"the server at {self._address} refuses: {_reason(error.response)}") from error
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise FederationError(
                f"the server at {self._address} does not answer ({error}): start it with tegu serve, and ask on the "
                "server's own machine"
            ) from error


@contextmanager
def connect(address: str, ca: Path | None) -> Iterator[Control]:
    """Connect to a server on this machine.

    Args:
        address: host and port.
        ca: certificate of the authority; None without TLS.

    Raises:
        FederationError: the certificate cannot be read.
    """
    try:
        client = ControlHttpClient.from_server_address(
            server_address=address,
            insecure=ca is None,
            root_certificates=None if ca is None else ca.read_bytes(),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="tegu")],
        )
    except (OSError, ValueError) as error:
        raise FederationError(f"{ca} is not a readable certificate ({error})") from error
    try:
        yield Control(client, address)
    finally:
        client.close()


def read_public_key(path: Path) -> bytes:
    """A node's public key in the form that Flower sends.

    Raises:
        FederationError: the file cannot be read, or its key is not of a kind that Flower takes.
    """
    try:
        key = serialization.load_ssh_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise FederationError(
            f"{path} is not a readable public key ({error}): expected the .pub file of tegu certificates --node"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not uses_nist_ec_curve(key):
        raise FederationError(f"{path} is a {type(key).__name__}: expected ECDSA on the curve P-256, P-384 or P-521")
    return public_key_to_bytes(key)


def _since(info: Any) -> str:
    times = {"online": info.last_activated_at, "offline": info.last_deactivated_at}
    return str(times.get(info.status) or info.registered_at)


def _run_status(run: Any) -> RunStatus:
    return RunStatus(run.run_id, run.status.status, run.status.sub_status, run.status.details)


def _reason(response: httpx.Response) -> str:
    error = FlowerError.from_json(response.text)
    if error is None:
        return f"status {response.status_code}"
    return f"{error.message} (code {error.code})" + (f": {error.public_details}" if error.public_details else "")
