"""Losses of calibration users under the initialisation. A device compares its own user's loss with them."""

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

_USERS = 64  # whose scores of a whole catalogue are in memory at once


def support_losses(engine: Engine, trials_by_meta: Iterable[tuple[Tree, Trials]]) -> tuple[float, ...]:
    """Users' mean losses on k rows under an initialisation that they did not train, ascending.

    Many losses are reduced to quantiles; see `conformal_quantiles`. Only the first draw of each user counts, since
    p-values assume independent losses.

    Args:
        engine: runs the learner.
        trials_by_meta: pairs of an initialisation and its trials, `DRAWS` for each user.
    """
    return conformal_quantiles([loss for meta, trials in trials_by_meta for loss in _losses(engine, meta, trials)])


def _losses(engine: Engine, meta: Tree, trials: Trials) -> Iterator[float]:
    spec, first = trials.spec, trials.trials[::DRAWS]
    for start in range(0, len(first), _USERS):
        batch = first[start : start + _USERS]
        supports = stacked_supports(trials._replace(trials=batch))
        states = engine.adapt(meta, NumpyBatch(*supports), engine.manifest.unadapted)
        outputs = engine.predict(meta, states, np.stack([inputs_to_score(spec, trial.support.x) for trial in batch]))
        for output, trial in zip(outputs, batch, strict=True):
            yield nonconformity(spec, output, trial.support.x, trial.support.y)
