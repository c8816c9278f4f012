"""Several learners of one population in one bundle; calibration chooses among them for each number of interactions.

    update   each learner's update of its own parameters
    adapt    each learner adapts, with its own knobs
    predict  the outputs, mixed by the shares of the knobs

Which method personalises best depends on the number of interactions: a comparison with examples may be ahead with one
of each label, and gradient steps with many. A candidate gives one learner the whole share, or two learners a half each,
as in stacked generalisation (Wolpert 1992).

Everything is computed for every learner, also for one that has no share.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from torch import Tensor

from tegu.core.bundle.manifest import STEPS
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.learners.algorithms.mixed_outputs import mixed_outputs
from tegu.learners.algorithms.mixture.guarded_correction import fully_corrected_knobs
from tegu.learners.learner import (
    Adapt,
    CalibrationOptions,
    Execution,
    Iterated,
    Learner,
    RecommendedTraining,
    SummedUpdate,
    TorchBatch,
    TorchKnobs,
    TorchTree,
)
from tegu.learners.parameters.copies import copy_of, merge_copies

__all__ = ["combination"]

_TRAINING = RecommendedTraining("Adam", 0.003, averaged=True)
_SHARE = "share"


class _Parts(NamedTuple):
    """The learners that are combined."""

    learners: tuple[Learner, ...]

    def knobs(self, number: int, knobs: TorchKnobs) -> TorchKnobs:
        """A learner's own knobs. A guarded one corrects fully: the shares decide in place of its guard."""
        learner = self.learners[number]
        own = cast("TorchKnobs", {name: knobs[_knob(number, name)] for name in learner.knobs if name != STEPS})
        return fully_corrected_knobs(own) if learner.calibration.guarded else own

    def noise(self, number: int, noise: Tensor) -> Tensor:
        """A learner's own part of the noise."""
        start = sum(each.noise for each in self.learners[:number])
        return noise[start : start + self.learners[number].noise]

    @property
    def numbers(self) -> range:
        """The learners' numbers, from 0."""
        return range(len(self.learners))


def combination(learners: Sequence[Learner]) -> Learner:
    """A learner that holds several, which train side by side and never share a parameter.

    `meta` and the state hold each learner's entries as `0/<name>`, `1/<name>`, and the state the shares `share/0`,
    `share/1`. Knobs are each learner's own, `<number>.<name>`, the shares `share.<number>`, and `steps`, which all
    learners with gradient steps have in common. Without adaptation the first learner predicts alone.

    Values and rankings are averaged by the shares, and classes by their probabilities.

    Args:
        learners: two or more, of one spec.

    Raises:
        DataError: fewer than two learners, or they are for different specs.
    """
    _check(learners)
    parts = _Parts(tuple(learners))
    first = learners[0]
    steps = {STEPS: max(each.knobs.get(STEPS, 0.0) for each in learners)} if _iterated(learners) else {}
    adapt = _by_steps(parts) if steps else _at_once(parts)
    windows = [each.calibration.window for each in learners]
    numbered = list(enumerate(learners))
    return Learner(
        name=",".join(each.name for each in learners),
        paper="; ".join(dict.fromkeys(each.paper for each in learners)),
        spec=first.spec,
        adapted_parameters=tuple(f"{n}/{name}" for n, each in numbered for name in each.adapted_parameters),
        knobs=_merged_knobs([each.knobs for each in learners], _alone(parts, 0)) | steps,
        unadapted=_merged_knobs([each.unadapted for each in learners], _alone(parts, 0)) | dict.fromkeys(steps, 0.0),
        init=lambda seed: _initial(parts, seed),
        adapt=adapt,
        predict=lambda meta, state, x: _predict(parts, meta, state, x),
        update=lambda meta, support, query, noise: merge_copies(
            [
                each.update(copy_of(meta, n), support, query, parts.noise(n, noise))
                for n, each in enumerate(parts.learners)
            ]
        ),
        noise=sum(each.noise for each in learners),
        calibration=CalibrationOptions(candidates=list(_candidates(parts)), window=0 if 0 in windows else max(windows)),
        execution=Execution(
            summed_update=_summed(parts),
            order_invariant=all(each.execution.order_invariant for each in learners),
            merges_query=all(each.execution.merges_query for each in learners),
            example_scaling=first.execution.example_scaling,
        ),
        fixed_parameters=tuple(f"{n}/{name}" for n, each in numbered for name in each.fixed_parameters),
        untrained_parameters=tuple(f"{n}/{name}" for n, each in numbered for name in each.untrained_parameters),
        recommended=_recommended(learners),
    )


def _check(learners: Sequence[Learner]) -> None:
    if len(learners) < 2:
        raise DataError(f"{len(learners)} learner is to be combined: expected two or more; use it alone")
    for each in learners[1:]:
        if each.spec != learners[0].spec:
            raise DataError(
                f"{each.name} was built for {each.spec} and {learners[0].name} for {learners[0].spec}: expected one "
                "spec for learners that are combined"
            )


def _knob(number: int, name: str) -> str:
    return f"{number}.{name}"


def _alone(parts: _Parts, number: int) -> Mapping[str, float]:
    """The shares of a learner that predicts alone."""
    return {f"{_SHARE}.{each}": float(each == number) for each in parts.numbers}


def _merged_knobs(own: Sequence[Mapping[str, float]], shares: Mapping[str, float]) -> dict[str, float]:
    merged = {_knob(n, name): value for n, knobs in enumerate(own) for name, value in knobs.items() if name != STEPS}
    return {**merged, **shares}


def _iterated(learners: Sequence[Learner]) -> bool:
    return any(isinstance(each.adapt, Iterated) for each in learners)


def _candidates(parts: _Parts) -> Iterator[Mapping[str, float]]:
    """Each learner's candidates with the whole share, and each two learners' middle ones with a half each."""
    default = [each.knobs for each in parts.learners]
    tried = [list(each.calibration.candidates) or [each.knobs] for each in parts.learners]

    def candidate(own: Mapping[int, Mapping[str, float]], shares: Mapping[str, float]) -> Mapping[str, float]:
        merged = _merged_knobs([own.get(n, default[n]) for n in parts.numbers], shares)
        # A learner without steps is computed in every step, so that one is enough where it is alone.
        taken = [each[STEPS] for each in own.values() if STEPS in each]
        return merged | ({STEPS: max(taken, default=1.0)} if _iterated(parts.learners) else {})

    for number, candidates in enumerate(tried):
        for each in candidates:
            yield candidate({number: each}, _alone(parts, number))
    for one, other in itertools.combinations(parts.numbers, 2):
        halves = {f"{_SHARE}.{each}": 0.5 * (each in (one, other)) for each in parts.numbers}
        yield candidate({n: tried[n][len(tried[n]) // 2] for n in (one, other)}, halves)


def _initial(parts: _Parts, seed: int) -> Tree:
    return merge_copies([each.init(seed) for each in parts.learners])


def _at_once(parts: _Parts) -> Adapt:
    """`adapt` where no learner takes steps."""

    def adapt(meta: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        states = [
            learner.adapt(copy_of(meta, n), support, parts.knobs(n, knobs), parts.noise(n, noise))
            for n, learner in enumerate(parts.learners)
        ]
        return {**merge_copies(states), **_shares(parts, knobs, support)}

    return adapt


def _by_steps(parts: _Parts) -> Iterated:
    """`adapt` where a learner takes steps. The others are computed in every step, for only a step has the knobs."""
    unadapted = _merged_knobs([each.unadapted for each in parts.learners], _alone(parts, 0))

    def begin(meta: TorchTree, support: TorchBatch) -> TorchTree:
        carries = [
            learner.adapt.begin(copy_of(meta, n), support)
            if isinstance(learner.adapt, Iterated)
            else learner.adapt(copy_of(meta, n), support, parts.knobs(n, unadapted), _nothing(learner, support))
            for n, learner in enumerate(parts.learners)
        ]
        return {**merge_copies(carries), **_shares(parts, unadapted, support)}

    def step(meta: TorchTree, carry: TorchTree, support: TorchBatch, knobs: TorchKnobs, noise: Tensor) -> TorchTree:
        carries = []
        for n, learner in enumerate(parts.learners):
            own, drawn = parts.knobs(n, knobs), parts.noise(n, noise)
            if isinstance(learner.adapt, Iterated):
                carries.append(learner.adapt.step(copy_of(meta, n), copy_of(carry, n), support, own, drawn))
            else:
                carries.append(learner.adapt(copy_of(meta, n), support, own, drawn))
        return {**merge_copies(carries), **_shares(parts, knobs, support)}

    def finish(carry: TorchTree) -> TorchTree:
        states = [
            learner.adapt.finish(copy_of(carry, n)) if isinstance(learner.adapt, Iterated) else copy_of(carry, n)
            for n, learner in enumerate(parts.learners)
        ]
        return {**merge_copies(states), **{name: carry[name] for name in carry if name.startswith(f"{_SHARE}/")}}

    return Iterated(begin, step, finish)


def _nothing(learner: Learner, support: TorchBatch) -> Tensor:
    """Noise for a state that does not depend on it."""
    return support.mask.new_zeros(learner.noise)


def _shares(parts: _Parts, knobs: TorchKnobs, support: TorchBatch) -> TorchTree:
    zero = support.mask.new_zeros(())
    return {f"{_SHARE}/{number}": zero + knobs[f"{_SHARE}.{number}"] for number in parts.numbers}


def _predict(parts: _Parts, meta: TorchTree, state: TorchTree, x: Tensor) -> Tensor:
    outputs = [
        learner.predict(copy_of(meta, number), copy_of(state, number), x)
        for number, learner in enumerate(parts.learners)
    ]
    shares = [state[f"{_SHARE}/{number}"] for number in parts.numbers]
    return mixed_outputs(parts.learners[0].spec.kind, shares, outputs)


def _summed(parts: _Parts) -> SummedUpdate | None:
    """The learners' sums, if each has one."""
    each = [learner.execution.summed_update for learner in parts.learners]
    own = [one for one in each if one is not None]
    if len(own) < len(each) or any(learner.noise for learner in parts.learners):
        return None

    def compute(meta: TorchTree, supports: TorchBatch, queries: TorchBatch, noise: Tensor) -> TorchTree:
        return merge_copies([one.compute(copy_of(meta, n), supports, queries, noise) for n, one in enumerate(own)])

    return SummedUpdate(min(one.max_rows for one in own), compute)


def _recommended(learners: Sequence[Learner]) -> RecommendedTraining:
    """What the first learner with an adaptive outer optimiser recommends: its steps suit parameters of any scale."""
    own = [each.recommended for each in learners if each.recommended is not None]
    return next((each for each in own if each.optimiser.startswith("Adam")), _TRAINING)
