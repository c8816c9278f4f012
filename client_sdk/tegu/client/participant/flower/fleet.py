"""Flower's Fleet API, spoken as a SuperNode speaks it.

A SuperNode is activated with its key, asks for messages, fetches a message's objects one by one, confirms it, and
sends its reply in the same way. All requests are protobuf over HTTP, signed with the node's key (ECDSA with SHA-256
over a time stamp). What a SuperNode does besides is left out: it fetches the server's app and runs it. A participant
runs its own code alone.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tegu.client.federation.http import Connection, UnreachableError
from tegu.client.participant.flower import TRIED
from tegu.client.participant.flower.objects import MalformedError, children_of, content_of
from tegu.client.participant.flower.protobuf import message
from tegu.client.participant.flower.records import RecordDict
from tegu.client.participant.flower.upload import Upload, upload_of
from tegu.core.errors import FederationError

__all__ = ["HEARTBEAT_SECONDS", "Fleet", "Pulled"]

HEARTBEAT_SECONDS = 30.0
_PROTOBUF = "application/protobuf"
_MOST_OBJECTS = 100_000
_OBJECT_TRIES, _OBJECT_SECONDS = 20, 0.2  # an object may be on its way from the ServerApp


class Pulled(NamedTuple):
    """A message of the server, without its content.

    Attributes:
        metadata: protobuf `Metadata`.
        tree: protobuf `ObjectTree`, whose top is the message.
    """

    metadata: Any
    tree: Any


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
        FederationError: the key cannot be read.
    """

    def __init__(self, connection: Connection, key: Path | None) -> None:
        self.node: int | None = None
        self.most = 0
        self._connection = connection
        self._registers = key is None
        self._last: tuple[Pulled, RecordDict | str, Upload] | None = None
        self._key = ec.generate_private_key(ec.SECP384R1()) if key is None else _read_key(key)
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        self._public = self._key.public_key().public_bytes(serialization.Encoding.PEM, form)

    def activate(self) -> None:
        """Tell the server that the node is there.

        Raises:
            RefusedError: the server does not know the key, or takes an earlier connection for alive.
            UnreachableError: there is no server.
        """
        if self._registers:
            self._ask("register-node", "RegisterNodeFleet", public_key=self._public)
            self._registers = False
        answer = self._ask(
            "activate-node", "ActivateNode", public_key=self._public, heartbeat_interval=HEARTBEAT_SECONDS
        )
        self.node = answer.node_id

    def heartbeat(self) -> bool:
        """Tell the server that the node is still there; False if the server does not know it any more."""
        answer = self._ask(
            "send-node-heartbeat", "SendNodeHeartbeat", node=self._node(), heartbeat_interval=HEARTBEAT_SECONDS
        )
        return bool(answer.success)

    def deactivate(self) -> None:
        """Tell the server that the node leaves."""
        self._ask("deactivate-node", "DeactivateNode", node_id=self._node().node_id)
        self.node = None

    def pull(self) -> Pulled | None:
        """The next message; None if there is none."""
        answer = self._ask("pull-messages", "PullMessages", node=self._node())
        if not answer.messages_list or not answer.message_object_trees:
            return None
        return Pulled(answer.messages_list[0].metadata, answer.message_object_trees[0])

    def fetch(self, pulled: Pulled) -> RecordDict:
        """The content of a message, which is confirmed if the server still answers.

        Raises:
            UnreachableError: an object is not there, or is not what its id says.
        """
        top = pulled.tree.object_id
        try:
            objects = self._objects(pulled.metadata.run_id, top)
            with suppress(UnreachableError):  # the content is here, and the server deletes its own with the run
                self._confirm(pulled)
            return content_of(objects, top)
        except MalformedError as error:
            raise UnreachableError(f"the server's message is not readable ({error}): is it a SuperLink?") from error

    def _confirm(self, pulled: Pulled) -> None:
        asked, top = pulled.metadata, pulled.tree.object_id
        known = {"node": self._node(), "run_id": asked.run_id, "message_object_id": top}
        self._ask("confirm-message-received", "ConfirmMessageReceived", **known)

    def push(self, pulled: Pulled, reply: RecordDict | str, seconds: float) -> None:
        """Send a reply. The same reply to the same message may be sent again: its upload goes on, and it counts once.

        Args:
            pulled: the message that it answers.
            reply: the content, or the reason for none.
            seconds: that computing it has taken.
        """
        upload = self._upload(pulled, reply)
        if upload.session is None:
            answer = self._ask(
                "push-messages",
                "PushMessages",
                node=self._node(),
                messages_list=[upload.sent],
                message_object_trees=[upload.whole.tree()],
                clientapp_runtime_list=[seconds],
            )
            upload.begin(answer.session_id, answer.objects_to_push)
        known = {"run_id": pulled.metadata.run_id, "session_id": upload.session}
        for name, data in list(upload.left.items()):
            fields = {"node": self._node(), **known, "object_id": name, "object_content": data}
            stored = self._ask("push-object", "PushObject", **fields).stored
            if not stored and name == upload.whole.id and not upload.session:
                break  # the reply is too late, or there already
            del upload.left[name]
        self._last = None

    def _upload(self, pulled: Pulled, reply: RecordDict | str) -> Upload:
        if self._last is None or self._last[0] is not pulled or self._last[1] is not reply:
            self._last = pulled, reply, upload_of(pulled.metadata, reply)
        return self._last[2]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _node(self) -> Any:
        if self.node is None:
            raise UnreachableError("the node is not activated")
        return message("Node", node_id=self.node)

    def _objects(self, run: int, top: str) -> dict[str, bytes]:
        """An object and all below it by id. What an object names counts, and not what the server's tree says.

        Raises:
            MalformedError: an object has no head.
            UnreachableError: an object is not there, or there are too many.
        """
        found, waiting = dict[str, bytes](), [top]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = self._object(run, name)
                waiting.extend(children_of(found[name]))
            if len(found) + len(waiting) > _MOST_OBJECTS:
                raise UnreachableError(f"a message has more than {_MOST_OBJECTS} objects: is it a SuperLink?")
        return found

    def _object(self, run: int, name: str) -> bytes:
        for _ in range(_OBJECT_TRIES):
            answer = self._ask("pull-object", "PullObject", node=self._node(), run_id=run, object_id=name)
            if not answer.object_found:
                break
            if answer.object_available:
                data = bytes(answer.object_content)
                if hashlib.sha256(data).hexdigest() != name:
                    raise UnreachableError("an object of a message is not the one that was announced")
                return data
            time.sleep(_OBJECT_SECONDS)
        raise UnreachableError("an object of a message is not there")

    def _ask(self, path: str, call: str, **fields: Any) -> Any:
        body = message(f"{call}Request", **fields).SerializeToString(deterministic=True)
        left = self.most - self._connection.transferred
        answer = self._connection.ask(f"/v1/fleet/{path}", body, dict(self._headers()), left)
        found = message(f"{call}Response")
        try:
            found.ParseFromString(answer)
        except Exception as error:  # protobuf's DecodeError, which its packages import from different places
            raise UnreachableError(f"the server's answer to {path} is not readable: is it a SuperLink?") from error
        return found

    def _headers(self) -> Iterator[tuple[str, str]]:
        yield from (("content-type", _PROTOBUF), ("accept", _PROTOBUF))
        yield from (("flwr-package-name", "flwr"), ("flwr-package-version", TRIED[-1]))
        yield "flwr-component-name", "SuperNode"
        stamp = datetime.datetime.now(datetime.UTC).isoformat()
        yield "flwr-timestamp", stamp
        yield "flwr-public-key", base64.b64encode(self._public).decode()
        signature = self._key.sign(stamp.encode("ascii"), ec.ECDSA(hashes.SHA256()))
        yield "flwr-signature", base64.b64encode(signature).decode()


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
