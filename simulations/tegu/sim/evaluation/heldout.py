"""Results of a run and its baselines on held-out users; every method gets the same supports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tegu.core.bundle.manifest import knobs_for
from tegu.core.calibration.harm import allowed_loss
from tegu.core.calibration.query_noise import gains_over
from tegu.core.data.batch import Array
from tegu.core.metrics import Metric
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.core.sampling.trials import DRAWS, Trials, tolerance, trial_scores, user_scores
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.encoded_rows import with_shared_rows_encoded
from tegu.sim.engine.predictions import Method, adapt_and_predict, score
from tegu.sim.evaluation.curve import curve_entry
from tegu.sim.evaluation.reliability import Reliability, calibration_error, reliability
from tegu.sim.evaluation.uncertainty import uncertainty
from tegu.sim.run_result import RunResult

__all__ = ["HeldoutResults", "evaluate_further", "evaluate_heldout"]


class HeldoutResults(NamedTuple):
    """Results on held-out users.

    Attributes:
        curve: one entry for each k, as in `metrics.json`.
        gains: by k, `[users]`: each user's gain in the metric from adapting, positive if adapting helps.
        reliability: by k and method (`initialisation`, `personalised`); empty unless the task is classification.
        personalised: by k, `[users]`: each user's figure after adapting.
    """

    curve: list[dict[str, Any]]
    gains: dict[int, Array]
    reliability: dict[int, dict[str, Reliability]]
    personalised: dict[int, Array]

    def __repr__(self) -> str:
        users = max((len(gains) for gains in self.gains.values()), default=0)
        return f"HeldoutResults(ks={[entry['k'] for entry in self.curve]}, users={users})"


def evaluate_heldout(
    run: RunResult, baselines: Mapping[str, Callable[[int], Method]], draws: int = DRAWS
) -> HeldoutResults:
    """Evaluate a run and its baselines on the run's held-out users.

    Args:
        run: the run to evaluate.
        baselines: by name, a function from the number of interactions k to a method.
        draws: supports of each user at each k.
    """
    found = HeldoutResults([], {}, {}, {})
    engine, codes = with_shared_rows_encoded(run.engine, run.bundle.meta, run.split.heldout)
    for k in run.ks:
        trials = draw_trials(run.split.heldout, k, run.plan.seed + 1, draws)
        own = trials if codes is None else draw_trials(run.split.heldout, k, run.plan.seed + 1, draws, codes)
        ours = {"initialisation": run.learner.unadapted, "personalised": knobs_for(run.bundle.manifest, k)}
        outputs = {name: adapt_and_predict(engine, run.bundle.meta, knobs, own).outputs for name, knobs in ours.items()}
        scores = {name: user_scores(trials, each, run.metric) for name, each in outputs.items()}
        scores |= {name: score(method(k), trials, run.metric) for name, method in baselines.items()}
        resolution = tolerance(trials, outputs["initialisation"], run.metric)
        allowed = allowed_loss(scores["initialisation"], resolution, run.plan.calibration.material)
        rng, lasting = keyed_rng("bootstrap", run.plan.seed, k), _lasting(trials, outputs, run.metric)
        entry = curve_entry(k, run.metric, scores, allowed, rng, lasting)
        if trials.spec.kind == "classification":
            found.reliability[k] = {name: reliability(trials, each) for name, each in outputs.items()}
            entry["ece"] = {name: calibration_error(each) for name, each in found.reliability[k].items()}
        if spread := uncertainty(run, k, trials):
            entry["uncertainty"] = spread
        found.curve.append(entry)
        found.personalised[k] = scores["personalised"]
        found.gains[k] = run.metric.gain(scores["personalised"], scores["initialisation"])
    return found


def _lasting(trials: Trials, outputs: Mapping[str, Sequence[Array]], metric: Metric) -> Array | None:
    """Squared gains of the personalised outputs less noise, `[users]`; None if not known."""
    before = outputs["initialisation"]
    return gains_over(trials, before, trial_scores(trials, before, metric), metric)(outputs["personalised"]).lasting


def evaluate_further(run: RunResult, users: Population) -> dict[str, float]:
    """The mean metric of further held-out users, before and after adapting on their largest support.

    Args:
        run: the run to evaluate. Its schedule for the largest k that has one says how to adapt.
        users: the users; those with smaller supports than the largest are left out.
    """
    k = int(users.max_support.max())
    trials = draw_trials(users, k, run.plan.seed + 1, 1)
    methods = {"initialisation": run.initialisation(), "personalised": run.personalised(k)}
    means = {name: float(score(method, trials, run.metric).mean()) for name, method in methods.items()}
    return {"k": k, "users": trials.users, **means}
