"""The Flower ServerApp: `tegu.server.app:app`. Trains a bundle's initialisation, calibrates its schedule, writes both.

Run configuration (the app's `pyproject.toml` holds the defaults):

    bundle      the bundle to start from
    out         folder for `init.tegu` and `rounds.json`
    checkpoints folder for a checkpoint after every round, `<out>/checkpoints` where empty; a run found there is resumed
    rounds      of the whole run
    cohort      nodes a round; as many must be connected
    users       how many of a node's users take part in a round; 0 for all of them
    updates     how replies carry their update: float32, float16 or int8
    seed, clip, min-support, max-support, max-query
    outer, outer-lr, outer-decay
    outer-options   further options of the outer optimiser as JSON, such as {"weight_decay": 0.01}
    calibration-share   of all users who calibrate and take no part in training; 0 keeps the bundle's own schedule
    calibration-nodes   how many nodes are asked to calibrate; 0 for all that are connected
    ks          numbers of interactions to calibrate for, such as "1,2,5"
    metric      what to judge by, such as rmse; the usual one of the kind of problem where empty
    look-every  rounds from one look at the parameters to the next, by those who calibrate, at the middle one of ks; 0
                for none
    patience    so many looks in turn without a better one end the run, and the best one's parameters are kept; 0 for
                all rounds, and the last one's
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from tegu.core.bundle import Bundle, atomic_write, read_bundle, write_bundle
from tegu.core.episode import EpisodeRule
from tegu.core.errors import DataError, FederationError
from tegu.core.manifest import Manifest
from tegu.core.precision import check_precision
from tegu.core.tree import Tree, digest
from tegu.server.calibration import CalibrationRule, calibrated, judged
from tegu.server.checkpoint import latest_checkpoint
from tegu.server.looks import Best, Look, LookRule, Looks, gap_in_words, look_questions
from tegu.server.outer import OuterOptimiser, OuterRule
from tegu.server.strategy import MetaStrategy, RoundSettings
from tegu.wire import to_record

__all__ = ["app", "calibration_from", "looks_from", "outer_from", "settings_from", "train"]

_log = logging.getLogger(__name__)

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds that are missing, calibrate, then write the bundle."""
    train(grid, context.run_config)


def settings_from(config: Mapping[str, Any]) -> RoundSettings:
    """Round settings from a run configuration; a `clip` of 0 means none."""
    rule = EpisodeRule(*(int(config[name]) for name in ("min-support", "max-support", "max-query")))
    clip = float(config["clip"]) or math.inf
    return RoundSettings(
        int(config["cohort"]),
        int(config["seed"]),
        clip,
        rule,
        int(config["users"]),
        check_precision(str(config["updates"])),
        share=float(config["calibration-share"]),
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
    share, nodes = float(config["calibration-share"]), int(config["calibration-nodes"])
    return CalibrationRule(ks, str(config["metric"]), int(config["seed"]), share, nodes)


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


def looks_from(config: Mapping[str, Any], manifest: Manifest, best: Best | None) -> Looks | None:
    """Who looks at the parameters while the run goes on, and when; None for nobody.

    Args:
        config: of the run.
        manifest: of the bundle to start from.
        best: of the rounds before, where a run is resumed.

    Raises:
        DataError: there is patience and nobody looks, or a number below 0.
    """
    calibration = calibration_from(config)
    every, patience = int(config["look-every"]), int(config["patience"])
    if not every or not calibration.share:
        if patience:
            raise DataError(
                f"patience is {patience} and nobody looks: set look-every and calibration-share above 0, or patience 0"
            )
        return None
    rule = LookRule(every, patience, calibration.judge(manifest).higher_is_better)
    inquiry = calibration.inquiry(manifest, look_questions(calibration.middle, manifest.knobs))
    return Looks(rule, inquiry, int(config["rounds"]), best if patience else None)


def train(grid: Grid, config: Mapping[str, Any]) -> Bundle:
    """Train `config["bundle"]` over the nodes of `grid`, calibrate it, and write the result to `config["out"]`.

    Raises:
        FederationError: too few nodes, a round without a usable reply, a checkpoint of another optimiser, or nobody
            to calibrate.
        BundleError: the bundle cannot be read, or the result cannot be written.
        DataError: settings out of range, or an option that the outer optimiser does not have.
    """
    if not config["bundle"] or not config["out"]:
        raise FederationError("bundle and out are not set: flwr run ... --run-config \"bundle='...' out='...'\"")
    start, out = read_bundle(config["bundle"]), Path(str(config["out"]))
    calibration = calibration_from(config)
    done = _rounds(grid, config, start)
    training = {
        "rounds": int(config["rounds"]),
        "kept_round": done.kept,
        "seed": int(config["seed"]),
        "outer": str(config["outer"]),
        "users_a_round": done.users,
    }
    # What held-out people were told of is the start, and no longer this.
    manifest = replace(start.manifest, training=training, heldout=())
    summary = _summary(done, int(config["rounds"]))
    if calibration.share:
        manifest = replace(manifest, schedule=calibrated(grid, done.meta, manifest, calibration))
        summary |= _gap(judged(grid, done.meta, manifest, calibration, done.kept), calibration.judge(manifest).name)
    bundle = replace(start, meta=done.meta, manifest=manifest)
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(out / "rounds.json", json.dumps(summary, indent=1).encode())
    return write_bundle(out / "init.tegu", bundle)


class _Rounds(NamedTuple):
    """What the rounds gave: see `MetaStrategy.kept`, and users by round of those that were run now."""

    kept: int
    meta: Tree
    resumed_at: int
    users: Mapping[str, int]
    looks: Looks | None


def _rounds(grid: Grid, config: Mapping[str, Any], start: Bundle) -> _Rounds:
    """The rounds that are missing."""
    rounds, rule = int(config["rounds"]), outer_from(config)
    checkpoints = Path(str(config["checkpoints"] or Path(str(config["out"])) / "checkpoints"))
    checkpoint = latest_checkpoint(checkpoints)
    outer = OuterOptimiser(checkpoint.meta if checkpoint else start.meta, rule, rounds)
    if checkpoint:
        outer.restore(checkpoint.outer)
    done = checkpoint.round if checkpoint else 0
    looks = looks_from(config, start.manifest, checkpoint.best if checkpoint else None)
    users: dict[str, int] = {}  # strings, as JSON will have them
    strategy = MetaStrategy(
        outer,
        settings_from(config),
        checkpoints=checkpoints,
        done=done,
        on_round=lambda number, meta, count: users.update({str(number): count}),
        looks=looks,
    )
    if done < rounds:
        strategy.start(grid, to_record(outer.meta), num_rounds=rounds - done)
    return _Rounds(*strategy.kept, done, users, looks)


def _summary(done: _Rounds, rounds: int) -> dict[str, Any]:
    """`rounds.json`."""
    return {
        "rounds": rounds,
        "kept_round": done.kept,
        "resumed_at": done.resumed_at,
        "users": done.users,
        "meta": digest(done.meta),
        "looks": [] if done.looks is None else [look.as_json() for look in done.looks.found],
    }


def _gap(look: Look | None, metric: str) -> dict[str, Any]:
    """What `rounds.json` tells of those who train and those who do not; a gap between them is logged, too."""
    if look is None:
        return {}
    warning = gap_in_words(look, metric)
    if warning:
        _log.warning("%s", warning)
    return {"training_gap": {**look.as_json(), "warning": warning}}
