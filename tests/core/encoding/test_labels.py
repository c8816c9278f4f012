"""Labels and item ids as codes, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.core.samples import refused

from tegu.core.encoding.encoding import Encoding
from tegu.core.encoding.labels import encode_items, encode_labels
from tegu.core.encoding.words import words_array
from tegu.core.errors import DataError


@pytest.mark.parametrize(
    ("raw", "labels", "codes"),
    [
        (["spam", "ham", "spam"], ("ham", "spam"), [1, 0, 1]),
        (pd.Series(["spam", "ham"], dtype="category"), ("ham", "spam"), [1, 0]),
        ([1, -1, 1], (-1, 1), [1, 0, 1]),
        (np.asarray([5, 1, 3], np.uint8), (1, 3, 5), [2, 0, 1]),
        ([1.0, 2.0, 1.0], (1, 2), [0, 1, 0]),
        ([True, False], (False, True), [1, 0]),
        (np.asarray([True, True]), (True,), [0, 0]),
        (np.asarray([2**64 - 1, 7], np.uint64), (7, 2**64 - 1), [1, 0]),
        ([0, 5], (0, 5), [0, 1]),
        (["b", 2, 10], (2, 10, "b"), [2, 0, 1]),
        (np.asarray([0, 1, 2]), (), [0, 1, 2]),
        (np.asarray([0, 3, 1], np.int8), (), [0, 3, 1]),
    ],
)
def test_labels_and_items_become_codes_in_a_fixed_order(raw: Any, labels: tuple[Any, ...], codes: list[int]) -> None:
    for encode in (encode_labels, encode_items):
        found, words = encode(raw)
        assert found.dtype == np.int64
        assert (found.tolist(), words) == (codes, labels)
        assert list(map(type, words)) == list(map(type, labels))
    backwards = encode_labels(list(raw)[::-1])
    assert (backwards[0].tolist(), backwards[1]) == (codes[::-1], labels)


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        (["a", None], ("no label in row 1", "drop that row")),
        ([1.0, float("nan")], ("no label in row 1",)),
        (pd.Series([1, None], dtype="Int64"), ("no label in row 1",)),
        ([0.5, 1], ("y holds 0.5", "text, booleans or whole numbers")),
        ([[1], [2, 3]], ("column y holds [1] in row 0", "expected a word", "a list")),
    ],
)
def test_what_is_no_label_is_refused(raw: Any, parts: tuple[str, ...]) -> None:
    with refused(DataError, *parts):
        encode_labels(raw)


def test_labels_are_found_as_they_were_given() -> None:
    encoding = Encoding(labels=("ham", "spam"))
    assert encoding.classes(["spam", "ham"]).tolist() == [1, 0]
    with refused(DataError, "'spma' is no known label", "did you mean spam", "expected one of ham, spam"):
        encoding.classes(["spam", "spma"])
    assert Encoding(labels=(-1, 1)).classes([1, -1.0, "1", np.int8(-1)]).tolist() == [1, 0, 1, 0]
    assert Encoding(labels=(False, True)).classes([True, 0, "False"]).tolist() == [1, 0, 0]


def test_items_are_found_by_id_then_by_title() -> None:
    """A title that two items have names neither; text that is a title is not read as a number."""
    encoding = Encoding(items=(10, 1984, 30, 40), titles=("Inception", "Brazil", "1984", "Brazil"))
    assert encoding.positions(["Inception", "1984", 1984, "10"]).tolist() == [0, 2, 1, 0]
    with refused(DataError, "'Incepton' is no known item", "did you mean Inception"):
        encoding.positions(["Incepton"])
    with refused(DataError, "'Brazil' is no known item"):
        encoding.positions(["Brazil"])
    with refused(DataError, "11 is no known item"):
        encoding.positions([11])
    assert Encoding(items=("a", "b"), titles=("b", "x")).positions(["b"]).tolist() == [1], "an id before a title"
    bare = Encoding(titles=("Inception", "1984"))
    assert bare.positions(["1984", 0, "Inception"]).tolist() == [1, 0, 0]


def test_words_come_back_with_their_dtype() -> None:
    assert words_array((7, 2**64 - 1)).tolist() == [7, 2**64 - 1]
    assert words_array((-1, 1)).dtype == np.int64
    assert words_array((False, True)).dtype == bool
    assert words_array(("a", "bc")).dtype.kind == "U"
    assert words_array((2, "b")).dtype == object
    assert words_array((0, 0.5)).tolist() == [0, 0.5]
