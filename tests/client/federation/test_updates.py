"""What a node reads its users from."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.samples import refused
from tests.federation.tiny import SPEC

from tegu.core.data.users import LocalUser, read_users, write_users
from tegu.core.errors import DataError

# A final NUL is lost in numpy's strings of fixed length.
names = st.text(min_size=1, max_size=6).filter(lambda name: not name.endswith("\0"))
GOOD: dict[str, Any] = {"x": np.zeros((3, 4), np.float32), "y": np.array([0, 2, 1]), "user": np.array(["a", "b", "a"])}


def user(name: str, rows: int, seed: int = 0) -> LocalUser:
    rng = np.random.default_rng(seed)
    return LocalUser(name, rng.normal(size=(rows, 4)).astype(np.float32), rng.integers(0, 3, rows))


@given(st.dictionaries(names, st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 99))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_users_are_read_as_they_were_written(tmp_path: Path, sizes: dict[str, int], seed: int) -> None:
    written = {name: user(name, rows, seed + i) for i, (name, rows) in enumerate(sizes.items())}
    write_users(tmp_path / "users.npz", list(written.values()))
    found = read_users(tmp_path / "users.npz", SPEC)
    assert [each.user for each in found] == sorted(written)
    for each in found:
        np.testing.assert_array_equal(each.x, written[each.user].x)
        np.testing.assert_array_equal(each.y, written[each.user].y)
        assert each.x.dtype == np.float32


@pytest.mark.parametrize("columns", [(), ("group",), ("order",), ("group", "order")])
def test_groups_and_times_are_read_as_they_were_written(tmp_path: Path, columns: tuple[str, ...]) -> None:
    """Equal entries are equal again and later ones are later, whatever they were."""
    entries = {"group": np.asarray(["mo", "tu", "mo"]), "order": np.asarray([0.5, -1.0, 2.5])}
    given = {name: entries[name] for name in columns}
    write_users(tmp_path / "users.npz", [user("a", 3)._replace(**given), user("b", 3)._replace(**given)])
    for found in read_users(tmp_path / "users.npz", SPEC):
        assert (found.group is not None, found.order is not None) == ("group" in columns, "order" in columns)
        assert found.group is None or found.group.tolist() == [0, 1, 0]
        assert found.order is None or found.order.tolist() == [1, 0, 2]


def test_a_group_of_some_users_alone_is_not_written(tmp_path: Path) -> None:
    with refused(DataError, "1 of 2 users have a group", "all of them or none"):
        write_users(tmp_path / "users.npz", [user("a", 3), user("b", 2)._replace(group=np.arange(2))])


def test_rows_of_several_users_may_be_mixed(tmp_path: Path) -> None:
    path = tmp_path / "mixed.npz"
    np.savez(path, **{**GOOD, "x": np.arange(12).reshape(3, 4)})
    first, second = read_users(path, SPEC)
    assert (first.user, first.y.tolist(), first.x[:, 0].tolist()) == ("a", [0, 1], [0, 8])
    assert (second.user, second.y.tolist(), second.x[:, 0].tolist()) == ("b", [2], [4])


def cut(path: Path) -> None:
    np.savez(path, **GOOD)
    path.write_bytes(path.read_bytes()[:-30])


def damaged(path: Path) -> None:
    np.savez(path, **GOOD)
    path.write_bytes(path.read_bytes().replace(b"NUMPY", b"numpy"))


def one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, GOOD["x"])


def no_arrays(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in GOOD:
            archive.writestr(name, "words")


def pickled(path: Path) -> None:
    np.savez(path, **{**GOOD, "user": np.array(["a", "b", None], object)})


BAD: dict[str, Callable[[Path], Any]] = {
    "absent": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "empty": lambda path: path.touch(),
    "words": lambda path: path.write_text("x,y,user\n1,2,3\n"),
    "cut off": cut,
    "damaged": damaged,
    "one array": one_array,
    "an archive of words": no_arrays,
    "pickled": pickled,
    "without y": lambda path: np.savez(path, x=GOOD["x"], user=GOOD["user"]),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "users.npz"
    BAD[kind](path)
    with refused(DataError, f"cannot read {path} (", "expected a .npz with x, y and user"):
        read_users(path, SPEC)


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        ({"user": np.array(["a", "b"])}, ["3 rows of x and 2 of user", "users.npz"]),
        ({"x": np.zeros((3, 5), np.float32)}, ["5", "4"]),
        ({"y": np.array([0, 3, 1])}, ["3"]),
        ({"y": np.array([0, 1])}, ["2"]),
        ({"group": np.arange(2)}, ["users.npz: group has shape (2,)", "(3,)"]),
        ({"order": np.array([0, np.nan, 1])}, ["users.npz: order is NaN"]),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, changed: dict[str, Any], parts: list[str]) -> None:
    path = tmp_path / "users.npz"
    np.savez(path, **{**GOOD, **changed})
    with refused(DataError, *parts):
        read_users(path, SPEC)
