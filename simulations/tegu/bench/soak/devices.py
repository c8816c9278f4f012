"""An app on a device: a store, interactions that never stop, and a participant."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from tegu.client import Minimums, Participant, ParticipantState, Personalizer, Policy
from tegu.core.data.batch import Array
from tegu.core.errors import RuntimeFailure

__all__ = ["App"]

_ROWS = 12  # from the beginning
_LEAVES_SECONDS = 120.0  # a participant that cannot reach the server waits longer and longer


class App:
    """An app whose user has agreed. What the store has acknowledged is remembered, and must be there at the end.

    Args:
        number: of the device.
        folder: with the bundle, the keys and the stores.
        server: its address.
        policy: of the participant.
        refuses: whether the device demands so much that it refuses every round.
    """

    def __init__(self, number: int, folder: Path, server: str, policy: Policy, *, refuses: bool) -> None:
        self._folder, self._number, self._server, self._refuses = folder, number, server, refuses
        self._policy = policy
        self._random = np.random.default_rng(number)
        self._acknowledged: set[str] = set()
        self._open()
        self._personalizer.opt_in()
        self.observe(_ROWS)
        self.participant.start()

    @property
    def state(self) -> ParticipantState:
        """What the participant does now."""
        return self.participant.state

    def observe(self, rows: int) -> None:
        """The user does something."""
        x = self._random.normal(size=(rows, 4)).astype(np.float32)
        names = [f"{len(self._acknowledged) + place}" for place in range(rows)]
        self._personalizer.observe(x, _targets(x, self._number), ids=names)
        self._acknowledged.update(names)

    def restart_participant(self, *, goodbye: bool) -> None:
        """Stop the participant, in the middle of whatever it does, and start it again."""
        self.participant.stop(goodbye=goodbye)
        self.participant.start()

    def restart_app(self) -> None:
        """Close the store under the participant, as an app does that is ended, and start the app again."""
        self._personalizer.close()
        self.participant.stop()
        self._open()
        self.participant.start()

    def withdraw_for_a_while(self) -> None:
        """The user withdraws the agreement, and agrees again when the participant has left.

        Raises:
            RuntimeFailure: it takes part in spite of that.
        """
        self._personalizer.opt_out()
        deadline = time.monotonic() + _LEAVES_SECONDS
        while self.state.why != "not-opted-in":
            if time.monotonic() > deadline:
                raise RuntimeFailure(f"a participant goes on after its user has withdrawn: {self.participant}")
            time.sleep(0.1)
        self._personalizer.opt_in()

    def lost(self) -> int:
        """Number of acknowledged interactions that are not in the store."""
        return len(self._acknowledged - set(map(str, self._personalizer.interactions().ids)))

    def close(self) -> None:
        """End the app."""
        self.participant.stop()
        self._personalizer.close()

    def _open(self) -> None:
        store = self._folder / f"user-{self._number}.db"
        self._personalizer = Personalizer.open(self._folder / "start.tegu", store)
        minimums = Minimums(largest_clip=1e-6) if self._refuses else Minimums()
        keys = self._folder / "keys"
        self.participant = Participant(
            self._personalizer,
            self._server,
            ca=keys / "ca.crt",
            key=keys / f"phone-{self._number}",
            policy=self._policy,
            minimums=minimums,
        )


def _targets(x: Array, number: int) -> Array:
    slopes = np.random.default_rng(1000 + number).normal(1.0, 0.3, (4, 1))
    return (x @ slopes).astype(np.float32)
