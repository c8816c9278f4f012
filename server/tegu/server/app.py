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
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from tegu.core.bundle import Bundle, atomic_write, read_bundle, write_bundle
from tegu.core.episode import EpisodeRule
from tegu.core.errors import FederationError
from tegu.core.precision import check_precision
from tegu.core.tree import digest
from tegu.server.calibration import CalibrationRule, calibrated
from tegu.server.checkpoint import latest_checkpoint
from tegu.server.outer import OuterOptimiser, OuterRule
from tegu.server.strategy import MetaStrategy, RoundSettings
from tegu.wire import to_record

__all__ = ["app", "calibration_from", "outer_from", "settings_from", "train"]

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
    start, out, rounds = read_bundle(config["bundle"]), Path(str(config["out"])), int(config["rounds"])
    rule, calibration = outer_from(config), calibration_from(config)
    checkpoints = Path(str(config["checkpoints"] or out / "checkpoints"))
    checkpoint = latest_checkpoint(checkpoints)
    outer = OuterOptimiser(checkpoint.meta if checkpoint else start.meta, rule, rounds)
    if checkpoint:
        outer.restore(checkpoint.outer)
    done = checkpoint.round if checkpoint else 0
    users: dict[str, int] = {}  # strings, as JSON will have them
    strategy = MetaStrategy(
        outer,
        settings_from(config),
        checkpoints=checkpoints,
        done=done,
        on_round=lambda number, meta, count: users.update({str(number): count}),
    )
    if done < rounds:
        strategy.start(grid, to_record(outer.meta), num_rounds=rounds - done)
    training = {"rounds": rounds, "seed": int(config["seed"]), "outer": rule.name, "users_a_round": users}
    manifest = replace(start.manifest, training=training)
    if calibration.share:
        manifest = replace(manifest, schedule=calibrated(grid, outer.meta, manifest, calibration))
    bundle = replace(start, meta=outer.meta, manifest=manifest)
    out.mkdir(parents=True, exist_ok=True)
    summary = {"rounds": rounds, "resumed_at": done, "users": users, "meta": digest(bundle.meta)}
    atomic_write(out / "rounds.json", json.dumps(summary, indent=1).encode())
    return write_bundle(out / "init.tegu", bundle)
