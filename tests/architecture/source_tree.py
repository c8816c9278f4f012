"""Tegu's source files and what they import, read from their text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["REPOSITORY", "ROOTS", "Import", "SourceFile", "imports_of", "source_files"]

REPOSITORY = Path(__file__).resolve().parents[2]
ROOTS = ("shared", "client_sdk", "server", "simulations")
_DYNAMIC = frozenset({"require", "import_module", "__import__"})


class SourceFile(NamedTuple):
    """A source file and its path below `tegu/`, such as `core/data/tree.py`."""

    path: Path
    file: str

    @property
    def module(self) -> str:
        """Dotted name of the module."""
        return f"tegu.{self.file.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__")


class Import(NamedTuple):
    """An import: its line, the module it names, and the names taken from it."""

    line: int
    module: str
    names: tuple[str, ...] = ()


def source_files(repository: Path = REPOSITORY) -> list[SourceFile]:
    """All source files of the four roots."""
    bases = [repository / root / "tegu" for root in ROOTS]
    return [
        SourceFile(path, path.relative_to(base).as_posix()) for base in bases for path in sorted(base.rglob("*.py"))
    ]


def imports_of(source: str, file: str) -> Iterator[Import]:
    """Every import of a source text.

    Counts imports under TYPE_CHECKING and in functions, relative imports, and packages of Tegu or `tests` that are
    imported by a literal name (`require("tegu.server", ...)`). Another optional dependency by name does not count.

    Args:
        source: of the file.
        file: its path below `tegu/`, which relative imports start from.
    """
    package = ["tegu", *file.split("/")[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            full = ".".join([*base, *([node.module] if node.module else [])])
            names = tuple(alias.name for alias in node.names)
            if full == "tegu":  # `from tegu import server` imports tegu.server
                yield from (Import(node.lineno, f"tegu.{name}") for name in names)
            else:
                yield Import(node.lineno, full, names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            name = str(node.args[0].value)
            if called in _DYNAMIC and name.split(".", maxsplit=1)[0] in ("tegu", "tests"):
                yield Import(node.lineno, name)
