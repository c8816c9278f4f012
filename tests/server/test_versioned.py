"""Every message of a run says which bundle it is for, on any grid, and the file for it is published."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message
from tests.client.graphs import linear_bundle
from tests.server.test_app import config, engine, population

from tegu.core.bundle.file import read_bundle
from tegu.core.bundle.version import version_of
from tegu.server.app import train
from tegu.server.rounds.patient_grid import PatientGrid
from tegu.server.versioned import Versioned
from tegu.sim.federation.grid import InProcessGrid, answer_with, flower_identity
from tegu.wire import Version, read_version


def test_a_run_says_which_bundle_it_is_for(tmp_path: Path) -> None:
    answer = answer_with(engine(), population(), 5)
    versions: set[Version | None] = set()

    def seen(messages: Sequence[Message]) -> Any:
        versions.update(read_version(message.content) for message in messages)
        return answer(messages)

    with flower_identity():
        train(InProcessGrid(5, seen), config(tmp_path))
    start = (tmp_path / "start.tegu").read_bytes()
    (version,) = versions
    assert version == Version(version_of(linear_bundle()), hashlib.sha256(start).hexdigest())
    assert (tmp_path / "out" / "bundles" / f"{version.file}.tegu").read_bytes() == start
    assert version_of(read_bundle(tmp_path / "out" / "init.tegu")) == version.digest, "the result trains on"


def test_rounds_still_end_by_quorum_and_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They do on a `PatientGrid` alone, so that nothing may hide it."""
    started: list[Any] = []

    def stop(grid: Any, *rest: Any) -> None:
        started.append(grid)
        raise KeyboardInterrupt

    monkeypatch.setattr("tegu.server.app._train_and_calibrate", stop)
    with pytest.raises(KeyboardInterrupt):
        train(PatientGrid(InProcessGrid(5, list)), config(tmp_path))
    assert isinstance(started[0], PatientGrid)
    assert isinstance(started[0]._grid, Versioned)
