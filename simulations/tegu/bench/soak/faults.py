"""What is done to a federation, at random moments."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress

import psutil

from tegu.bench.soak.devices import App
from tegu.bench.soak.server import Server

__all__ = ["GENTLE", "HARSH", "OF_SERVER", "inject"]

OF_SERVER = ("SuperLink killed", "ServerApp killed", "tegu serve killed")
"""Faults of the server's processes."""
GENTLE = ("participant stopped", "app ended", "agreement withdrawn", *OF_SERVER)
"""Faults from which a federation recovers within seconds."""
HARSH = (*GENTLE, "participant killed")
"""Flower lets a device that did not say goodbye in again after a minute."""


def inject(kind: str, chance: random.Random, server: Server, apps: Sequence[App]) -> bool:
    """Do it.

    Args:
        kind: of `HARSH`.
        chance: chooses the device.
        server: of the federation.
        apps: its devices.

    Returns:
        Whether there was something to do it to.
    """
    if kind == "tegu serve killed":
        server.kill()
        server.start()
        return True
    if kind in ("SuperLink killed", "ServerApp killed"):
        process = server.find(kind.removesuffix(" killed"))
        with suppress(psutil.Error):
            if process is not None:
                process.kill()
                return True
        return False
    app = chance.choice(apps)
    if kind == "app ended":
        app.restart_app()
    elif kind == "agreement withdrawn":
        app.withdraw_for_a_while()
    else:
        app.restart_participant(goodbye=kind == "participant stopped")
    return True
