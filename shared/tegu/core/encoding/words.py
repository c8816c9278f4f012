"""Levels, labels and item ids in the user's own words: their order, their codes, and the nearest known one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.errors import DataError

__all__ = ["Word", "codes_of", "known_words", "lookup", "shown", "unknown_word", "word", "words_array"]

Word: TypeAlias = str | int | float | bool
_ABSENT = -1


def word(value: object) -> Word:
    """A raw cell as a word: text, numbers and booleans as they are, and whole floats as integers; others as text.

    Raises:
        TypeError: the cell is a collection or bytes, whose text means nothing to people.
    """
    if (isinstance(value, Collection) and not isinstance(value, str)) or isinstance(value, np.ndarray):
        raise TypeError(f"it is a {type(value).__name__}")
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and plain.is_integer():
        return int(plain)
    if isinstance(plain, str):
        return str(plain)
    return plain if isinstance(plain, bool | int | float) else str(plain)


def known_words(values: Iterable[object]) -> tuple[Word, ...]:
    """The distinct words in a fixed order: numbers ascending, then text by code point.

    Booleans stay booleans unless there are numbers too: those equal 0 and 1.
    """
    found = set(map(word, values))
    if any(not isinstance(each, str | bool) for each in found):
        found = {int(each) if isinstance(each, bool) else each for each in found}
    return tuple(sorted(found, key=_rank))


def _rank(value: Word) -> tuple[bool, float, str]:
    return (True, 0, value) if isinstance(value, str) else (False, value, "")


def lookup(words: Sequence[Word], titles: Sequence[str] = ()) -> Mapping[object, int]:
    """The position of every word. Titles that occur once are words too, unless an item has such an id.

    Text matches a number or a boolean that is written the same way, since text files hold text alone.
    """
    found: dict[object, int] = {known: code for code, known in enumerate(words)}
    written = {str(known): code for code, known in enumerate(words) if not isinstance(known, str)}
    counts = Counter(titles)
    for code, title in enumerate(titles):
        if counts[title] == 1:
            found.setdefault(title, code)
    for text, code in written.items():
        found.setdefault(text, code)
    return found


def codes_of(known: Mapping[object, int], values: Iterable[object]) -> Array:
    """int64 positions by `known`, the result of `lookup`; -1 for a value that is not among them."""
    return np.fromiter((known.get(word(value), _ABSENT) for value in values), np.int64)


def words_array(words: Sequence[Word]) -> Array:
    """The words as an array of one dtype: booleans, integers, floats or text; objects where they are mixed."""
    kinds = {type(known) for known in words}
    if kinds == {int}:
        return _integers([int(known) for known in words])
    return np.asarray(words, None if kinds in ({bool}, {str}) or kinds <= {int, float} else object)


def _integers(words: Sequence[int]) -> Array:
    if -(2**63) <= min(words) <= max(words) < 2**63:
        return np.asarray(words, np.int64)
    return np.asarray(words, np.uint64 if 0 <= min(words) <= max(words) < 2**64 else object)


def unknown_word(kind: str, value: object, words: Sequence[object]) -> DataError:
    """The error for a word that the training data did not hold; it names the nearest known ones."""
    import difflib  # noqa: PLC0415 # slow to import, and rarely needed

    near = list(dict.fromkeys(difflib.get_close_matches(str(value), [str(known) for known in words], n=3, cutoff=0.5)))
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return DataError(f"{value!r} is no known {kind}: {hint}expected one of {shown(words)}")


def shown(words: Sequence[object], most: int = 6) -> str:
    """The first words, for a message."""
    rest = len(words) - most
    return ", ".join(map(str, words[:most])) + (f" and {rest} more" if rest > 0 else "")
