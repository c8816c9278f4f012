from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def with_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes can import `small`; a package `tests` of somebody else may come before ours there."""
    known = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *([known] if known else [])]))
