"""What all tests share: compiled graphs are kept in a temporary folder, not in the user's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tegu.compile.tracing.cache import CACHE_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def _graphs_in_a_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("graphs")))
        yield
