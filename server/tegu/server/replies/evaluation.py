"""Checks of an evaluation reply: each figure is possible in itself, and together they can be sums over some users."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from flwr.app import Message

from tegu.core.calibration.evaluation_request import CandidateSet, EvaluationRequest, MetricSums
from tegu.core.data.batch import Array
from tegu.core.errors import FederationError
from tegu.core.metrics import METRICS
from tegu.server.replies.refusal import RefusedReplyError
from tegu.wire import describe_failure, read_evaluation_reply

__all__ = ["MOST_USERS", "checked_answers"]

MOST_USERS = 10**9
_LARGEST = 1e150  # of any sum: no metric comes near it, and sums and products of such figures stay finite
_ROUNDING = 1e-6  # relative


def checked_answers(message: Message, request: EvaluationRequest) -> list[MetricSums]:
    """The answers in a message, one for each set of candidates.

    A candidate with a figure that is not finite, or too large for any metric, has NaN throughout: some user's value is
    not finite. All other figures are consistent.

    Args:
        message: from a node.
        request: what it answers.

    Raises:
        RefusedReplyError: the reply cannot count.
    """
    if message.has_error():
        raise RefusedReplyError("failed", f"the participant failed: {describe_failure(message.error.reason)}")
    try:
        answers = read_evaluation_reply(message, request)
    except FederationError as error:
        raise RefusedReplyError("unreadable", str(error)) from error
    answers = [_wild_as_nan(answer) for answer in answers]
    with np.errstate(all="ignore"):  # what overflows is refused
        for question, answer in zip(request.questions, answers, strict=True):
            _check_answer(question, answer, request.metric)
    _check_users_by_k(request.questions, answers)
    return answers


def _wild_as_nan(answer: MetricSums) -> MetricSums:
    wild = np.asarray(~(np.abs(answer.sums) <= _LARGEST).all(axis=1))
    return answer._replace(sums=np.where(wild[:, None], np.nan, answer.sums))


def _check_users_by_k(questions: Sequence[CandidateSet], answers: Sequence[MetricSums]) -> None:
    """A user with rows for k has rows for every smaller one."""
    for who in {question.who for question in questions}:
        own = sorted((each.k, answer.users) for each, answer in zip(questions, answers, strict=True) if each.who == who)
        for (k, users), (larger_k, more) in pairwise(own):
            if larger_k > k and more > users:
                raise RefusedReplyError(
                    "inconsistent", f"{more} users have {larger_k} rows and {users} have {k}: expected no more"
                )


def _check_answer(question: CandidateSet, answer: MetricSums, metric: str) -> None:
    users, sums = answer
    if users > MOST_USERS:
        raise RefusedReplyError("users", f"the answer is of {users} users: expected at most {MOST_USERS}")
    rows = sums[~np.isnan(sums).any(1)]
    if not users and sums.any():
        raise RefusedReplyError("inconsistent", "sums over 0 users are not 0")
    wrong = _CHECKS[question.measure](users, question.draws, rows, metric) if users else []
    if wrong:
        raise RefusedReplyError("inconsistent", f"over {users} users, {wrong[0]}")


def _scores(users: int, draws: int, rows: Array, metric: str) -> list[str]:
    del draws
    total, squares = rows.T
    found = METRICS.get(metric)
    lowest, highest = (found.lowest, found.highest) if found else (-math.inf, math.inf)
    own = ~(_at_least(total, _times(users, lowest)) & _at_least(_times(users, highest), total))
    return [
        *_named(own, f"the mean of {metric} is not from {lowest:g} to {highest:g}"),
        *_moments(users, total, squares),
        *_named((lowest >= 0) & ~_at_least(np.square(total), squares), "squares exceed the squared sum"),
    ]


def _gains(users: int, draws: int, rows: Array, metric: str) -> list[str]:
    del draws
    gain, squares, hurt, smoothed, losses, gains, figure, lasting, fourths = rows.T
    size = losses + gains
    return [
        *_counts(users, hurt, "users hurt"),
        *_counts(users, smoothed, "users hurt, smoothed,"),
        *_named((losses < 0) | (gains < 0) | (figure < 0), "losses, gains or the figure are below 0"),
        *_named(
            np.abs(gains - losses - gain) > _ROUNDING * (size + np.abs(gain)), "gains less losses are not the gain"
        ),
        *_named((hurt > 0) & (losses <= 0), "users are hurt and nothing is lost"),
        *_named(~np.isclose(figure, figure[:1], rtol=_ROUNDING), "the figure of one initialisation differs"),
        *_moments(users, gain, squares),
        *_moments(users, lasting, fourths),
        *_named(~_at_least(np.square(size), squares), "squares exceed the squared sum"),
        *_range_of_gains(users, size, metric),
    ]


def _strict(users: int, draws: int, rows: Array, metric: str) -> list[str]:
    del draws
    gain, squares, harm = rows.T
    return [
        *_counts(users, harm, "users hurt"),
        *_moments(users, gain, squares),
        *_range_of_gains(users, np.abs(gain), metric),
    ]


def _lines(users: int, draws: int, rows: Array, metric: str) -> list[str]:
    del metric
    evidence, gain, evidences, both, gains = rows.T
    return [
        *_moments(users * draws, evidence, evidences),
        *_moments(users * draws, gain, gains),
        *_named(~_at_least(np.sqrt(evidences) * np.sqrt(gains), np.abs(both)), "products exceed the squares"),
    ]


_CHECKS = {"scores": _scores, "gains": _gains, "strict": _strict, "lines": _lines}


def _moments(number: int, total: Array, squares: Array) -> list[str]:
    """Squares are at least the squared sum over the number (Cauchy and Schwarz)."""
    fits = (squares >= 0) & _at_least(np.sqrt(squares * number), np.abs(total))
    return _named(~fits, "squares are less than the squared sum allows")


def _counts(users: int, count: Array, what: str) -> list[str]:
    return _named((count < 0) | (count > users * (1 + _ROUNDING)), f"{what} are not from 0 to {users}")


def _range_of_gains(users: int, size: Array, metric: str) -> list[str]:
    found = METRICS.get(metric)
    most = found.highest - found.lowest if found else math.inf
    return _named(~_at_least(_times(users, most), size), f"gains of {metric} exceed {most:g}")


def _times(users: int, limit: float) -> float:
    return users * limit


def _at_least(larger: Array | float, smaller: Array | float) -> Array:
    """`larger >= smaller`, up to rounding. A NaN is not."""
    slack = _ROUNDING * np.maximum(np.abs(larger), np.abs(smaller)) if np.isfinite(larger).all() else 0.0
    fits: Array = np.asarray(larger + slack >= smaller)
    return fits


def _named(wrong: Array, text: str) -> list[str]:
    return [text] if np.asarray(wrong).any() else []
