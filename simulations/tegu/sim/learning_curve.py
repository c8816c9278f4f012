"""How the initialisation gets better while it is trained, on calibration users."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from tegu.core.manifest import Knobs
from tegu.core.metrics import Metric
from tegu.core.tree import Tree
from tegu.core.trials import Trials
from tegu.sim.engine import Engine
from tegu.sim.evaluate import adapted, score
from tegu.sim.train import Progress

__all__ = ["LearningCurve", "LearningPoint", "OnPoint"]

POINTS = 20


class LearningPoint(NamedTuple):
    """Calibration users' mean metric after so many rounds, before and after adapting."""

    round: int
    initialisation: float
    personalised: float


OnPoint = Callable[[Progress, LearningPoint], None]


@dataclass
class LearningCurve:
    """Called after every round; judges the parameters about twenty times in a run.

    Attributes:
        engine: runs the learner.
        knobs: the learner's own.
        trials: calibration users' trials.
        metric: what to judge by.
        on_point: told of every round, with the latest point.
        points: what was found.
        seconds: spent judging, which is no training time.
    """

    engine: Engine
    knobs: Knobs
    trials: Trials
    metric: Metric
    on_point: OnPoint | None = None
    points: list[LearningPoint] = field(default_factory=list)
    seconds: float = 0.0

    def __call__(self, progress: Progress) -> None:
        """Judge the parameters where a point is due."""
        began = time.perf_counter()
        every = max(1, progress.rounds // POINTS)
        if not self.points or progress.round % every == 0 or progress.round == progress.rounds:
            self.points.append(self._point(progress.round, progress.meta))
        self.seconds += time.perf_counter() - began
        if self.on_point is not None:
            self.on_point(progress, self.points[-1])

    def _point(self, number: int, meta: Tree) -> LearningPoint:
        before, after = (
            float(score(adapted(self.engine, meta, knobs), self.trials, self.metric).mean())
            for knobs in ({**self.knobs, "steps": 0.0}, self.knobs)
        )
        return LearningPoint(number, before, after)
