"""An engine in a file gives the sums of the one that was written, and is refused for another bundle."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.core.samples import refused
from tests.federation import sine_users, tiny

from tegu.core.data.tree import max_difference, norm
from tegu.core.errors import BundleError, DataError
from tegu.core.sampling.episode import EpisodeRule
from tegu.sim.data.cohort import draw_cohort
from tegu.sim.engine import Engine, make_engine
from tegu.sim.engine.stored import can_be_stored, read_engine, write_engine

PEOPLE = tiny.population(11)
COHORT = draw_cohort(PEOPLE, np.arange(11), EpisodeRule(1, 6, 4), 7, 3)


@pytest.mark.parametrize("limit", [0.4, math.inf])
@pytest.mark.parametrize("kind", ["onnx", "onnx-loop"])
def test_a_stored_engine_gives_the_same_sums(kind: str, limit: float, tmp_path: Path) -> None:
    engine = tiny.batched_engine() if kind == "onnx" else tiny.looped_engine()
    write_engine(tmp_path / "engine.npz", engine, tiny.bundle())
    found = read_engine(tmp_path / "engine.npz", tiny.bundle(), 2)
    assert (found.backend.name, found.workers, found.memory) == (kind, 2, engine.memory)
    assert found.execution.merges_query == engine.execution.merges_query
    assert found.user_bytes(9) == pytest.approx(engine.user_bytes(9))
    expected = engine.sum_updates(tiny.bundle().meta, COHORT, limit)
    assert norm(expected) > 0.1
    assert max_difference(found.sum_updates(tiny.bundle().meta, COHORT, limit), expected) < 1e-6


def test_a_sum_at_once_is_stored(tmp_path: Path) -> None:
    engine = sine_users.engine()
    write_engine(tmp_path / "engine.npz", engine, sine_users.bundle())
    found = read_engine(tmp_path / "engine.npz", sine_users.bundle(), 1)
    assert (found.backend.summed_update(2) is None) == (engine.backend.summed_update(2) is None)
    assert found.summed_update_bytes(5) == pytest.approx(engine.summed_update_bytes(5))


def test_an_engine_in_torch_is_refused(tmp_path: Path) -> None:
    engine = make_engine(tiny.learner(), tiny.bundle().graphs, "torch-loop")
    assert not can_be_stored(engine)
    with refused(DataError, "the engine is torch-loop", "kind='onnx'"):
        write_engine(tmp_path / "engine.npz", engine, tiny.bundle())


def test_another_bundle_is_refused_and_a_trained_one_taken(tmp_path: Path) -> None:
    write_engine(tmp_path / "engine.npz", tiny.looped_engine(), tiny.bundle())
    trained = replace(tiny.bundle(), meta={name: value + 1 for name, value in tiny.bundle().meta.items()})
    assert isinstance(read_engine(tmp_path / "engine.npz", trained, 1), Engine)
    with refused(BundleError, "written for another bundle", "write_engine"):
        read_engine(tmp_path / "engine.npz", sine_users.bundle(), 1)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_file_that_holds_no_engine_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "engine.npz").write_bytes(content)
    with refused(BundleError, "holds no engine for this bundle", "write_engine"):
        read_engine(tmp_path / "engine.npz", tiny.bundle(), 1)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with refused(BundleError, "holds no engine for this bundle", "write_engine"):
        read_engine(tmp_path / "engine.npz", tiny.bundle(), 1)
