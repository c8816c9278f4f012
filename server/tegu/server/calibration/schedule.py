"""The server's half of calibration: from the nodes' sums to the schedule, for each number of interactions.

A learner with a guard needs two evaluation rounds, any other learner one. For a guarded learner the first round fits
the line that predicts the gain from the evidence. The second round evaluates every weight and guard with that line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TypeAlias

from tegu.core.bundle.manifest import Knobs, Manifest, ScheduleEntry
from tegu.core.calibration.evaluation_request import CandidateSet, MetricSums
from tegu.core.calibration.guard import GainModel, Guard, fit_gain_model
from tegu.core.calibration.selection import RISK, select_candidate
from tegu.core.sampling.trials import DRAWS

__all__ = ["Evaluate", "find_schedule"]

Evaluate: TypeAlias = Callable[[Sequence[CandidateSet]], Sequence[MetricSums]]

_WEIGHTS = (0.25, 0.5, 0.75, 1.0)
_GUARDS_AND_FLOORS = ((2.0, 0.0), (2.0, 0.15), (2.0, 0.3), (4.0, 0.0), (4.0, 0.15), (4.0, 0.3), (0.0, 0.0))
_MIN_USERS_FOR_GUARD = 10  # fewer users cannot show that one in twenty is harmed: only the first guard is evaluated


def find_schedule(
    evaluate: Evaluate, manifest: Manifest, ks: Iterable[int], risk: float = RISK
) -> tuple[ScheduleEntry, ...]:
    """The knobs for each k, chosen by `select_candidate`; the unadapted knobs if no candidate is accepted.

    A k for which no calibration user has enough rows is left out.

    Args:
        evaluate: runs one evaluation round, from sets of candidates to their sums.
        manifest: manifest of the learner. Its candidates are evaluated; without candidates, its own knobs. For a
            guarded learner each is evaluated with every weight, guard and floor.
        ks: numbers of interactions.
        risk: largest share of users that adapting may harm.
    """
    sizes, candidates = sorted(set(ks)), manifest.candidates or (manifest.knobs,)
    if manifest.guarded:
        lines = _gain_lines(evaluate, candidates, sizes)
        questions = [CandidateSet(k, list(_guarded(candidates, sums)), "gains") for k, sums in lines.items()]
    else:
        questions = [CandidateSet(k, candidates, "gains") for k in sizes]
    answers = evaluate(questions) if questions else []
    return tuple(
        _entry(question, sums, manifest.unadapted, risk)
        for question, sums in zip(questions, answers, strict=True)
        if sums.users
    )


def _gain_lines(evaluate: Evaluate, candidates: Sequence[Knobs], sizes: Sequence[int]) -> Mapping[int, MetricSums]:
    """The sums for the gain line, by k. A k for which no user has enough rows is left out."""
    answers = evaluate([CandidateSet(k, candidates, "lines") for k in sizes])
    return {k: sums for k, sums in zip(sizes, answers, strict=True) if sums.users}


def _guarded(candidates: Sequence[Knobs], lines: MetricSums) -> Iterable[Knobs]:
    """Every candidate with every weight, guard and floor."""
    for knobs, sums in zip(candidates, lines.sums, strict=True):
        yield from _with_guards(knobs, fit_gain_model(lines.users * DRAWS, sums), lines.users, gains=sums[1] > 0)


def _with_guards(knobs: Knobs, model: GainModel, users: int, *, gains: bool) -> Iterable[Knobs]:
    """A candidate with every weight, guard and floor.

    A floor applies part of the adaptation to users without evidence, which means most users. Floors above 0 are
    therefore only evaluated for candidates that gain on average.
    """
    pairs = [pair for pair in _GUARDS_AND_FLOORS if gains or not pair[1]]
    for weight in _WEIGHTS:
        for guard, floor in pairs[:1] if users < _MIN_USERS_FOR_GUARD else pairs:
            yield {**knobs, **asdict(Guard(weight, guard, floor, *model))}


def _entry(question: CandidateSet, found: MetricSums, unadapted: Knobs, risk: float) -> ScheduleEntry:
    chosen = select_candidate(found.users, found.sums, risk)
    knobs = unadapted if chosen.candidate is None else question.options[chosen.candidate]
    return ScheduleEntry(question.k, knobs, chosen.gain, chosen.gain_sd)
