"""The contents of `rounds.json`: what a federation's training did."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tegu.core.data.tree import digest
from tegu.core.metrics import Metric
from tegu.server.evaluation.decline import decline_as_json
from tegu.server.evaluation.early_stopping import decline_of
from tegu.server.evaluation.validation import mean_validations
from tegu.server.federated_training import TrainedRounds

__all__ = ["summary_of"]

_log = logging.getLogger(__name__)


def summary_of(done: TrainedRounds, by_fold: Sequence[TrainedRounds], rounds: int, metric: Metric) -> dict[str, Any]:
    """The contents of `rounds.json`. A clear decline of the validation figure is also logged."""
    validations = mean_validations([one.validations.found for one in by_fold if one.validations is not None])
    decline = decline_as_json(decline_of(validations, metric.higher_is_better), metric.name, done.kept)
    if decline.get("warning"):
        _log.warning("%s", decline["warning"])
    return {
        "rounds": rounds,
        "kept_round": done.kept,
        "resumed_at": done.resumed_at,
        "users": done.users,
        "meta": digest(done.meta),
        "validations": [validation.as_json() for validation in validations],
        "decline": decline,
        "privacy": done.privacy,
        "refused": _refused_by_code(done),
        "refused_in_validation": [each.as_json() for each in done.log.evaluation],
        "log": [{k: v for k, v in event.items() if k not in ("event", "fold", "rounds")} for event in done.records],
    }


def _refused_by_code(done: TrainedRounds) -> dict[str, int]:
    """Number of refused replies by code: of all training rounds, and of the evaluation rounds run now."""
    counted = Counter(each["code"] for event in done.records for each in (*event["failed"], *event["refused"]))
    counted.update(each.code for each in done.log.evaluation)
    return dict(counted)
