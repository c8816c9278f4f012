from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def importable_numpy_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets worker processes import `numpy_peer`. They may find another package's `tests` before ours."""
    known = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *([known] if known else [])]))
