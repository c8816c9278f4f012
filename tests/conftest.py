"""What all tests share: compiled graphs are kept in one temporary folder for all processes, not in the user's own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tegu.compile.tracing.cache import CACHE_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def _graphs_in_a_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own  # a process of xdist has a folder in the run's
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(shared / "graphs"))
        yield
