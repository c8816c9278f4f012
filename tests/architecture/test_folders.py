"""Folders: imports go one way, no folder is crowded, and every folder says what it holds."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from tests.architecture.source_tree import ROOTS, imports_of, source_files

MOST_FILES = 15
CROWDED = frozenset({"learners/algorithms"})  # one paper a file, however many papers there are


def modules_imported() -> dict[str, set[str]]:
    """For every module of Tegu the modules of Tegu that it imports."""
    files = {source.module: source for source in source_files()}
    found: dict[str, set[str]] = {name: set() for name in files}
    for name, source in files.items():
        for each in imports_of(source.path.read_text("utf-8"), source.file):
            targets = {f"{each.module}.{part}" for part in each.names} & set(files) or {each.module} & set(files)
            found[name] |= targets - {name}
    return found


def folders_imported() -> dict[str, set[str]]:
    """For every folder of a package, its sibling folders that it imports; files beside the folders do not count."""
    packages = {source.module for source in source_files() if source.path.name == "__init__.py"}

    def folder(module: str) -> str:
        home = module if module in packages else module.rpartition(".")[0]
        return ".".join(home.split(".")[:3])

    found: dict[str, set[str]] = {}
    for module, targets in modules_imported().items():
        if module not in packages and len(folder(module).split(".")) == 3:
            near = {folder(target) for target in targets if folder(target).split(".")[:2] == module.split(".")[:2]}
            found.setdefault(folder(module), set()).update(name for name in near if name.count(".") == 2)
    return {name: targets - {name} for name, targets in found.items()}


def cycle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """The nodes of a circle in the graph; empty where there is none."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for target in graph.get(node, ()):
            if found := visit(target, [*path, node]):
                return found
        done.add(node)
        return []

    return next((found for node in graph if (found := visit(node, []))), [])


def test_files_import_without_circles() -> None:
    assert cycle(modules_imported()) == []


def test_folders_import_without_circles() -> None:
    assert cycle(folders_imported()) == []


def test_both_graphs_hold_what_they_are_of() -> None:
    assert "tegu.core.data.batch" in modules_imported()["tegu.core.data.tree"]
    assert "tegu.core.data" in folders_imported()["tegu.core.sampling"]
    assert {name.split(".")[1] for name in folders_imported()} >= {"bench", "client", "compile", "core", "sim"}


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": ["b"], "b": ["c"], "c": []}, []),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, ["b", "c", "b"]),
        ({"a": ["a"]}, ["a", "a"]),
        ({"a": ["b", "c"], "b": ["c"], "c": []}, []),
    ],
)
def test_a_circle_is_found(graph: dict[str, list[str]], expected: list[str]) -> None:
    assert cycle(graph) == expected


def test_no_folder_is_crowded() -> None:
    counted = Counter(source.file.rpartition("/")[0] for source in source_files() if source.path.name != "__init__.py")
    assert {name: count for name, count in counted.items() if count > MOST_FILES and name not in CROWDED} == {}


def test_every_folder_says_what_it_holds() -> None:
    files = {source.path for source in source_files()}
    silent = [
        str(folder)
        for folder in {path.parent for path in files}
        if folder / "__init__.py" not in files or not ast.get_docstring(ast.parse(read(folder / "__init__.py")))
    ]
    assert silent == []


def read(path: Path) -> str:
    return path.read_text("utf-8")


def test_source_lies_in_the_four_roots() -> None:
    assert {source.path.parts[-len(source.file.split("/")) - 2] for source in source_files()} == set(ROOTS)
