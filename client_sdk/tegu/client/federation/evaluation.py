"""The device's part in an evaluation round: metrics of candidates on its users, computed by the inference runtime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tegu.client.runtimes.runtime import Runtime
from tegu.core.bundle.manifest import Knobs, Manifest
from tegu.core.calibration.evaluate_candidates import AdaptAndPredict, TrialOutputs, evaluate_candidates
from tegu.core.calibration.evaluation_request import CandidateSet, EvaluationRequest, MetricSums, takes_part
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.data.users import LocalUser
from tegu.core.metrics import find_metric
from tegu.core.sampling.leakage import units_of_user
from tegu.core.sampling.trials import Trial, Trials, trial_noise, user_trials

__all__ = ["evaluate_users"]


def evaluate_users(
    runtime: Runtime, meta: Tree, users: Sequence[LocalUser], manifest: Manifest, request: EvaluationRequest
) -> list[MetricSums]:
    """Sums over the requested users, one for each set of candidates.

    Args:
        runtime: holds the graphs.
        meta: what the server sent.
        users: of this node.
        manifest: of the bundle that holds the graphs.
        request: what to evaluate.

    Raises:
        UnknownNameError: no such metric in this version.
        RuntimeFailure: the graphs cannot be run.
    """
    metric, attempt = find_metric(request.metric), _attempt(runtime, meta, manifest)
    return [
        evaluate_candidates(question, manifest, _trials(users, manifest.spec, request, question), metric, attempt)
        for question in request.questions
    ]


def _trials(users: Sequence[LocalUser], spec: Spec, request: EvaluationRequest, question: CandidateSet) -> Trials:
    chosen = (user for user in users if takes_part(request, question.who, user.user))
    drawn = [
        trial
        for index, user in enumerate(chosen)
        for trial in _user_trials(index, user, spec, question.k, request.seed, question.draws)
    ]
    return Trials(spec, question.k, drawn)


def _user_trials(index: int, user: LocalUser, spec: Spec, k: int, seed: int, draws: int) -> Iterator[Trial]:
    units = units_of_user(user)
    if units.max_support[0] >= k:
        yield from user_trials(index, user.user, user.x, user.y, units, spec=spec, k=k, seed=seed, draws=draws)


def _attempt(runtime: Runtime, meta: Tree, manifest: Manifest) -> AdaptAndPredict:
    """Runs trials one by one. As on a device, the initialisation replaces a state that is not finite."""

    def state(trial: Trial, knobs: Knobs) -> Tree:
        noise = trial_noise(trial, manifest.noise)
        found = runtime.adapt(meta, trial.support, knobs, noise)
        finite = all(np.isfinite(array).all() for array in found.values())
        return found if finite else runtime.adapt(meta, trial.support, manifest.unadapted, noise)

    def attempt(trials: Trials, knobs: Knobs) -> TrialOutputs:
        states = [state(trial, knobs) for trial in trials.trials]
        catalogue = np.arange(trials.spec.items) if trials.spec.kind == "ranking" else None
        outputs = [
            runtime.predict(meta, own, trial.query.x if catalogue is None else catalogue)
            for own, trial in zip(states, trials.trials, strict=True)
        ]
        scalars = [name for name, value in states[0].items() if np.ndim(value) == 0]
        return TrialOutputs(outputs, {name: np.asarray([own[name] for own in states]) for name in scalars})

    return attempt
