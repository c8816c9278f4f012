"""Replay of users whose preferences change, as on a device: how fast each strategy recovers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tegu.core.bundle.manifest import knobs_for
from tegu.core.data.batch import Array, Batch, full_batch
from tegu.core.data.recency import effective_sample_size, recency_weights
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.core.sampling.trials import Trial, Trials
from tegu.sim.data.streams import Moment, Streams
from tegu.sim.engine.predictions import adapted_predictions, score
from tegu.sim.evaluation.bootstrap import mean_interval
from tegu.sim.run_result import RunResult

__all__ = ["HALF_LIVES", "PLAIN", "RECENT", "Strategy", "recovery_times", "replay", "replay_drift"]

HALF_LIVES = (None, 40.0, 20.0, 10.0, 5.0, 2.5, 1.25)
PLAIN, RECENT = "no recency", "recency"
_RECOVERED = 0.1  # users have recovered once at most this share of the cost of the change is left


class Strategy(NamedTuple):
    """How a device adapts after each interaction.

    Attributes:
        half_life: half-life of an interaction's weight, in interactions; None for equal weights. See
            `Personalizer.open`.
        notified: the device is notified of the change and forgets all earlier interactions (`Personalizer.forget`).
        adapts: False to serve the initialisation.
    """

    half_life: float | None = None
    notified: bool = False
    adapts: bool = True


def replay_drift(run: RunResult, streams: Streams) -> dict[str, Any]:
    """Replay held-out users with several strategies.

    The half-life is chosen from `HALF_LIVES`: the one with the best mean metric of calibration users over their whole
    streams.

    Args:
        run: the run whose bundle the devices have.
        streams: the interactions of all users.

    Returns:
        `drift` of `metrics.json`. `curve` has an entry for each moment. `steady` is the entry for the end of the same
        streams without a change. `recovered` holds the `recovery_times`.
    """
    heldout, moments = streams.of(run.split.heldout.users), streams.moments()
    tried = {
        half_life: float(_replay_calibration(run, streams, Strategy(half_life), moments).mean())
        for half_life in HALF_LIVES
    }
    chosen = (max if run.metric.higher_is_better else min)(tried, key=tried.__getitem__)  # on a tie, the first
    strategies = {
        PLAIN: Strategy(),
        RECENT: Strategy(chosen),
        "resetting": Strategy(notified=True),
        "initialisation": Strategy(adapts=False),
    }
    curve = _curve(run, heldout, strategies, moments)
    unchanged, end = replace(heldout, y=heldout.steady_y), Moment(streams.x.shape[1], changed=False)
    return {
        "people": len(heldout.users),
        "change": streams.change,
        "half_lives": [{"half_life": half_life, "figure": figure} for half_life, figure in tried.items()],
        "chosen": [chosen],
        "curve": curve,
        "steady": _curve(run, unchanged, strategies, [end])[0],
        "recovered": recovery_times(curve),
    }


def _replay_calibration(run: RunResult, streams: Streams, strategy: Strategy, moments: Sequence[Moment]) -> Array:
    """Replay calibration users, `[users, moments]`, each with parameters that the user did not train."""
    each = (
        replay(replace(run, bundle=replace(run.bundle, meta=meta)), streams.of(users.users), strategy, moments)
        for meta, users in run.fold_evaluators
    )
    return np.concatenate(list(each))


def replay(run: RunResult, streams: Streams, strategy: Strategy, moments: Sequence[Moment]) -> Array:
    """Return the run's metric `[users, moments]`; at each moment users adapt to their interactions so far."""
    return np.stack([_figures(run, streams, strategy, moment) for moment in moments], 1)


def _figures(run: RunResult, streams: Streams, strategy: Strategy, moment: Moment) -> Array:
    """Return the run's metric `[users]` at one moment."""
    begin = streams.change if strategy.notified and moment.changed else 0
    window = run.bundle.manifest.window or moment.interactions
    seen = slice(max(begin, moment.interactions - window), moment.interactions)
    mask = recency_weights(seen.stop - seen.start, strategy.half_life if strategy.adapts else None)
    knobs = knobs_for(run.bundle.manifest, round(effective_sample_size(mask))) if len(mask) else run.learner.unadapted
    if not strategy.adapts or not len(mask):
        seen, mask, knobs = slice(1), np.zeros(1, np.float32), run.learner.unadapted
    keys: tuple[int | str, ...] = ("drift", run.plan.seed, *map(int, moment))
    each = zip(streams.x, streams.y, streams.query_x, streams.query_y[:, int(moment.changed)], strict=True)
    trials = [
        Trial(user, Batch(x[seen], y[seen], mask), full_batch(query_x, query_y), (*keys, str(streams.users[user])))
        for user, (x, y, query_x, query_y) in enumerate(each)
    ]
    method = adapted_predictions(run.engine, run.bundle.meta, knobs)
    return score(method, Trials(run.split.heldout.spec, len(mask), trials), run.metric)


def _curve(
    run: RunResult, streams: Streams, strategies: Mapping[str, Strategy], moments: Sequence[Moment]
) -> list[dict[str, Any]]:
    """Return an entry for each moment: the mean metric by strategy, and the gain of recency over no recency."""
    figures = {name: replay(run, streams, strategy, moments) for name, strategy in strategies.items()}
    gains = run.metric.gain(figures[RECENT], figures[PLAIN])
    return [
        {
            **moment._asdict(),
            "figures": {name: float(values[:, index].mean()) for name, values in figures.items()},
            "gain": float(gains[:, index].mean()),
            **_interval(gains[:, index], run.plan.seed, moment),
        }
        for index, moment in enumerate(moments)
    ]


def _interval(gains: Array, seed: int, moment: Moment) -> dict[str, float]:
    low, high = mean_interval(gains, keyed_rng("drift bootstrap", seed, *map(int, moment)))
    return {"gain_low": low, "gain_high": high}


def recovery_times(curve: Sequence[Mapping[str, Any]]) -> dict[str, int | None]:
    """Return by strategy the number of interactions after the change until users have recovered, or None.

    The cost of the change is the difference in the mean metric, without recency, between the moments just before and
    just after the change. Users have recovered once at most a tenth of this cost is left, to the end of the stream.

    Args:
        curve: as in `replay_drift`.
    """
    after = [entry for entry in curve if entry["changed"]]
    before = next(entry for entry in reversed(curve) if not entry["changed"])["figures"][PLAIN]
    cost = after[0]["figures"][PLAIN] - before
    found: dict[str, int | None] = {}
    for name in after[0]["figures"]:
        left = [(entry["figures"][name] - before) * cost > _RECOVERED * cost**2 for entry in after]
        number = len(left) - left[::-1].index(True) if True in left else 0
        found[name] = number if number < len(left) else None
    return found
