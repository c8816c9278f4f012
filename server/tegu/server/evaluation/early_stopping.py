"""Early stopping: when a run is validated, when it stops, and which round's parameters are kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from tegu.core.calibration.evaluation_request import EvaluationRequest, MetricSums
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.server.evaluation.decline import Decline, ValidationPoint, decline_from
from tegu.server.evaluation.flatness import is_comparison_round, is_flat, is_growing_round, kept_round
from tegu.server.evaluation.validation import Validation, validation_from_sums, without_comparison

__all__ = ["Best", "Interval", "ValidationHistory", "ValidationRule", "Validations", "decline_of"]

Interval: TypeAlias = int | Literal["growing"]
"""Rounds between validations: a number, 0 for no validation, or distances that grow (`flatness.is_growing_round`)."""


class Best(NamedTuple):
    """The parameters after the best validation so far, and their round."""

    round: int
    meta: Tree

    def __repr__(self) -> str:
        return f"Best(round={self.round}, meta of {len(self.meta)} arrays)"


class ValidationHistory(NamedTuple):
    """The validations of earlier rounds, for a run that is resumed.

    Attributes:
        validations: in order of rounds.
        best: parameters of the best round; None if no rule asks for them.
    """

    validations: tuple[Validation, ...] = ()
    best: Best | None = None


@dataclass(frozen=True)
class ValidationRule:
    """When to validate, and when to stop.

    Attributes:
        every: rounds between validations. The first and the last round are validated as well.
        patience: stop after this many validations without improvement, once the figure has clearly declined from its
            best (`tegu.server.evaluation.decline`). The best round's parameters are kept after a clear decline, and
            the last round's otherwise. 0 runs every round and keeps the last round's parameters.
        higher_is_better: direction of the metric.
        until_flat: stop once the figures no longer rise, and keep the last round that was about as good as the best
            (`tegu.server.evaluation.flatness`).

    Raises:
        DataError: a negative number, or a rule to stop without validations.
    """

    every: Interval
    patience: int = 0
    higher_is_better: bool = True
    until_flat: bool = False

    def __post_init__(self) -> None:
        negative = self.every != "growing" and self.every < 0
        if negative or self.patience < 0 or ((self.patience or self.until_flat) and not self.every):
            raise DataError(
                f"validations are {self.every} rounds apart, patience is {self.patience} and until_flat is "
                f"{self.until_flat}: expected numbers of at least 0; patience above 0 and until_flat need at least 1 "
                "round between validations"
            )

    def includes(self, number: int, rounds: int) -> bool:
        """Whether round `number` of a run of `rounds` rounds is validated."""
        if self.every == "growing":
            return number in (1, rounds) or is_growing_round(number)
        return bool(self.every) and (number in (1, rounds) or number % self.every == 0)

    def compares(self, number: int) -> bool:
        """Whether the validation of round `number` includes the comparison group."""
        return self.every != "growing" or is_comparison_round(number)

    @property
    def keeps_best(self) -> bool:
        """Whether the best round's parameters may be kept in place of the last round's."""
        return bool(self.patience) or self.until_flat


class Validations:
    """All validations of a run.

    Args:
        rule: when to validate, and when to stop.
        request: the evaluation request of a validation, with the candidates of `validation_candidates`.
        rounds: of the whole run.
        history: of the earlier rounds of a resumed run.

    Attributes:
        found: the validations so far, in order of rounds.
        seconds: total time spent on validation.
    """

    def __init__(
        self, rule: ValidationRule, request: EvaluationRequest, rounds: int, history: ValidationHistory | None = None
    ) -> None:
        self.rule, self._request = rule, request
        # A history without the best round's parameters is of no use if they may be kept.
        if history is None or (rule.keeps_best and history.best is None):
            history = ValidationHistory()
        self.found: list[Validation] = list(history.validations)
        self.seconds = 0.0
        self._best = history.best if rule.keeps_best else None
        self._rounds, self._started = rounds, 0.0

    def __repr__(self) -> str:
        return f"Validations({len(self.found)} of {self._rounds} rounds, {self.rule})"

    @property
    def history(self) -> ValidationHistory:
        """The validations so far, as a checkpoint stores them."""
        return ValidationHistory(tuple(self.found), self._best)

    @property
    def decline(self) -> Decline | None:
        """The decline from the best validation to the last; None before the first validation."""
        return decline_of(self.found, self.rule.higher_is_better)

    @property
    def stopped(self) -> bool:
        """Whether patience has run out, or the figures no longer rise."""
        if self.rule.until_flat:
            return is_flat(self.found, self.rule.higher_is_better)
        decline, patience = self.decline, self.rule.patience
        return decline is not None and 0 < patience <= decline.points and decline.clear

    @property
    def kept(self) -> Best | None:
        """The best round's parameters if the figure has clearly declined since; None to keep the last round's.

        A rule `until_flat` always keeps the best round's. With patience:
        The highest of many noisy figures is partly luck, so a difference within noise is no reason to undo training.
        Later rounds also have the smaller steps of a decaying learning rate.
        """
        if self.rule.until_flat:
            return self._best
        decline = self.decline
        return self._best if decline is not None and decline.clear else None

    def is_due(self, number: int) -> bool:
        """Whether to validate after this round."""
        return self.rule.includes(number, self._rounds)

    def request(self, number: int) -> EvaluationRequest:
        """The evaluation request of the validation after this round; see `ValidationRule.compares`."""
        if self.rule.compares(number):
            return self._request
        return self._request._replace(questions=without_comparison(self._request.questions))

    def start_timer(self) -> None:
        """Note that a validation starts. `record` adds its duration to `seconds`."""
        self._started = time.perf_counter()

    def record(self, number: int, answers: Sequence[MetricSums], meta: Tree) -> Validation | None:
        """Add the validation of a round.

        Args:
            number: of the round.
            answers: results for the questions of `request`, summed over nodes.
            meta: parameters after the round, kept if they are the best so far and there is patience.

        Returns:
            The validation; None if no calibration user took part.
        """
        self.seconds += time.perf_counter() - self._started
        validation = validation_from_sums(number, answers, self.rule.higher_is_better)
        if validation is not None:
            self.found.append(validation)
            if self.rule.keeps_best and self._best_round() == number:
                self._best = Best(number, meta)
        return validation

    def _best_round(self) -> int | None:
        if self.rule.until_flat:
            return kept_round(self.found, self.rule.higher_is_better)
        return None if self.decline is None else self.decline.since


def decline_of(validations: Sequence[Validation], higher_is_better: bool) -> Decline | None:
    """How far the calibration users' figure is below its best at the last validation; None without validations."""
    points = [ValidationPoint(one.round, one.personalised, one.personalised_error) for one in validations]
    return decline_from(points, higher_is_better)
