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
    calibration-folds   2 or more: nobody is set apart. Every user trains, and calibrates what a further training has
                learned without the user's fold: as many trainings more, for where a share is too few to tell who is
                hurt; 0 for the share
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
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from tegu.core.bundle.file import Bundle, atomic_write, read_bundle, write_bundle
from tegu.core.data.tree import Tree, digest
from tegu.core.errors import FederationError
from tegu.server.calibration.calibrate import calibrated, judged
from tegu.server.evaluation.validation import Look, Looks, gap_in_words, mean_looks
from tegu.server.run_config import calibration_from, looks_from, outer_from, settings_from
from tegu.server.training.checkpoint import latest_checkpoint
from tegu.server.training.outer_optimiser import OuterOptimiser
from tegu.server.training.strategy import MetaStrategy
from tegu.wire import to_record

__all__ = ["app", "train"]

_log = logging.getLogger(__name__)

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds that are missing, calibrate, then write the bundle."""
    train(grid, context.run_config)


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
    apart = [_rounds(grid, config, start, fold) for fold in range(calibration.folds)]
    done = _rounds(grid, config, start, None if apart else 0)
    judged_parts = apart or [done]
    training = {
        "rounds": int(config["rounds"]),
        "kept_round": done.kept,
        "seed": int(config["seed"]),
        "outer": str(config["outer"]),
        "users_a_round": done.users,
    }
    # What held-out people were told of is the start, and no longer this.
    manifest = replace(start.manifest, training=training, heldout=())
    summary = _summary(done, judged_parts, int(config["rounds"]))
    if calibration.apart:
        metas = [part.meta for part in judged_parts]
        manifest = replace(manifest, schedule=calibrated(grid, metas, manifest, calibration))
        summary |= _gap(judged(grid, metas, manifest, calibration, done.kept), calibration.judge(manifest).name)
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


def _rounds(grid: Grid, config: Mapping[str, Any], start: Bundle, fold: int | None) -> _Rounds:
    """The rounds that are missing of the training without the fold's users; of that with everybody, for None."""
    rounds, rule = int(config["rounds"]), outer_from(config)
    checkpoints = _checkpoints(config, fold)
    checkpoint = latest_checkpoint(checkpoints)
    outer = OuterOptimiser(checkpoint.meta if checkpoint else start.meta, rule, rounds)
    if checkpoint:
        outer.restore(checkpoint.outer)
    done = checkpoint.round if checkpoint else 0
    looks = looks_from(config, start.manifest, checkpoint.best if checkpoint else None, fold)
    users: dict[str, int] = {}  # strings, as JSON will have them
    strategy = MetaStrategy(
        outer,
        settings_from(config, fold),
        checkpoints=checkpoints,
        done=done,
        on_round=lambda number, meta, count: users.update({str(number): count}),
        looks=looks,
    )
    if done < rounds:
        strategy.start(grid, to_record(outer.meta), num_rounds=rounds - done)
    return _Rounds(*strategy.kept, done, users, looks)


def _checkpoints(config: Mapping[str, Any], fold: int | None) -> Path:
    folder = Path(str(config["checkpoints"] or Path(str(config["out"])) / "checkpoints"))
    return folder if fold is None or not calibration_from(config).folds else folder / f"fold-{fold}"


def _summary(done: _Rounds, parts: Sequence[_Rounds], rounds: int) -> dict[str, Any]:
    """`rounds.json`."""
    looks = mean_looks([part.looks.found for part in parts if part.looks is not None])
    return {
        "rounds": rounds,
        "kept_round": done.kept,
        "resumed_at": done.resumed_at,
        "users": done.users,
        "meta": digest(done.meta),
        "looks": [look.as_json() for look in looks],
    }


def _gap(look: Look | None, metric: str) -> dict[str, Any]:
    """What `rounds.json` tells of those who train and those who do not; a gap between them is logged, too."""
    if look is None:
        return {}
    warning = gap_in_words(look, metric)
    if warning:
        _log.warning("%s", warning)
    return {"training_gap": {**look.as_json(), "warning": warning}}
