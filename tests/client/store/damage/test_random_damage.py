"""Files damaged at random places: an error in words, or everything as it was; and what a repair keeps is right."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.client.graphs import linear_bundle, linear_rows

from tegu.client import Personalizer, repair_store
from tegu.core.errors import StoreError, TeguError

PAGE = 4096
ROWS = 300
BUNDLE = linear_bundle()
X, Y = linear_rows(ROWS)
IDS = [f"id{i}" for i in range(ROWS)]

OUTCOMES = {"as it was", "reported", "repaired", "nothing of a store is left"}
Damage = Callable[[bytearray, random.Random], bytes]


def _a_bit(data: bytearray, draw: random.Random) -> bytes:
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def _some_bytes(data: bytearray, draw: random.Random) -> bytes:
    start, length = draw.randrange(len(data) - 40), draw.randrange(1, 40)
    data[start : start + length] = draw.randbytes(length)
    return bytes(data)


def _filled(data: bytearray, draw: random.Random) -> bytes:
    size, byte = draw.choice([16, 512, PAGE]), draw.choice([b"\0", b"\xff"])
    start = draw.randrange(len(data) // size) * size
    data[start : start + size] = byte * size
    return bytes(data)


def _cut(data: bytearray, draw: random.Random) -> bytes:
    return bytes(data[: draw.randrange(1, len(data))])


def _pages(data: bytearray, draw: random.Random) -> tuple[slice, slice]:
    first, second = (draw.randrange(len(data) // PAGE) * PAGE for _ in range(2))
    return slice(first, first + PAGE), slice(second, second + PAGE)


def _swapped(data: bytearray, draw: random.Random) -> bytes:
    first, second = _pages(data, draw)
    data[first], data[second] = data[second], data[first]
    return bytes(data)


def _doubled(data: bytearray, draw: random.Random) -> bytes:
    first, second = _pages(data, draw)
    data[first] = data[second]
    return bytes(data)


DAMAGES: list[Damage] = [_a_bit, _some_bytes, _filled, _cut, _swapped, _doubled]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, np.ndarray]:
    """A store's file, and what it predicts. Half of the rows have ids."""
    path = tmp_path_factory.mktemp("whole") / "me.db"
    with Personalizer.open(BUNDLE, path) as p:
        for start in range(0, ROWS, 50):
            p.observe(X[start : start + 25], Y[start : start + 25])
            p.observe(X[start + 25 : start + 50], Y[start + 25 : start + 50], ids=IDS[start + 25 : start + 50])
        p.adapt()
        predicted = p.predict(X)
    return path.read_bytes(), predicted


def _seen(path: Path, predicted: np.ndarray) -> str:
    try:
        with Personalizer.open(BUNDLE, path) as p:
            np.testing.assert_array_equal(p.predict(X), predicted)
            rows = p.interactions()
            np.testing.assert_array_equal(rows.x, X)
            np.testing.assert_array_equal(rows.y, Y)
            p.adapt()
            np.testing.assert_array_equal(p.predict(X), predicted)
            assert p.count == ROWS
    except StoreError:
        return "reported"
    return "as it was"


def _repaired(path: Path) -> str:
    try:
        result = repair_store(path, BUNDLE)
    except StoreError as error:
        return str(error).partition(" in ")[0]
    with Personalizer.open(BUNDLE, path) as p:
        rows = p.interactions()
        of = [int(name.removeprefix("id")) if name in IDS else int(name.removeprefix("auto:")) - 1 for name in rows.ids]
        assert len(of) == result.kept
        np.testing.assert_array_equal(rows.x, X[of])
        np.testing.assert_array_equal(rows.y, Y[of])
        assert result.lost in (ROWS - result.kept, None)
        assert np.isfinite(p.predict(X)).all()
        p.observe(X[:1], Y[:1])
        p.adapt()
        assert np.isfinite(p.predict(X)).all()
    return "repaired"


def _damage_often(times: int, seed: int, whole: tuple[bytes, np.ndarray], folder: Path) -> Counter[str]:
    content, predicted = whole
    found: Counter[str] = Counter()
    for turn in range(times):
        draw = random.Random(f"{seed} {turn}")
        path = folder / f"{turn}.db"
        path.write_bytes(DAMAGES[turn % len(DAMAGES)](bytearray(content), draw))
        try:
            seen = _seen(path, predicted)
            found.update([seen, _repaired(path)] if seen == "reported" else [seen])
        except Exception as error:
            error.add_note(f"damage {turn} of seed {seed}: {DAMAGES[turn % len(DAMAGES)].__name__}")
            raise
        for left in folder.glob(f"{turn}.db*"):
            left.unlink()
    return found


def test_never_other_rows_silently_and_never_a_foreign_error(whole: tuple[bytes, np.ndarray], tmp_path: Path) -> None:
    found = _damage_often(42, 0, whole, tmp_path)
    assert found["reported"] > 20
    assert found["repaired"] > 12
    assert set(found) <= OUTCOMES


@pytest.mark.slow
def test_the_same_at_many_places(whole: tuple[bytes, np.ndarray], tmp_path: Path) -> None:
    found = _damage_often(600, 1, whole, tmp_path)
    assert found["reported"] > 300
    assert found["repaired"] > 200
    assert set(found) <= OUTCOMES


def test_every_error_is_one_of_tegu(whole: tuple[bytes, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "me.db"
    for turn in range(12):  # writing to a damaged store, too
        path.write_bytes(DAMAGES[turn % len(DAMAGES)](bytearray(whole[0]), random.Random(turn)))
        try:
            with Personalizer.open(BUNDLE, path) as p:
                p.observe(X[:2], Y[:2], ids=IDS[30:32])
                p.remove(IDS[40:50])
                p.forget()
        except TeguError:
            pass
        for left in tmp_path.glob("me.db*"):
            left.unlink()
