"""Threads may compile at once: one compilation runs at a time, and gives what one thread gives."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch import Tensor, nn

from tegu.compile import compile_learner
from tegu.compile.tracing.cache import CACHE_VARIABLE
from tegu.core.data.spec import Spec
from tegu.learners import Learner, reptile


class Watched(nn.Linear):
    """Counts how many threads are inside `forward`. Learners copy a module, so the counts are the class's."""

    inside = 0
    most = 0

    def forward(self, x: Tensor) -> Tensor:
        Watched.inside += 1
        Watched.most = max(Watched.most, Watched.inside)
        time.sleep(0.02)
        Watched.inside -= 1
        return super().forward(x)


def _learner(width: int) -> Learner:
    return reptile(nn.Sequential(Watched(4, width), nn.Tanh(), nn.Linear(width, 2)), Spec.regression((4,), 2), steps=1)


def test_threads_compile_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, "off")
    learners = [_learner(width) for width in (3, 5, 3, 5)]
    Watched.most = 0
    with ThreadPoolExecutor(len(learners)) as pool:
        found = list(pool.map(compile_learner, learners))
    assert Watched.most == 1
    assert found == [compile_learner(learner) for learner in learners]
