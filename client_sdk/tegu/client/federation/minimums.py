"""What a device demands of every round. No run configuration lowers it: it stands in the node's own configuration.

A device of one person always answers for that person alone. What protects the person then is the number of rows, the
clip, and whether the device takes part at all. See docs/concepts/federation.md for what a server can still learn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from tegu.core.bundle.manifest import Manifest
from tegu.core.calibration.evaluation_request import EvaluationRequest, MetricSums
from tegu.core.calibration.guard import Guard
from tegu.core.errors import DataError, FederationError, UnknownNameError
from tegu.core.scalars import real_number, whole_number

__all__ = [
    "BelowMinimumError",
    "Minimums",
    "check_evaluation",
    "check_training",
    "check_training_reply",
    "few_people_hidden",
    "read_minimums",
]

_PEOPLE, _EVALUATED = 5, 2
_MOST_SHARE = 0.5  # of all users who calibrate; with more, a round would train few people or one
_MOST_DRAWS = 100
_PREFIXES = ("least-", "largest-", "most-")  # a misspelt minimum is found by them


class BelowMinimumError(FederationError):
    """A round asks for less than the device demands. `code` names the demand, and tells nothing about the device."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Minimums:
    """What a device demands. In a node's configuration, names have hyphens: `least-people`.

    Attributes:
        least_people: people that a training reply stands for. 0 means a quarter of the device's people, at most five.
        least_rows: rows that a training reply stands for, support and query together.
        least_evaluated: people that an answer of an evaluation round stands for; a question for fewer gets no answer.
            0 means a quarter of the device's people, at most two.
        largest_clip: largest clip of a round; infinite for any, and for none.
        least_noise: noise multiplier that the device adds to a training reply (`local-noise` of a run). Noise that the
            server says it adds does not count: the device cannot see it.
        most_candidates: candidates that an evaluation round may ask for.
        trains: whether the device answers training rounds.
        evaluates: whether the device answers evaluation rounds.

    Raises:
        DataError: a number is out of range.
    """

    least_people: int = 0
    least_rows: int = 8
    least_evaluated: int = 0
    largest_clip: float = math.inf
    least_noise: float = 0.0
    most_candidates: int = 20_000
    trains: bool = True
    evaluates: bool = True

    def __post_init__(self) -> None:
        for name in ("least_people", "least_rows", "least_evaluated", "most_candidates"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), 0))
        for name in ("trains", "evaluates"):
            if not isinstance(getattr(self, name), bool):
                raise DataError(f"{name} is {getattr(self, name)!r}: expected true or false")
        for name in ("largest_clip", "least_noise"):
            object.__setattr__(self, name, real_number(name, getattr(self, name), 0))


def read_minimums(node_config: Mapping[str, Any]) -> Minimums:
    """The minimums in a node's configuration. A simulated node, which has no data of its own, demands nothing.

    Args:
        node_config: names and values.

    Raises:
        DataError: a number is out of range.
        UnknownNameError: no such minimum.
    """
    if "data" not in node_config:
        return Minimums(least_people=1, least_rows=0, least_evaluated=1)
    names = {field.name.replace("_", "-"): field.name for field in fields(Minimums)}
    said = {key: value for key, value in node_config.items() if key in names or key.startswith(_PREFIXES)}
    if wrong := [key for key in said if key not in names]:
        raise UnknownNameError("minimum", wrong[0], names)
    return Minimums(**{names[key]: value for key, value in said.items()})


def check_training(minimums: Minimums, clip: float, calibration_share: float, local_noise: float = 0.0) -> None:
    """Check a training round before anything is computed.

    Args:
        minimums: of the device.
        clip: largest norm of one user's update.
        calibration_share: of all users.
        local_noise: noise multiplier that the round asks the device to add.

    Raises:
        BelowMinimumError: the device does not answer it.
    """
    if not minimums.trains:
        raise BelowMinimumError("no-training", "this device answers no training round (trains)")
    if not clip <= minimums.largest_clip:
        raise BelowMinimumError("large-clip", f"the clip is {clip}: largest-clip is {minimums.largest_clip}")
    if local_noise < minimums.least_noise:
        raise BelowMinimumError(
            "little-noise", f"the round's local noise is {local_noise}: least-noise is {minimums.least_noise}"
        )
    _check_share(calibration_share)


def check_training_reply(minimums: Minimums, people: int, rows: int, on_device: int) -> None:
    """Check what a training reply stands for, before it leaves the device.

    Args:
        minimums: of the device.
        people: in the sum.
        rows: that their episodes have.
        on_device: number of people whom the device has.

    Raises:
        BelowMinimumError: too few people or rows.
    """
    least = minimums.least_people or _of(on_device, _PEOPLE)
    if people < least:
        raise BelowMinimumError("few-people", f"the reply stands for {people} people: least-people is {least}")
    if rows < minimums.least_rows:
        raise BelowMinimumError("few-rows", f"the reply stands for {rows} rows: least-rows is {minimums.least_rows}")


def check_evaluation(minimums: Minimums, request: EvaluationRequest, manifest: Manifest) -> None:
    """Check the size of an evaluation round, and that it asks for the bundle's own candidates.

    Raises:
        BelowMinimumError: the device does not answer it.
    """
    if not minimums.evaluates:
        raise BelowMinimumError("no-evaluation", "this device answers no evaluation round (evaluates)")
    asked = sum(len(question.options) for question in request.questions)
    draws = max((question.draws for question in request.questions), default=0)
    if asked > minimums.most_candidates or draws > _MOST_DRAWS:
        raise BelowMinimumError(
            "many-candidates",
            f"{asked} candidates with {draws} draws: most-candidates is {minimums.most_candidates}, with "
            f"{_MOST_DRAWS} draws",
        )
    _check_share(request.share)
    known = [manifest.knobs, manifest.unadapted, *manifest.candidates]
    guard = {field.name for field in fields(Guard)}
    for question in request.questions:
        for knobs in question.options:
            if knobs.keys() != manifest.knobs.keys():
                raise BelowMinimumError("other-candidates", f"a candidate has the knobs {sorted(knobs)}")
            for name, value in knobs.items():
                if not math.isfinite(value) or (name not in guard and all(value != own[name] for own in known)):
                    raise BelowMinimumError(
                        "other-candidates", f"{name} = {value} is not among the bundle's candidates"
                    )


def few_people_hidden(minimums: Minimums, answers: Sequence[MetricSums], on_device: int) -> list[MetricSums]:
    """The answers, without those that stand for too few people.

    Args:
        minimums: of the device.
        answers: of an evaluation round.
        on_device: number of people whom the device has.

    Raises:
        BelowMinimumError: no answer is left, and some would have been.
    """
    least = minimums.least_evaluated or _of(on_device, _EVALUATED)
    hidden = [answer if answer.users >= least else _nobody(answer) for answer in answers]
    most = max((answer.users for answer in answers), default=0)
    if 0 < most < least:
        raise BelowMinimumError("few-people", f"every answer stands for at most {most} people: expected {least}")
    return hidden


def _nobody(answer: MetricSums) -> MetricSums:
    return MetricSums(0, np.zeros_like(answer.sums))


def _of(on_device: int, most: int) -> int:
    """A quarter of the people, rounded up, from 1 to `most`."""
    return min(most, max(1, -(-on_device // 4)))


def _check_share(share: float) -> None:
    if not 0 <= share <= _MOST_SHARE:
        raise BelowMinimumError("large-share", f"{share} of all users calibrate: expected at most {_MOST_SHARE}")
