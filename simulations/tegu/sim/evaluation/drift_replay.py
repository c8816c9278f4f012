"""People whose taste changes, replayed as on a device: who is followed how soon, by which way to adapt."""

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
from tegu.sim.run import Run

__all__ = ["HALF_LIVES", "PLAIN", "RECENT", "Way", "follow", "recovered", "replay"]

HALF_LIVES = (None, 40.0, 20.0, 10.0, 5.0, 2.5, 1.25)
PLAIN, RECENT = "no recency", "recency"
_LEFT = 0.1  # of what the change cost: with no more left, people have recovered


class Way(NamedTuple):
    """How a device adapts after each interaction.

    Attributes:
        half_life: as of `Personalizer.open`.
        told: somebody tells it of the change, and it forgets what was before (`Personalizer.forget`).
        adapts: whether it does so at all.
    """

    half_life: float | None = None
    told: bool = False
    adapts: bool = True


def follow(run: Run, streams: Streams) -> dict[str, Any]:
    """What becomes of held-out people, by several ways to adapt.

    The half-life is that of `HALF_LIVES` by which calibration users fare best on average over their whole streams, from
    the first interaction to the last.

    Args:
        run: what is on the devices.
        streams: of everyone.

    Returns:
        `drift` of `metrics.json`. Its `curve` has an entry for each moment; `steady` is one for the end of the same
        streams had there been no change; for `recovered` see the function.
    """
    heldout, moments = streams.of(run.split.heldout.users), streams.moments()
    tried = {half_life: float(_calibrated(run, streams, Way(half_life), moments).mean()) for half_life in HALF_LIVES}
    chosen = (max if run.metric.higher_is_better else min)(tried, key=tried.__getitem__)  # the first, on a tie
    ways = {
        PLAIN: Way(),
        RECENT: Way(chosen),
        "resetting": Way(told=True),
        "initialisation": Way(adapts=False),
    }
    curve = _curve(run, heldout, ways, moments)
    unchanged, end = replace(heldout, y=heldout.steady_y), Moment(streams.x.shape[1], changed=False)
    return {
        "people": len(heldout.users),
        "change": streams.change,
        "half_lives": [{"half_life": half_life, "figure": figure} for half_life, figure in tried.items()],
        "chosen": [chosen],
        "curve": curve,
        "steady": _curve(run, unchanged, ways, [end])[0],
        "recovered": recovered(curve),
    }


def _calibrated(run: Run, streams: Streams, way: Way, moments: Sequence[Moment]) -> Array:
    """How calibration people fare, each with parameters that it did not train."""
    each = (
        replay(replace(run, bundle=replace(run.bundle, meta=meta)), streams.of(people.users), way, moments)
        for meta, people in run.judges
    )
    return np.concatenate(list(each))


def replay(run: Run, streams: Streams, way: Way, moments: Sequence[Moment]) -> Array:
    """How people fare, `[users, moments]` in the run's metric: each adapts to what there is of it, as on a device."""
    return np.stack([_figures(run, streams, way, moment) for moment in moments], 1)


def _figures(run: Run, streams: Streams, way: Way, moment: Moment) -> Array:
    begin = streams.change if way.told and moment.changed else 0
    most = run.bundle.manifest.window or moment.interactions
    seen = slice(max(begin, moment.interactions - most), moment.interactions)
    mask = recency_weights(seen.stop - seen.start, way.half_life if way.adapts else None)
    knobs = knobs_for(run.bundle.manifest, round(effective_sample_size(mask))) if len(mask) else run.learner.unadapted
    if not way.adapts or not len(mask):
        seen, mask, knobs = slice(1), np.zeros(1, np.float32), run.learner.unadapted
    keys: tuple[int | str, ...] = ("drift", run.plan.seed, *map(int, moment))
    each = zip(streams.x, streams.y, streams.query_x, streams.query_y[:, int(moment.changed)], strict=True)
    trials = [
        Trial(user, Batch(x[seen], y[seen], mask), full_batch(query_x, query_y), (*keys, str(streams.users[user])))
        for user, (x, y, query_x, query_y) in enumerate(each)
    ]
    method = adapted_predictions(run.engine, run.bundle.meta, knobs)
    return score(method, Trials(run.split.heldout.spec, len(mask), trials), run.metric)


def _curve(run: Run, streams: Streams, ways: Mapping[str, Way], moments: Sequence[Moment]) -> list[dict[str, Any]]:
    """An entry for each moment: everyone's mean figure by each way, and what recency gains over no recency."""
    figures = {name: replay(run, streams, way, moments) for name, way in ways.items()}
    gains = run.metric.gain(figures[RECENT], figures[PLAIN])
    return [
        {
            **moment._asdict(),
            "figures": {name: float(values[:, place].mean()) for name, values in figures.items()},
            "gain": float(gains[:, place].mean()),
            **_interval(gains[:, place], run.plan.seed, moment),
        }
        for place, moment in enumerate(moments)
    ]


def _interval(gains: Array, seed: int, moment: Moment) -> dict[str, float]:
    low, high = mean_interval(gains, keyed_rng("drift bootstrap", seed, *map(int, moment)))
    return {"gain_low": low, "gain_high": high}


def recovered(curve: Sequence[Mapping[str, Any]]) -> dict[str, int | None]:
    """By each way the interactions after the change from which on people have recovered; None where they have not.

    With no recency the change costs something: the difference between the moments just before and just after it. People
    have recovered where a tenth of that is left at most, in the mean over people.

    Args:
        curve: as in `follow`.
    """
    after = [entry for entry in curve if entry["changed"]]
    before = next(entry for entry in reversed(curve) if not entry["changed"])["figures"][PLAIN]
    cost = after[0]["figures"][PLAIN] - before
    found: dict[str, int | None] = {}
    for name in after[0]["figures"]:
        left = [(entry["figures"][name] - before) * cost > _LEFT * cost**2 for entry in after]
        number = len(left) - left[::-1].index(True) if True in left else 0
        found[name] = number if number < len(left) else None
    return found
