"""A training plan as Flower's run configuration, which is flat and holds text, numbers and booleans; and back.

What a key means is said where the plan has it (`tegu.server.training.plan`). What the plan has as None is written as:

    nodes               0
    validate-every      -1
    calibration-share   -1.0
    calibration-folds   -1
    calibration-metric  empty

`clip` is 0 where updates are not clipped, `calibration-ks` is a list such as "1,2,5", and `outer-options` a JSON object
such as {"weight_decay": 0.01}.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from tegu.core.errors import FederationError, UnknownNameError
from tegu.core.metrics import find_metric
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CalibrationPlan, CohortPlan, EarlyStopping, TrainingPlan, UpdatePlan

__all__ = ["Scalar", "from_config", "to_config"]

Scalar: TypeAlias = "bool | int | float | str"
_AUTOMATIC = -1
_EXPECTED = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def to_config(plan: TrainingPlan) -> dict[str, Scalar]:
    """The plan, setting by setting; `from_config` gives an equal one back.

    Raises:
        UnknownNameError: the plan's metric is none of `tegu.core.metrics.METRICS`, so that devices do not have it.
    """
    cohort, stopping, calibration = plan.cohort, plan.early_stopping, plan.calibration
    return {
        "rounds": plan.rounds,
        "seed": plan.seed,
        "cohort": cohort.size,
        "nodes": cohort.nodes or 0,
        "users-per-node": cohort.users_per_node,
        "wait-seconds": float(cohort.wait_seconds),
        "min-support": plan.episodes.min_support,
        "max-support": plan.episodes.max_support,
        "max-query": plan.episodes.max_query,
        "outer": plan.outer.name,
        "outer-lr": float(plan.outer.lr),
        "outer-decay": plan.outer.decay,
        "outer-options": json.dumps(dict(plan.outer.options)),
        "update-precision": plan.updates.precision,
        "clip": 0.0 if math.isinf(plan.updates.clip) else float(plan.updates.clip),
        "validate-every": _AUTOMATIC if stopping.validate_every is None else stopping.validate_every,
        "patience": stopping.patience,
        "calibration-share": float(_AUTOMATIC if calibration.share is None else calibration.share),
        "calibration-folds": _AUTOMATIC if calibration.folds is None else calibration.folds,
        "calibration-nodes": calibration.nodes,
        "calibration-ks": ",".join(map(str, calibration.ks)),
        "calibration-metric": "" if calibration.metric is None else find_metric(calibration.metric.name).name,
        "calibration-risk": float(calibration.risk),
    }


def from_config(config: Mapping[str, Any]) -> TrainingPlan:
    """The plan of a run configuration; a setting that it does not name is the plan's default.

    Args:
        config: keys of `to_config` alone.

    Raises:
        UnknownNameError: no such setting, metric, optimiser or precision.
        FederationError: a value of another type, or text that cannot be read.
        DataError: a value out of range, or settings that exclude each other.
    """
    defaults = to_config(TrainingPlan())
    for key in config:
        if key not in defaults:
            raise UnknownNameError("setting of a run", key, defaults)
    found: dict[str, Any] = {key: _typed(key, config.get(key, like), like) for key, like in defaults.items()}
    return TrainingPlan(
        rounds=found["rounds"],
        seed=found["seed"],
        cohort=CohortPlan(found["cohort"], found["nodes"] or None, found["users-per-node"], found["wait-seconds"]),
        episodes=EpisodeRule(found["min-support"], found["max-support"], found["max-query"]),
        outer=OuterRule(found["outer"], found["outer-lr"], _options(found["outer-options"]), found["outer-decay"]),
        updates=UpdatePlan(found["update-precision"], found["clip"] or math.inf),
        early_stopping=EarlyStopping(_unless_automatic(found["validate-every"]), found["patience"]),
        calibration=CalibrationPlan(
            _unless_automatic(found["calibration-share"]),
            _unless_automatic(found["calibration-folds"]),
            found["calibration-nodes"],
            _ks(found["calibration-ks"]),
            find_metric(found["calibration-metric"]) if found["calibration-metric"] else None,
            found["calibration-risk"],
        ),
    )


def _typed(key: str, value: Any, like: Scalar) -> Scalar:
    """The value, where it is of the default's type; a whole number will do for a float."""
    kind = type(like)
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise FederationError(f"{key} is {value!r}: expected {_EXPECTED[kind]}, such as {json.dumps(like)}")
    return kind(value)


def _unless_automatic(value: Any) -> Any:
    return None if value == _AUTOMATIC else value


def _ks(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise FederationError(
            f'calibration-ks is {text!r}: expected whole numbers with commas between, such as "1,5"'
        ) from error


def _options(text: str) -> dict[str, float]:
    try:
        return dict(json.loads(text or "{}"))
    except (TypeError, ValueError) as error:
        raise FederationError(
            f'outer-options is {text!r} ({error}): expected a JSON object, such as {{"weight_decay": 0.01}}'
        ) from error
