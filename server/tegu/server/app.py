"""The Flower ServerApp: `tegu.server.app:app`. Trains a bundle's initialisation, calibrates its schedule, writes both.

The run configuration holds a training plan (`tegu.server.run_config`; the app's `pyproject.toml` has its defaults) and
these paths:

    bundle      the bundle to start from
    out         folder for `init.tegu` and `rounds.json`
    checkpoints folder for a checkpoint after every round, `<out>/checkpoints` where empty; a run found there is resumed
    partitions  for nodes: see `tegu.client.federation.client_app`
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from tegu.core.bundle.file import Bundle, read_bundle, write_bundle
from tegu.core.data.tree import Tree, digest
from tegu.core.errors import FederationError
from tegu.core.files import atomic_write, make_folder
from tegu.core.metrics import Metric
from tegu.server.calibration.calibrate import calibrate, final_validation, validations_for
from tegu.server.evaluation.decline import decline_as_json
from tegu.server.evaluation.validation import Validations, decline_of, mean_validations
from tegu.server.progress import RoundProgress, Silent
from tegu.server.run_config import from_config
from tegu.server.training.checkpoint import latest_checkpoint
from tegu.server.training.cross_fitting import checkpoint_folder, cross_fit
from tegu.server.training.outer_optimiser import OuterOptimiser
from tegu.server.training.plan import TrainingPlan
from tegu.server.training.strategy import MetaStrategy
from tegu.wire import to_record

__all__ = ["APP_DIR", "app", "train"]

APP_DIR = Path(__file__).parent / "flower_app"  # for `flwr run`

_log = logging.getLogger(__name__)
_PATHS = ("bundle", "out", "checkpoints", "partitions")  # in the run configuration, and of no plan

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds that are missing, calibrate, then write the bundle."""
    train(grid, context.run_config)


def train(grid: Grid, config: Mapping[str, Any]) -> Bundle:
    """Train `config["bundle"]` over the nodes of `grid`, calibrate it, and write the result to `config["out"]`.

    Raises:
        FederationError: too few nodes, a round without a usable reply, a checkpoint of another optimiser, nobody to
            calibrate, or a setting that cannot be read.
        BundleError: the bundle cannot be read, or the trained one cannot be written.
        FileError: the folder `out`, a checkpoint or the summary cannot be written.
        DataError: settings out of range, or an option that the outer optimiser does not have.
        UnknownNameError: no such setting.
    """
    if not config["bundle"] or not config["out"]:
        raise FederationError("bundle and out are not set: flwr run ... --run-config \"bundle='...' out='...'\"")
    plan = from_config({key: value for key, value in config.items() if key not in _PATHS})
    start, out = read_bundle(config["bundle"]), Path(str(config["out"]))
    checkpoints = Path(str(config.get("checkpoints") or out / "checkpoints"))
    found = cross_fit(plan.calibration.folds or 0, partial(_rounds, grid, plan, start, checkpoints))
    done = found.kept
    training = {
        "rounds": plan.rounds,
        "kept_round": done.kept,
        "seed": plan.seed,
        "outer": plan.outer.name,
        "users_a_round": done.users,
    }
    # What held-out people were told of is the start, and no longer this.
    manifest = replace(start.manifest, training=training, heldout=())
    metric = plan.calibration.metric_for(manifest.spec)
    summary = _summary(done, found.by_fold, plan.rounds, metric)
    if plan.calibration.left_out_share:
        metas = [part.meta for part in found.by_fold]
        manifest = replace(manifest, schedule=calibrate(grid, metas, manifest, plan))
        look = final_validation(grid, metas, manifest, plan, done.kept)
        summary |= {"training_gap": look.as_json()} if look else {}
    bundle = replace(start, meta=done.meta, manifest=manifest)
    make_folder(out)
    atomic_write(out / "rounds.json", json.dumps(summary, indent=1).encode())
    return write_bundle(out / "init.tegu", bundle)


class _Rounds(NamedTuple):
    """What the rounds gave: see `MetaStrategy.kept`, and users by round of those that were run now."""

    kept: int
    meta: Tree
    resumed_at: int
    users: Mapping[str, int]
    looks: Validations | None


class _UsersByRound(Silent):
    """Notes how many users each round had; by text, as JSON will have the rounds."""

    def __init__(self) -> None:
        self.users: dict[str, int] = {}

    def round(self, progress: RoundProgress) -> None:
        """Note it."""
        self.users[str(progress.round)] = progress.users


def _rounds(grid: Grid, plan: TrainingPlan, start: Bundle, checkpoints: Path, fold: int | None) -> _Rounds:
    """The rounds that are missing of the training without the fold's users; of that with everybody, for None."""
    folder = checkpoint_folder(checkpoints, plan.calibration.folds or 0, fold)
    checkpoint = latest_checkpoint(folder)
    outer = OuterOptimiser(checkpoint.meta if checkpoint else start.meta, plan.outer, plan.rounds)
    if checkpoint:
        outer.restore(checkpoint.outer)
    done = checkpoint.round if checkpoint else 0
    looks = validations_for(plan, start.manifest, checkpoint.history if checkpoint else None, fold)
    noted = _UsersByRound()
    strategy = MetaStrategy(
        outer,
        plan,
        left_out=plan.calibration.left_out(fold),
        checkpoints=folder,
        done=done,
        progress=noted,
        looks=looks,
    )
    if done < plan.rounds:
        strategy.start(grid, to_record(outer.meta), num_rounds=plan.rounds - done)
    return _Rounds(*strategy.kept, done, noted.users, looks)


def _summary(done: _Rounds, parts: Sequence[_Rounds], rounds: int, metric: Metric) -> dict[str, Any]:
    """`rounds.json`; a clear decline of the validation figure is logged, too."""
    looks = mean_validations([part.looks.found for part in parts if part.looks is not None])
    decline = decline_as_json(decline_of(looks, metric.higher_is_better), metric.name, done.kept)
    if decline.get("warning"):
        _log.warning("%s", decline["warning"])
    return {
        "rounds": rounds,
        "kept_round": done.kept,
        "resumed_at": done.resumed_at,
        "users": done.users,
        "meta": digest(done.meta),
        "looks": [look.as_json() for look in looks],
        "decline": decline,
    }
