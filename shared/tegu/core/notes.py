"""Notes to the user: what the library guessed, converted or resumed, in one sentence each.

A note is a record of the logger `tegu` at level INFO. `show_notes` prints them to stderr, unless the program has
configured logging itself. `logging.getLogger("tegu").setLevel("WARNING")` silences them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

__all__ = ["note", "notes_also_to", "show_notes", "visible"]

_LOG = logging.getLogger("tegu")


def note(text: str) -> None:
    """Tell the user something that is no error, in one sentence."""
    _LOG.info("%s", visible(text))


def visible(text: str) -> str:
    """A text for a terminal or a log: what is not printable is escaped, except for tabs and line breaks.

    Names and words come from files of others, and escape sequences in them could rewrite what the terminal shows.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def show_notes() -> None:
    """Print notes to stderr from now on. Nothing changes if the root logger or `tegu` has a handler or a level."""
    if not logging.getLogger().handlers and not _LOG.handlers and _LOG.level == logging.NOTSET:
        _LOG.setLevel(logging.INFO)
        _LOG.addHandler(_CurrentStderr())


@contextmanager
def notes_also_to(receive: Callable[[str], None]) -> Iterator[None]:
    """Also give the notes of this block to `receive`, whether or not they are shown."""
    level, handler = _LOG.level, _Receiver(receive)
    if not _LOG.isEnabledFor(logging.INFO):
        _LOG.setLevel(logging.INFO)
    _LOG.addHandler(handler)
    try:
        yield
    finally:
        _LOG.removeHandler(handler)
        _LOG.setLevel(level)


class _Receiver(logging.Handler):
    def __init__(self, receive: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._receive = receive

    def emit(self, record: logging.LogRecord) -> None:
        """Give a note on; warnings of other modules are none."""
        if record.name == _LOG.name and record.levelno == logging.INFO:
            self._receive(record.getMessage())


class _CurrentStderr(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at the time of the record, so that redirection works."""

    @property
    def stream(self) -> TextIO:
        """The standard error."""
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        """Ignore a given stream."""
