"""How badly the initialisation fits people never trained on: what a device compares its own user with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from tegu.core.calibration.conformal import conformal_quantiles
from tegu.core.calibration.nonconformity import inputs_to_score, nonconformity
from tegu.core.data.batch import NumpyBatch
from tegu.core.data.tree import Tree
from tegu.core.sampling.trials import DRAWS, Trials, stacked_supports
from tegu.sim.engine import Engine

__all__ = ["support_losses"]

_USERS = 64  # whose catalogues of scores are in memory at once


def support_losses(engine: Engine, judged: Iterable[tuple[Tree, Trials]]) -> tuple[float, ...]:
    """Users' mean losses on k rows under an initialisation that they did not train, ascending and thinned.

    One draw of each user: several would not be as independent as p-values take them for.

    Args:
        engine: runs the learner.
        judged: initialisations, and for each of them trials, `DRAWS` of each user.
    """
    return conformal_quantiles([loss for meta, trials in judged for loss in _losses(engine, meta, trials)])


def _losses(engine: Engine, meta: Tree, trials: Trials) -> Iterator[float]:
    spec, first = trials.spec, trials.trials[::DRAWS]
    for start in range(0, len(first), _USERS):
        part = first[start : start + _USERS]
        supports = stacked_supports(trials._replace(trials=part))
        states = engine.adapt(meta, NumpyBatch(*supports), engine.manifest.unadapted)
        outputs = engine.predict(meta, states, np.stack([inputs_to_score(spec, trial.support.x) for trial in part]))
        for output, trial in zip(outputs, part, strict=True):
            yield nonconformity(spec, output, trial.support.x, trial.support.y)
