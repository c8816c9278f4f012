"""A population on disk has the same users as in memory, and reads rows only when a round needs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from tests.core.people import Rows
from tests.core.samples import refused
from tests.federation.tiny import SPEC, batched_engine, bundle, population
from tests.sim.row_units import population_of, users_with_row_units

from tegu.core.data.tree import digest
from tegu.core.data.users import LocalUser
from tegu.core.errors import DataError, FileError, PlatformError, PopulationError
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.training.plan import CohortPlan, TrainingPlan
from tegu.sim.data import population_on_disk as population_files
from tegu.sim.data.cohort import draw_cohort, gather
from tegu.sim.data.population import Population
from tegu.sim.data.population_on_disk import read_population, write_population
from tegu.sim.federation.grid import partitions
from tegu.sim.training.in_process import train_in_process


def written(folder: Path, users: int = 11) -> None:
    people = population(users)
    write_population(folder, SPEC, (people.local(user) for user in range(len(people))))


def test_all_users_are_read_as_written(tmp_path: Path) -> None:
    written(tmp_path / "people")
    before, after = population(11), read_population(tmp_path / "people")
    assert after.spec == before.spec
    assert after.users.tolist() == before.users.tolist()
    assert after.counts.tolist() == before.counts.tolist()
    for user in range(len(before)):
        for found, expected in zip(after.rows(user), before.rows(user), strict=True):
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype
    x, y, begins = after.fetch(np.asarray([7, 2]))
    for user, begin in zip((7, 2), begins, strict=True):
        rows = slice(begin, begin + before.counts[user])
        assert x[rows].tolist() == before.rows(user)[0].tolist()
        assert y[rows].tolist() == before.rows(user)[1].tolist()
    assert [len(part) for part in after.split(0)] == [len(part) for part in before.split(0)]


@given(people=users_with_row_units())
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_row_units_are_stored(tmp_path: Path, people: list[Rows]) -> None:
    """Files of an earlier population in the folder are overwritten."""
    before = population_of(people)
    after = write_population(tmp_path, before.spec, (before.local(user) for user in range(len(before))))
    assert (after.max_support.tolist(), after.has_units.tolist()) == (
        before.max_support.tolist(),
        before.has_units.tolist(),
    )
    rule = EpisodeRule(1, 4, 5)
    first, second = (draw_cohort(population, np.arange(len(people)), rule, 1, 2) for population in (before, after))
    assert first.users.tolist() == second.users.tolist()
    if len(first.users):
        for one, other in zip(gather(first, first.max_rows), gather(second, second.max_rows), strict=True):
            assert [part.tobytes() for part in one] == [part.tobytes() for part in other]


def test_row_units_are_found_in_batches_of_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Population.from_arrays([1, 1, 2, 1, 2, 3, 5, 5], np.zeros(8), [0, 0, 0, 1, 1, 2, 3, 3])
    monkeypatch.setattr(population_files, "_USERS", 2)
    after = write_population(tmp_path, before.spec, (before.local(user) for user in range(4)))
    assert (after.max_support.tolist(), after.has_units.tolist()) == ([2, 1, 0, 0], [True, False, False, True])


def test_a_group_that_only_some_users_have_is_refused(tmp_path: Path) -> None:
    x, y = np.zeros((2, 4), np.float32), np.zeros(2, int)
    users = [LocalUser("a", x, y), LocalUser("b", x, y, np.arange(2))]
    with refused(DataError, "user b has rows, group", "before have rows", "for all users or for none"):
        write_population(tmp_path, SPEC, iter(users))
    with refused(DataError, "order of c has shape (3,)", "(2,)"):
        write_population(tmp_path, SPEC, iter([LocalUser("c", x, y, None, np.arange(3))]))


def test_training_gives_the_same_bits(tmp_path: Path) -> None:
    written(tmp_path)
    plan = TrainingPlan(rounds=3, seed=2, cohort=CohortPlan(5))
    both = population(11), read_population(tmp_path)
    learned = [train_in_process(batched_engine(), people, bundle().meta, plan).meta for people in both]
    assert digest(learned[0]) == digest(learned[1])


def test_rows_are_checked_before_they_are_written(tmp_path: Path) -> None:
    def users(x: np.ndarray, y: np.ndarray) -> Iterator[LocalUser]:
        yield LocalUser("a", x, y)

    good = np.zeros((2, 4), np.float32)
    with refused(DataError, "id 3", "from 0 to 2"):
        write_population(tmp_path, SPEC, users(good, np.asarray([0, 3])))
    with refused(DataError, "NaN", "row 1"):
        write_population(tmp_path, SPEC, users(np.asarray([[0] * 4, [np.nan] * 4]), np.zeros(2, int)))
    with refused(PopulationError, "user a has no rows"):
        write_population(tmp_path, SPEC, users(good[:0], np.zeros(0, int)))
    with refused(PopulationError, "no users"):
        write_population(tmp_path, SPEC, iter(()))
    (tmp_path / "file").touch()
    with refused(FileError, "cannot write", "choose a writable folder"):
        write_population(tmp_path / "file", SPEC, users(good, np.zeros(2, int)))


def test_a_system_without_pread_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows is such a system."""
    written(tmp_path / "made")
    monkeypatch.delattr(os, "pread")
    with refused(PlatformError, "a population on disk needs os.pread", "run it on Linux"):
        read_population(tmp_path / "made")
    with refused(PlatformError, "os.pread"):
        written(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    with refused(DataError, "no readable population", "write_population"):
        read_population(tmp_path)
    for name, damage in (
        ("rows.bin", lambda data: data[:-4]),
        ("rows.bin", lambda data: data + b"more"),
        ("spec.json", lambda data: data[:-5]),
        ("spec.json", lambda data: data.replace(b"classification", b"clustering")),
        ("counts.npy", lambda data: data[:40]),
        ("users.npy", lambda data: b""),
        ("most.npy", lambda data: data[:-8]),
        ("tied.npy", lambda data: b""),
    ):
        written(tmp_path)
        file = tmp_path / name
        file.write_bytes(damage(file.read_bytes()))
        with refused(DataError, str(tmp_path), "write it with write_population"):
            read_population(tmp_path)


BIG = """
import sys
from pathlib import Path
import numpy as np
import psutil
from tegu.sim.data.population_on_disk import read_population
people = read_population(Path(sys.argv[1]))
before = psutil.Process().memory_info().rss
for user in range(len(people)):
    people.fetch(np.asarray([user]))[0].sum() if sys.argv[2] == "fetch" else people.rows(user)[0].sum()
print(psutil.Process().memory_info().rss - before)
"""


@pytest.mark.parametrize("how", ["fetch", "rows"])
def test_fetched_rows_do_not_stay_in_memory(tmp_path: Path, how: str) -> None:
    """All of 64 MiB of rows are read. Reading through the mapping shows that the measurement would notice them."""
    spec = SPEC.classification((1024,), 3)
    row = np.ones((16, 1024), np.float32)
    write_population(tmp_path, spec, (LocalUser(str(user), row, np.zeros(16, int)) for user in range(1000)))
    grown = int(subprocess.check_output([sys.executable, "-c", BIG, str(tmp_path), how]))
    assert (grown < 24 << 20) == (how == "fetch"), f"{grown} bytes"


def test_shards_hold_what_nodes_are_dealt(tmp_path: Path) -> None:
    people = population(11)
    shards = write_population(tmp_path, SPEC, (people.local(user) for user in range(11)), shards=3)
    assert [len(shard) for shard in shards] == [4, 4, 3]
    for node, own in enumerate(partitions(people, 3)):
        expected, found = people.subset(own), read_population(tmp_path / str(node))
        assert found.users.tolist() == expected.users.tolist() == shards[node].users.tolist()
        for one, other in zip(found.all_rows(), expected.all_rows(), strict=True):
            np.testing.assert_array_equal(one, other)
        assert found.max_support.tolist() == expected.max_support.tolist()


def test_shards_without_users_are_refused(tmp_path: Path) -> None:
    people = population(2)
    with refused(PopulationError, "there are 2 users", "at least 3"):
        write_population(tmp_path, SPEC, (people.local(user) for user in range(2)), shards=3)
    with refused(DataError, "shards is 0", "at least 1"):
        write_population(tmp_path, SPEC, [people.local(0)], shards=0)
