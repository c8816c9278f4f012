"""What all tests share: where compiled graphs are kept, and how tests are divided among processes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tegu.compile.tracing.cache import CACHE_VARIABLE

APART = ("tests/zoo/", "tests/compile/test_cohort.py")  # their tests share nothing, and take minutes together


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of a file run in one process, which makes what they share once. Federations start first.

    Federations of real processes run one after the other and wait much of the time, so that they end last. Then come
    the files with slow tests. One process alone keeps the order of the files.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None and not item.nodeid.startswith(APART):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    group = item.get_closest_marker("xdist_group")
    if group is not None and str(group.args[0]).startswith(("superlink", "ray")):
        return 0
    return 1 if item.get_closest_marker("slow") else 2


@pytest.fixture(scope="session", autouse=True)
def _graphs_in_a_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own  # a process of xdist has a folder in the run's
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(shared / "graphs"))
        yield
