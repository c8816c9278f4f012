"""The server's half of calibration: from the nodes' sums to one schedule over all numbers of interactions.

A learner with a guard needs two evaluation rounds, any other learner one. For a guarded learner the first round fits
the line that predicts the gain from the evidence, pooled over k. The second round evaluates every weight and guard with
that line. The same candidates are evaluated at every k, so that neighbouring k can share what is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import NamedTuple

import numpy as np

from tegu.core.bundle.manifest import Knobs, Manifest, ScheduleEntry
from tegu.core.calibration.evaluation_request import CandidateSet, MetricSums, UserGroup
from tegu.core.calibration.guard import Guard, fit_gain_model
from tegu.core.calibration.selection.enough_people import check_people
from tegu.core.calibration.selection.figures import FIGURE, Figures, neighbour_weights
from tegu.core.calibration.selection.frontier import gain_frontier
from tegu.core.calibration.selection.limits import Limits
from tegu.core.calibration.selection.over_k import select_over_k
from tegu.core.errors import DataError
from tegu.core.notes import note
from tegu.core.sampling.trials import DRAWS
from tegu.server.calibration.gain_lines import Evaluate, gain_lines
from tegu.server.calibration.guards import with_guards
from tegu.server.calibration.strict_schedule import find_strict_schedule

__all__ = ["find_schedule", "note_on_harm"]


class _Judged(NamedTuple):
    """The candidates for one k, and their figures over either half of the calibration users."""

    k: int
    options: Sequence[Knobs]
    proposing: Figures
    testing: Figures

    @property
    def people(self) -> int:
        """Number of calibration users."""
        return sum(int(half.people.max(initial=0)) for half in (self.proposing, self.testing))


def find_schedule(
    evaluate: Evaluate, manifest: Manifest, ks: Iterable[int], limits: Limits | None
) -> tuple[ScheduleEntry, ...]:
    """The knobs for each k, chosen by `select_over_k`; the unadapted knobs where no candidate keeps the limits.

    A k for which no calibration user has enough rows is left out.

    Args:
        evaluate: runs one evaluation round.
        manifest: manifest of the learner. Its candidates are evaluated; without candidates, its own knobs. For a
            guarded learner each is evaluated with every weight, guard and floor.
        ks: numbers of interactions.
        limits: on harm; None for the rule of `risk="strict"`.

    Raises:
        DataError: the figure of every user under the initialisation is 0, so that no share of it can be lost;
            or a bound must be shown and too few users calibrate.
    """
    sizes = sorted(set(ks))
    if limits is None:
        return find_strict_schedule(evaluate, manifest, sizes)
    judged = _judge(evaluate, _candidates(evaluate, manifest, sizes), limits)
    if not judged:
        return ()
    check_people(max(each.people for each in judged), limits)
    _check_figures(judged, limits)
    _note_without_proposals(judged)
    choices = select_over_k(
        [each.k for each in judged],
        [each.proposing for each in judged],
        [each.testing for each in judged],
        limits,
        _own_candidates(manifest, judged[0].options),
    )
    return tuple(
        ScheduleEntry(
            each.k,
            manifest.unadapted if choice.candidate is None else each.options[choice.candidate],
            choice.gain,
            choice.gain_sd,
            harm=choice.harm,
            frontier=gain_frontier(each.proposing, each.testing, limits),
        )
        for each, choice in zip(judged, choices, strict=True)
    )


def note_on_harm(schedule: Sequence[ScheduleEntry]) -> None:
    """A note where calibration users were too few to show the limit on harm: how many it takes."""
    unshown = [entry for entry in schedule if entry.harm is not None and entry.harm.bound > entry.harm.risk]
    if unshown:
        most = max(unshown, key=lambda entry: entry.harm.bound if entry.harm else 0.0)
        places = ", ".join(str(entry.k) for entry in unshown)
        note(f"calibration cannot show the limit on harm at k = {places}: at k = {most.k}, {most.harm}")


def _own_candidates(manifest: Manifest, options: Sequence[Knobs]) -> list[int]:
    """The candidates with the learner's own knobs; of a guarded learner every weight with the most careful guard."""
    guard = {field.name for field in fields(Guard)}
    own = {name: value for name, value in manifest.knobs.items() if name not in guard}
    alike = [place for place, each in enumerate(options) if own.items() <= each.items()]
    careful = [_guard_of(options[place]) for place in alike[:1]]
    return [place for place in alike if _guard_of(options[place]) in careful]


def _guard_of(knobs: Knobs) -> tuple[float | None, ...]:
    return knobs.get("guard"), knobs.get("floor")


def _note_without_proposals(judged: Sequence[_Judged]) -> None:
    """A note where nobody proposes at any k. Where somebody does, neighbouring k take those candidates too."""
    if not any(each.proposing.people.any() for each in judged):
        note(
            "too few people calibrate to choose among the ways to adapt: the learner's own is tested. "
            "Let more people calibrate (share, folds)"
        )


def _candidates(evaluate: Evaluate, manifest: Manifest, sizes: Sequence[int]) -> dict[int, Sequence[Knobs]]:
    """The candidates by k: at every k the same, but for the line of their guards."""
    plain = manifest.candidates or (manifest.knobs,)
    if not manifest.guarded:
        return dict.fromkeys(sizes, plain)
    lines = gain_lines(evaluate, plain, sizes)
    return {k: list(_guarded(plain, lines, k)) for k in lines}


def _guarded(plain: Sequence[Knobs], lines: dict[int, MetricSums], k: int) -> Iterable[Knobs]:
    """Every candidate with every weight, guard and floor, and with the line of k, pooled with neighbouring k."""
    users = np.asarray([sums.users for sums in lines.values()])
    weights = neighbour_weights(list(lines), users, list(lines).index(k))
    by_k = np.stack([sums.sums for sums in lines.values()])
    for knobs, sums in zip(plain, by_k.swapaxes(0, 1), strict=True):
        model = fit_gain_model(float(weights @ users) * DRAWS, weights @ sums)
        yield from with_guards(knobs, model, int(users.max()), gains=bool((sums[:, 1] > 0).any()))


def _judge(evaluate: Evaluate, candidates: dict[int, Sequence[Knobs]], limits: Limits) -> list[_Judged]:
    """The figures for every k that some calibration user has rows for."""
    halves: tuple[UserGroup, ...] = ("proposing", "testing")
    questions = [
        CandidateSet(k, options, "gains", who, material=limits.material)
        for k, options in candidates.items()
        for who in halves
    ]
    figures = [_figures(sums) for sums in evaluate(questions)] if questions else []
    judged = [
        _Judged(k, options, proposing, testing)
        for (k, options), proposing, testing in zip(candidates.items(), figures[::2], figures[1::2], strict=True)
    ]
    return [each for each in judged if each.people]


def _figures(found: MetricSums) -> Figures:
    return Figures(np.full(len(found.sums), float(found.users)), found.sums)


def _check_figures(judged: Sequence[_Judged], limits: Limits) -> None:
    """Refuse a share of nothing: with a figure of 0 nobody could be materially hurt by a loss of a share of it."""
    halves = [half for each in judged for half in (each.proposing, each.testing)]
    if limits.material and not any(half.sums[:, FIGURE].any() for half in halves):
        people = judged[0].people
        raise DataError(
            f"the metric is 0 under the initialisation for all {people} calibration users, and material is "
            f"{limits.material:g}: there is no figure to take a share of. Use another metric, or material=0 to count "
            "any loss above one query row's worth"
        )
