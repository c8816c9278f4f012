"""Flower's Fleet API, spoken as a SuperNode speaks it. The only module of the client that touches what Flower hides.

A SuperNode is activated with its key, asks for messages, fetches a message's objects one by one, confirms it, and
sends its reply in the same way. All requests are protobuf over HTTP, signed with the node's key (ECDSA over a time
stamp). What a SuperNode does besides is left out: it fetches the server's app and runs it. A participant runs its own.

`TRIED` names the versions of Flower that this was tried with. Importing this module costs 37 MB; Flower's own client
would cost 20 MB more, since it loads a web server's framework for its errors.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import flwr
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Message
from flwr.app.message.message import remove_content_from_message
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, TIMESTAMP_HEADER
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    DeactivateNodeRequest,
    DeactivateNodeResponse,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
    RegisterNodeFleetRequest,
    RegisterNodeFleetResponse,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest, SendNodeHeartbeatResponse
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ConfirmMessageReceivedResponse,
    ObjectTree,
    PullObjectRequest,
    PullObjectResponse,
    PushObjectRequest,
    PushObjectResponse,
)
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import (
    FLEET_HTTP_PUBLIC_KEY_HEADER,
    FLEET_HTTP_SIGNATURE_HEADER,
    FLWR_COMPONENT_NAME_METADATA_KEY,
    FLWR_PACKAGE_NAME_METADATA_KEY,
    FLWR_PACKAGE_VERSION_METADATA_KEY,
)
from flwr.supercore.date import now
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message

from tegu.client.federation.http import Connection, UnreachableError
from tegu.core.errors import FederationError

__all__ = ["HEARTBEAT_SECONDS", "TRIED", "Fleet", "Pulled", "check_flower_version"]

TRIED = ("1.42",)
HEARTBEAT_SECONDS = float(HEARTBEAT_DEFAULT_INTERVAL)
_PROTOBUF = "application/protobuf"
_MOST_OBJECTS = 100_000
_AVAILABLE_TRIES = 20  # an object may be on its way from the ServerApp
ResponseT = TypeVar("ResponseT", bound="Proto")


def check_flower_version(version: str = flwr.__version__) -> None:
    """Check that this module was tried with the installed Flower.

    Raises:
        FederationError: it was not.
    """
    if ".".join(version.split(".")[:2]) not in TRIED:
        raise FederationError(
            f"flwr {version} is installed, and a participant was tried with {', '.join(TRIED)}: install one of these, "
            "or take part with flower-supernode (tegu join)"
        )


class Proto(Protocol):
    """What protobuf's messages have."""

    def SerializeToString(self, *, deterministic: bool = ...) -> bytes:  # noqa: N802 # protobuf's name
        """The message as bytes."""

    def ParseFromString(self, serialized: bytes) -> int:  # noqa: N802 # protobuf's name
        """Read the message from bytes."""


class Pulled(NamedTuple):
    """A message of the server.

    Attributes:
        message: without its content.
        tree: the ids of what the content consists of.
    """

    message: Message
    tree: ObjectTree


class Fleet:
    """A node of a SuperLink. Used by one thread.

    Attributes:
        node: the node's id at the server; None while it is not known there.
        most: bytes that `Connection.transferred` may reach; whoever uses the node sets it.

    Args:
        connection: to the server.
        key: the node's private key in OpenSSH's format; None for a new key, which a server without node authentication
            accepts.

    Raises:
        FederationError: the key cannot be read, or Flower's version was not tried.
    """

    def __init__(self, connection: Connection, key: Path | None) -> None:
        check_flower_version()
        self.node: int | None = None
        self.most = 0
        self._connection = connection
        self._registers = key is None
        self._key = ec.generate_private_key(ec.SECP384R1()) if key is None else _read_key(key)
        self._public = public_key_to_bytes(self._key.public_key())

    def activate(self) -> None:
        """Tell the server that the node is there.

        Raises:
            RefusedError: the server does not know the key, or takes an earlier connection for alive.
            UnreachableError: there is no server.
        """
        if self._registers:
            self._ask("register-node", RegisterNodeFleetRequest(public_key=self._public), RegisterNodeFleetResponse)
            self._registers = False
        request = ActivateNodeRequest(public_key=self._public, heartbeat_interval=HEARTBEAT_SECONDS)
        self.node = self._ask("activate-node", request, ActivateNodeResponse).node_id

    def heartbeat(self) -> bool:
        """Tell the server that the node is still there; False if the server does not know it any more."""
        request = SendNodeHeartbeatRequest(node=self._node(), heartbeat_interval=HEARTBEAT_SECONDS)
        return bool(self._ask("send-node-heartbeat", request, SendNodeHeartbeatResponse).success)

    def deactivate(self) -> None:
        """Tell the server that the node leaves."""
        request = DeactivateNodeRequest(node_id=self._node().node_id)
        self.node = None
        self._ask("deactivate-node", request, DeactivateNodeResponse)

    def pull(self) -> Pulled | None:
        """The next message, still without its content; None if there is none."""
        answer = self._ask("pull-messages", PullMessagesRequest(node=self._node()), PullMessagesResponse)
        if not answer.messages_list:
            return None
        return Pulled(message_from_proto(answer.messages_list[0]), answer.message_object_trees[0])

    def fetch(self, pulled: Pulled) -> Message:
        """The message with its content.

        Raises:
            UnreachableError: an object is not there, or is not what its id says.
        """
        message, tree = pulled
        run = message.metadata.run_id
        names = [each.object_id for each in iterate_object_tree(tree)]
        if len(names) > _MOST_OBJECTS:
            raise UnreachableError(f"a message has {len(names)} objects: expected at most {_MOST_OBJECTS}")
        contents = {name: self._object(run, name) for name in dict.fromkeys(names)}
        whole = inflate_object_from_contents(tree.object_id, contents)
        if not isinstance(whole, Message):
            raise UnreachableError(f"the server sends a {type(whole).__name__}: expected a message")
        if not whole.has_content():
            raise UnreachableError("the server sends a message without content")
        message.content = whole.content
        return message

    def confirm(self, pulled: Pulled) -> None:
        """Tell the server that the message has arrived."""
        run, whole = pulled.message.metadata.run_id, pulled.tree.object_id
        request = ConfirmMessageReceivedRequest(node=self._node(), run_id=run, message_object_id=whole)
        self._ask("confirm-message-received", request, ConfirmMessageReceivedResponse)

    def push(self, reply: Message, seconds: float) -> None:
        """Send a reply.

        Args:
            reply: to a message of `pull`.
            seconds: that computing it has taken.
        """
        reply.metadata.__dict__["_message_id"] = reply.object_id
        request = PushMessagesRequest(
            node=self._node(),
            messages_list=[message_to_proto(remove_content_from_message(reply))],
            message_object_trees=[get_object_tree(reply)],
            clientapp_runtime_list=[seconds],
        )
        answer = self._ask("push-messages", request, PushMessagesResponse)
        wanted = set(answer.objects_to_push)
        for name, part in get_all_nested_objects(reply).items():
            if name in wanted:
                own = PushObjectRequest(
                    node=self._node(),
                    run_id=reply.metadata.run_id,
                    session_id=answer.session_id,
                    object_id=name,
                    object_content=part.deflate(),
                )
                self._ask("push-object", own, PushObjectResponse)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _node(self) -> Node:
        if self.node is None:
            raise UnreachableError("the node is not activated")
        return Node(node_id=self.node)

    def _object(self, run: int, name: str) -> bytes:
        request = PullObjectRequest(node=self._node(), run_id=run, object_id=name)
        for _ in range(_AVAILABLE_TRIES):
            answer = self._ask("pull-object", request, PullObjectResponse)
            if not answer.object_found:
                break
            if answer.object_available:
                if hashlib.sha256(answer.object_content).hexdigest() != name:
                    raise UnreachableError("an object of a message is not the one that was announced")
                return bytes(answer.object_content)
        raise UnreachableError("an object of a message is not there")

    def _ask(self, call: str, request: Proto, kind: type[ResponseT]) -> ResponseT:
        body = request.SerializeToString(deterministic=True)
        left = self.most - self._connection.transferred
        answer = self._connection.ask(f"/v1/fleet/{call}", body, dict(self._headers()), left)
        found = kind()
        try:
            found.ParseFromString(answer)
        except Exception as error:  # protobuf's DecodeError, which its packages import from different places
            raise UnreachableError(f"the server's answer to {call} is not readable: is it a SuperLink?") from error
        return found

    def _headers(self) -> Iterator[tuple[str, str]]:
        yield from (("content-type", _PROTOBUF), ("accept", _PROTOBUF))
        yield FLWR_PACKAGE_NAME_METADATA_KEY, "flwr"
        yield FLWR_PACKAGE_VERSION_METADATA_KEY, flwr.__version__
        yield FLWR_COMPONENT_NAME_METADATA_KEY, "SuperNode"
        stamp = now().isoformat()
        yield TIMESTAMP_HEADER, stamp
        yield FLEET_HTTP_PUBLIC_KEY_HEADER, base64.b64encode(self._public).decode()
        signature = sign_message(self._key, stamp.encode("ascii"))
        yield FLEET_HTTP_SIGNATURE_HEADER, base64.b64encode(signature).decode()


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key: Any = serialization.load_ssh_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FederationError(
            f"{path} is not a readable private key ({error}): make one with tegu certificates --node"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise FederationError(f"{path} is a {type(key).__name__}: expected the key that tegu certificates makes")
    return key
