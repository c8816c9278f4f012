"""A run configuration, in words and numbers, as the rules that it stands for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from tegu.core.bundle.manifest import Manifest
from tegu.core.compression.precision import check_precision
from tegu.core.errors import DataError, FederationError
from tegu.core.sampling.episode import EpisodeRule
from tegu.server.calibration.calibrate import CalibrationRule
from tegu.server.evaluation.validation import Best, LookRule, Looks, look_questions
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.strategy import RoundSettings

__all__ = ["calibration_from", "looks_from", "outer_from", "settings_from"]


def settings_from(config: Mapping[str, Any], fold: int | None = 0) -> RoundSettings:
    """Round settings from a run configuration; a `clip` of 0 means none.

    Args:
        config: of the run.
        fold: which share of the users is left out, to calibrate; None for nobody.
    """
    rule = EpisodeRule(*(int(config[name]) for name in ("min-support", "max-support", "max-query")))
    clip = float(config["clip"]) or math.inf
    return RoundSettings(
        int(config["cohort"]),
        int(config["seed"]),
        clip,
        rule,
        int(config["users"]),
        check_precision(str(config["updates"])),
        share=0.0 if fold is None else calibration_from(config).apart,
        fold=fold or 0,
    )


def calibration_from(config: Mapping[str, Any]) -> CalibrationRule:
    """How a run configuration calibrates.

    Raises:
        FederationError: `ks` are not whole numbers.
        DataError: a number that is less than 1, or none.
        UnknownNameError: no such metric.
    """
    found = str(config["ks"])
    try:
        ks = tuple(int(part) for part in found.split(",") if part.strip())
    except ValueError as error:
        raise FederationError(f'ks are {found!r}: expected whole numbers with commas between, such as "1,5"') from error
    share, nodes, folds = (config[f"calibration-{name}"] for name in ("share", "nodes", "folds"))
    return CalibrationRule(ks, str(config["metric"]), int(config["seed"]), float(share), int(nodes), int(folds))


def outer_from(config: Mapping[str, Any]) -> OuterRule:
    """The outer optimiser of a run configuration.

    Raises:
        FederationError: `outer-options` is not a JSON object.
        UnknownNameError: no such optimiser.
        DataError: no such option.
    """
    found = config["outer-options"]
    try:
        options = dict(json.loads(found or "{}"))
    except (TypeError, ValueError) as error:
        raise FederationError(
            f'outer-options is {found!r} ({error}): expected a JSON object, such as {{"weight_decay": 0.01}}'
        ) from error
    return OuterRule(str(config["outer"]), float(config["outer-lr"]), options, bool(config["outer-decay"]))


def looks_from(config: Mapping[str, Any], manifest: Manifest, best: Best | None, fold: int | None = 0) -> Looks | None:
    """Who looks at the parameters while the run goes on, and when; None for nobody.

    Args:
        config: of the run.
        manifest: of the bundle to start from.
        best: of the rounds before, where a run is resumed.
        fold: which share of the users is left out, to look on; None for nobody.

    Raises:
        DataError: there is patience and nobody looks, or not in the last training; or a number below 0.
    """
    calibration = calibration_from(config)
    every, patience = int(config["look-every"]), int(config["patience"])
    if patience and calibration.folds:
        raise DataError(
            f"patience is {patience} with {calibration.folds} calibration-folds: everybody has a part in the last "
            "training, so that nobody can look on; set one of them to 0"
        )
    if not every or not calibration.apart or fold is None:
        if patience:
            raise DataError(
                f"patience is {patience} and nobody looks: set look-every and calibration-share above 0, or patience 0"
            )
        return None
    rule = LookRule(every, patience, calibration.judge(manifest).higher_is_better)
    inquiry = calibration.inquiry(manifest, look_questions(calibration.middle, manifest.knobs), fold)
    return Looks(rule, inquiry, int(config["rounds"]), best if patience else None)
