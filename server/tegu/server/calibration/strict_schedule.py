"""The schedule of `risk="strict"`: each k alone, and no more than one user in twenty loses a query row's worth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tegu.core.bundle.manifest import Knobs, Manifest, ScheduleEntry
from tegu.core.calibration.evaluation_request import CandidateSet, MetricSums
from tegu.core.calibration.guard import fit_gain_model
from tegu.core.calibration.selection.limits import STRICT_RISK
from tegu.core.calibration.selection.strict import select_candidate
from tegu.core.sampling.trials import DRAWS
from tegu.server.calibration.gain_lines import Evaluate, gain_lines
from tegu.server.calibration.guards import with_guards

__all__ = ["find_strict_schedule"]


def find_strict_schedule(
    evaluate: Evaluate, manifest: Manifest, ks: Iterable[int], risk: float = STRICT_RISK
) -> tuple[ScheduleEntry, ...]:
    """The knobs for each k, chosen by `select_candidate`; the unadapted knobs if no candidate is accepted.

    A k for which no calibration user has enough rows is left out.

    Args:
        evaluate: runs one evaluation round.
        manifest: manifest of the learner. Its candidates are evaluated; without candidates, its own knobs. For a
            guarded learner each is evaluated with every weight, guard and floor.
        ks: numbers of interactions.
        risk: largest share of users that adapting may harm.
    """
    sizes, candidates = sorted(set(ks)), manifest.candidates or (manifest.knobs,)
    if manifest.guarded:
        lines = gain_lines(evaluate, candidates, sizes)
        questions = [CandidateSet(k, list(_guarded(candidates, sums)), "strict") for k, sums in lines.items()]
    else:
        questions = [CandidateSet(k, candidates, "strict") for k in sizes]
    answers = evaluate(questions) if questions else []
    return tuple(
        _entry(question, sums, manifest.unadapted, risk)
        for question, sums in zip(questions, answers, strict=True)
        if sums.users
    )


def _guarded(candidates: Sequence[Knobs], lines: MetricSums) -> Iterable[Knobs]:
    """Every candidate with every weight, guard and floor."""
    for knobs, sums in zip(candidates, lines.sums, strict=True):
        yield from with_guards(knobs, fit_gain_model(lines.users * DRAWS, sums), lines.users, gains=sums[1] > 0)


def _entry(question: CandidateSet, found: MetricSums, unadapted: Knobs, risk: float) -> ScheduleEntry:
    chosen = select_candidate(found.users, found.sums, risk)
    knobs = unadapted if chosen.candidate is None else question.options[chosen.candidate]
    return ScheduleEntry(question.k, knobs, chosen.gain, chosen.gain_sd)
