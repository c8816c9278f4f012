"""A training plan as Flower's run configuration and back. The configuration is flat: text, numbers and booleans.

`tegu.server.training.plan` documents every setting. Where a setting of the plan is None, the configuration holds:

- `nodes`, `rounds` and `cohort`: 0
- `outer`: empty, with the default `outer-lr`, `outer-decay`, `outer-averaged` and `outer-options`
- `validate-every`: -1, and -2 for "growing"
- `until-flat`: -1, and otherwise 1 for True and 0 for False
- `calibration-share`: -1.0
- `calibration-folds`: -1
- `calibration-confidence`: -1.0
- `calibration-metric`: empty
- `quorum`: 0
- `oversampling`: -1.0
- `epsilon` and `noise`: 0.0
- `noise-seed`: -1

A `calibration-risk` of -1 means "strict", and a `calibration-harm-ratio` of -1 no limit.

A `clip` of -1 means None, which is adaptive clipping in a federation; -2 means "adaptive", and 0 no clipping.
`calibration-ks` is a list such as "1,2,5". `outer-options` is a JSON object such as {"weight_decay": 0.01}.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from tegu.core.errors import FederationError, UnknownNameError
from tegu.core.metrics import find_metric
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.evaluation.early_stopping import Interval
from tegu.server.privacy.plan import PrivacyPlan
from tegu.server.rounds.reply_plan import ReplyPlan
from tegu.server.training.automatic import with_recommended
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, EarlyStopping, TrainingPlan, UpdatePlan

__all__ = ["Scalar", "from_config", "to_config"]

Scalar: TypeAlias = "bool | int | float | str"
_AUTOMATIC = _NO_LIMIT = _STRICT = -1
_ADAPTIVE = -2
_GROWING = -2
_EXPECTED = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def to_config(plan: TrainingPlan) -> dict[str, Scalar]:
    """The run configuration of a plan. `from_config` turns it into an equal plan.

    Raises:
        UnknownNameError: the plan's metric is not in `tegu.core.metrics.METRICS`, so devices do not have it.
    """
    cohort, stopping, calibration, replies = plan.cohort, plan.early_stopping, plan.calibration, plan.replies
    outer = plan.outer or OuterRule()
    return {
        "rounds": plan.rounds or 0,
        "seed": plan.seed,
        "cohort": cohort.size or 0,
        "nodes": cohort.nodes or 0,
        "users-per-node": cohort.users_per_node,
        "wait-seconds": float(cohort.wait_seconds),
        "min-support": plan.episodes.min_support,
        "max-support": plan.episodes.max_support,
        "max-query": plan.episodes.max_query,
        "outer": plan.outer.name if plan.outer else "",
        "outer-lr": float(outer.lr),
        "outer-decay": outer.decay,
        "outer-averaged": outer.averaged,
        "outer-options": json.dumps(dict(outer.options)),
        "update-precision": plan.updates.precision,
        "clip": _clip_value(plan.updates.clip),
        "aggregation": plan.updates.aggregation,
        "attackers": float(plan.updates.attackers),
        "validate-every": _interval_as_number(stopping.validate_every),
        "patience": stopping.patience,
        "until-flat": _AUTOMATIC if stopping.until_flat is None else int(stopping.until_flat),
        "calibration-share": float(_AUTOMATIC if calibration.share is None else calibration.share),
        "calibration-folds": _AUTOMATIC if calibration.folds is None else calibration.folds,
        "calibration-nodes": calibration.nodes,
        "calibration-ks": ",".join(map(str, calibration.ks)),
        "calibration-metric": "" if calibration.metric is None else find_metric(calibration.metric.name).name,
        "calibration-risk": float(_STRICT if calibration.risk == "strict" else calibration.risk),
        "calibration-material": float(calibration.material),
        "calibration-harm-ratio": float(_NO_LIMIT)
        if math.isinf(calibration.harm_ratio)
        else float(calibration.harm_ratio),
        "calibration-confidence": float(_AUTOMATIC if calibration.confidence is None else calibration.confidence),
        "quorum": replies.quorum or 0,
        "deadline": float(replies.deadline),
        "oversampling": float(_AUTOMATIC if replies.oversampling is None else replies.oversampling),
        "attempts": replies.attempts,
        "buffer": replies.buffer,
        "most-stale": replies.most_stale,
        "epsilon": float(plan.privacy.epsilon or 0),
        "delta": float(plan.privacy.delta),
        "noise": float(plan.privacy.noise or 0),
        "noise-seed": _AUTOMATIC if plan.privacy.seed is None else plan.privacy.seed,
        "local-noise": float(plan.privacy.local_noise),
        "first-clip": float(plan.privacy.first_clip),
    }


def from_config(config: Mapping[str, Any]) -> TrainingPlan:
    """The plan of a run configuration. Settings that it does not contain have the plan's defaults.

    Args:
        config: values by key. Only the keys of `to_config` are allowed.

    Raises:
        UnknownNameError: no such setting, metric, optimiser or precision.
        FederationError: a value of the wrong type, or text that cannot be parsed.
        DataError: a value out of range, or settings that exclude each other.
    """
    defaults = to_config(TrainingPlan())
    for key in config:
        if key not in defaults:
            raise UnknownNameError("setting of a run", key, defaults)
    examples = to_config(with_recommended(TrainingPlan(), None))
    values: dict[str, Any] = {
        key: _typed(key, config.get(key, default), examples[key]) for key, default in defaults.items()
    }
    return TrainingPlan(
        rounds=values["rounds"] or None,
        seed=values["seed"],
        cohort=CohortPlan(
            values["cohort"] or None, values["nodes"] or None, values["users-per-node"], values["wait-seconds"]
        ),
        episodes=EpisodeRule(values["min-support"], values["max-support"], values["max-query"]),
        outer=_outer(values),
        updates=UpdatePlan(
            values["update-precision"], _clip(values["clip"]), values["aggregation"], values["attackers"]
        ),
        early_stopping=EarlyStopping(
            "growing" if values["validate-every"] == _GROWING else _unless_automatic(values["validate-every"]),
            values["patience"],
            _yes_or_no("until-flat", values["until-flat"]),
        ),
        calibration=CalibrationPlan(
            _unless_automatic(values["calibration-share"]),
            _unless_automatic(values["calibration-folds"]),
            values["calibration-nodes"],
            _ks(values["calibration-ks"]),
            find_metric(values["calibration-metric"]) if values["calibration-metric"] else None,
            "strict" if values["calibration-risk"] == _STRICT else values["calibration-risk"],
            values["calibration-material"],
            math.inf if values["calibration-harm-ratio"] == _NO_LIMIT else values["calibration-harm-ratio"],
            _unless_automatic(values["calibration-confidence"]),
        ),
        replies=ReplyPlan(
            values["quorum"] or None,
            values["deadline"],
            _unless_automatic(values["oversampling"]),
            values["attempts"],
            values["buffer"],
            values["most-stale"],
        ),
        privacy=PrivacyPlan(
            values["epsilon"] or None,
            values["delta"],
            values["noise"] or None,
            values["local-noise"],
            values["first-clip"],
            _unless_automatic(values["noise-seed"]),
        ),
    )


def _typed(key: str, value: Any, like: Scalar) -> Scalar:
    """The value, checked to be of the example's type. A whole number is accepted as a float."""
    kind = type(like)
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise FederationError(f"{key} is {value!r}: expected {_EXPECTED[kind]}, such as {json.dumps(like)}")
    return kind(value)


def _outer(values: Mapping[str, Any]) -> OuterRule | None:
    """The outer optimiser; None if it is automatic.

    Raises:
        FederationError: a setting of the optimiser without its name.
    """
    rule = OuterRule(
        values["outer"] or OuterRule.name, values["outer-lr"], {}, values["outer-decay"], values["outer-averaged"]
    )
    options = _options(values["outer-options"])
    if values["outer"]:
        return replace(rule, options=options)
    if rule != OuterRule() or options:
        raise FederationError(
            f"outer is empty, which means automatic, with outer-lr {rule.lr}, outer-decay {json.dumps(rule.decay)}, "
            f"outer-averaged {json.dumps(rule.averaged)} and outer-options {json.dumps(options)}: name the optimiser "
            "that they are for, such as outer = 'SGD'"
        )
    return None


def _clip_value(clip: float | str | None) -> float:
    if clip is None or isinstance(clip, str):
        return float(_AUTOMATIC if clip is None else _ADAPTIVE)
    return 0.0 if math.isinf(clip) else float(clip)


def _clip(value: float) -> float | Literal["adaptive"] | None:
    if value in (_AUTOMATIC, _ADAPTIVE):
        return None if value == _AUTOMATIC else "adaptive"
    return value or math.inf


def _interval_as_number(every: Interval | None) -> int:
    return _AUTOMATIC if every is None else _GROWING if every == "growing" else every


def _yes_or_no(key: str, value: int) -> bool | None:
    if value not in (_AUTOMATIC, 0, 1):
        raise FederationError(f"{key} is {value}: expected 1 for yes, 0 for no, or {_AUTOMATIC} for automatic")
    return None if value == _AUTOMATIC else bool(value)


def _unless_automatic(value: Any) -> Any:
    return None if value == _AUTOMATIC else value


def _ks(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise FederationError(
            f'calibration-ks is {text!r}: expected whole numbers separated by commas, such as "1,5"'
        ) from error


def _options(text: str) -> dict[str, float]:
    try:
        return dict(json.loads(text or "{}"))
    except (TypeError, ValueError) as error:
        raise FederationError(
            f'outer-options is {text!r} ({error}): expected a JSON object, such as {{"weight_decay": 0.01}}'
        ) from error
