"""The server's half of calibration: from what devices answer to the schedule, for each number of interactions.

Two evaluation rounds for a guarded learner, one otherwise. The first asks for the line by which
evidence tells a gain; the second tries every weight and guard with that line.
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

__all__ = ["Ask", "find_schedule"]

Ask: TypeAlias = Callable[[Sequence[CandidateSet]], Sequence[MetricSums]]

_WEIGHTS = (0.25, 0.5, 0.75, 1.0)
_GUARDS = ((2.0, 0.0), (2.0, 0.15), (2.0, 0.3), (4.0, 0.0), (4.0, 0.15), (4.0, 0.3), (0.0, 0.0))  # with their floors
_FEW = 10  # so many users cannot show that one in twenty is hurt: the guard, the gentlest, is not left to choice


def find_schedule(ask: Ask, manifest: Manifest, ks: Iterable[int], risk: float = RISK) -> tuple[ScheduleEntry, ...]:
    """For each k the way to adapt that `choose` takes, or none.

    A k that no calibration user has enough rows for is left out.

    Args:
        ask: one evaluation round, from questions to their answers.
        manifest: of the learner. Its candidates are tried, or its own knobs where it has none; where they are guarded,
            every weight, guard and floor of each.
        ks: numbers of interactions.
        risk: the largest share of people that may be hurt.
    """
    sizes, candidates = sorted(set(ks)), manifest.candidates or (manifest.knobs,)
    if manifest.guarded:
        lines = _lines(ask, candidates, sizes)
        questions = [CandidateSet(k, list(_guarded(candidates, found)), "gains") for k, found in lines.items()]
    else:
        questions = [CandidateSet(k, candidates, "gains") for k in sizes]
    answers = ask(questions) if questions else []
    return tuple(
        _entry(question, found, manifest.unadapted, risk)
        for question, found in zip(questions, answers, strict=True)
        if found.users
    )


def _lines(ask: Ask, candidates: Sequence[Knobs], sizes: Sequence[int]) -> Mapping[int, MetricSums]:
    """By k; one that nobody has the rows for is left out."""
    answers = ask([CandidateSet(k, candidates, "lines") for k in sizes])
    return {k: found for k, found in zip(sizes, answers, strict=True) if found.users}


def _guarded(candidates: Sequence[Knobs], lines: MetricSums) -> Iterable[Knobs]:
    """All ways to try."""
    for knobs, sums in zip(candidates, lines.sums, strict=True):
        yield from _weighed(knobs, fit_gain_model(lines.users * DRAWS, sums), lines.users, gains=sums[1] > 0)


def _weighed(knobs: Knobs, belief: GainModel, users: int, *, gains: bool) -> Iterable[Knobs]:
    """A floor keeps a part for those of whom nothing is known, and so for most: only of what gains on average."""
    guards = [each for each in _GUARDS if gains or not each[1]]
    for weight in _WEIGHTS:
        for guard, floor in guards[:1] if users < _FEW else guards:
            yield {**knobs, **asdict(Guard(weight, guard, floor, *belief))}


def _entry(question: CandidateSet, found: MetricSums, unadapted: Knobs, risk: float) -> ScheduleEntry:
    chosen = select_candidate(found.users, found.sums, risk)
    knobs = unadapted if chosen.candidate is None else question.options[chosen.candidate]
    return ScheduleEntry(question.k, knobs, chosen.gain, chosen.gain_sd)
