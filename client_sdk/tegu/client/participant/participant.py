"""A thread of the app that takes part in a federation. It never raises into the app; `state` says what it does."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from tegu.client.federation.http import Connection
from tegu.client.federation.minimums import Minimums
from tegu.client.forks import survives_forks
from tegu.client.participant.policy import Policy
from tegu.client.participant.state import ParticipantState
from tegu.client.personalizer import Personalizer
from tegu.core.errors import FederationError, missing_extra

__all__ = ["Participant"]

_TIMEOUT_SECONDS = 20.0


class Participant:
    """Takes part in a federation, as a SuperNode would, with the interactions that a `Personalizer` stores.

    Nothing happens before the user has agreed (`Personalizer.opt_in`). The thread and the app may use the personalizer
    at the same time. Close the participant before the personalizer.

    Args:
        personalizer: with the user's store on a device.
        server: its address, such as "federation.example:8000".
        ca: certificate of the authority that signed the server's; None for no TLS, on this machine only.
        key: the device's private key, whose public one the server knows; None without node authentication.
        policy: when the device takes part, and how much of it a federation may use.
        minimums: what the device demands of every round; no server lowers it.
        bundle_source: a folder, or an address with https://, from which a newer bundle is fetched when a round needs
            one; None to sit such rounds out.
        public_key: Ed25519 key that must have signed what is fetched; None for no check.
        user: the name by which rounds draw rows and sides, if it must be a certain one. None for the random one of the
            agreement.

    Raises:
        FederationError: the address cannot be read, or TLS is off beyond this machine.
    """

    def __init__(
        self,
        personalizer: Personalizer,
        server: str,
        *,
        ca: str | Path | None = None,
        key: str | Path | None = None,
        policy: Policy | None = None,
        minimums: Minimums | None = None,
        bundle_source: str | Path | None = None,
        public_key: bytes | None = None,
        user: str | None = None,
    ) -> None:
        self._personalizer = personalizer
        self._address = _address(server)
        self._ca, self._key = None if ca is None else Path(ca), None if key is None else Path(key)
        if self._ca is None and not _is_loopback(self._address[0]):
            raise FederationError(f"ca is None and the server is {server}: give the certificate that nodes trust")
        self._policy, self._minimums = policy or Policy(), minimums or Minimums()
        self._source, self._public_key, self._user = bundle_source, public_key, user
        self._state, self._changing = ParticipantState(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping, self._goodbye = threading.Event(), threading.Event()
        survives_forks(self)

    def __repr__(self) -> str:
        host, port = self._address
        return f"Participant({host}:{port}, {self._state.status}, {self._state.rounds} rounds)"

    @property
    def state(self) -> ParticipantState:
        """What the participant does now."""
        return self._state

    def start(self) -> None:
        """Start the thread, if it does not run.

        Raises:
            MissingExtraError: protobuf or cryptography is not installed.
            FederationError: the key or the certificate cannot be read.
            StoreError: the store cannot be read.
        """
        with self._changing:
            if self._thread is not None and self._thread.is_alive():
                return
            loop, events = self._loop(), (threading.Event(), threading.Event())
            self._state = ParticipantState("sits out", "starting")
            self._stopping, self._goodbye = events
            self._thread = threading.Thread(target=loop.run, args=events, name="tegu-participant", daemon=True)
            self._thread.start()

    def stop(self, timeout: float = 30.0, *, goodbye: bool = True) -> bool:
        """Stop the thread: it finishes the round that it is in, and tells the server that the device leaves.

        Args:
            timeout: seconds to wait for it.
            goodbye: whether to tell the server. Without a word it takes the device for connected for a minute, and
                does not let it in again before.

        Returns:
            Whether it has ended. It ends as soon as it can in any case.
        """
        with self._changing:
            if goodbye:
                self._goodbye.set()
            self._stopping.set()
            thread = self._thread
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _loop(self) -> Any:
        try:
            from tegu.client.federation.versions import BundlePlace  # noqa: PLC0415 # with all below, for 11 MB
            from tegu.client.participant.flower.fleet import Fleet  # noqa: PLC0415
            from tegu.client.participant.loop import Loop  # noqa: PLC0415
            from tegu.client.participant.rounds import Rounds  # noqa: PLC0415
        except ImportError as error:
            raise missing_extra(error, "participant") from error
        connection = Connection(*self._address, self._context(), _TIMEOUT_SECONDS)
        fleet, store = Fleet(connection, self._key), self._personalizer.store
        kept = None if store.path is None else Path(f"{store.path}.bundles")
        place = None
        if self._source is not None:
            place = BundlePlace(str(self._source), kept, self._public_key, self._ca)
        rounds = Rounds(self._personalizer, self._minimums, self._policy.threads, place, self._user)
        return Loop(fleet, connection, rounds, store, self._policy, self._minimums, self._report)

    def _context(self) -> ssl.SSLContext | None:
        try:
            return None if self._ca is None else ssl.create_default_context(cafile=self._ca)
        except OSError as error:  # an SSLError is one
            raise FederationError(
                f"{self._ca} is not a readable certificate ({error}): give the ca.crt of the federation"
            ) from error

    def _report(self, **changes: Any) -> None:
        self._state = replace(self._state, **changes)

    def __enter__(self) -> Participant:
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def __reduce__(self) -> NoReturn:
        raise FederationError("a Participant holds a thread, so it cannot be pickled or copied: make another one")

    def before_fork(self) -> None:
        """Nothing to wait for."""

    def after_fork_in_parent(self) -> None:
        """Nothing to do."""

    def after_fork_in_child(self) -> None:
        """A child has no such thread, and must not answer with its parent's key unasked."""
        self._changing, self._thread = threading.Lock(), None
        self._stopping, self._goodbye = threading.Event(), threading.Event()
        self._state = ParticipantState()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise FederationError(f"server is {text!r}: expected a host and a port, such as federation.example:8000")
    return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
