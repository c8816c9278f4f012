"""Compilations in several threads at once give what one thread gives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from torch import nn

from tegu.compile import compile_learner
from tegu.compile.tracing.cache import CACHE_VARIABLE
from tegu.core.data.spec import Spec
from tegu.learners import reptile


def _compiled(width: int) -> dict[str, bytes]:
    model = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 2))
    return compile_learner(reptile(model, Spec.regression((4,), 2), steps=1))


def test_threads_compile_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, "off")
    widths = [3, 5, 3, 5]
    with ThreadPoolExecutor(len(widths)) as pool:
        found = list(pool.map(_compiled, widths))
    assert found == [_compiled(width) for width in widths]
