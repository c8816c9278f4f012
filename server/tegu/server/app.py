"""The Flower ServerApp `tegu.server.app:app`: trains a bundle's parameters, calibrates its schedule, writes the result.

The run configuration is a training plan in the form of `tegu.server.run_config`. `tegu.server.training.plan` documents
every setting, and the app's `pyproject.toml` holds the defaults. The run configuration has these paths besides:

- `bundle`: the bundle to start from.
- `out`: folder for `init.tegu`, `rounds.json` and `bundles`, from which devices with another bundle may fetch.
- `checkpoints`: folder for a checkpoint after every round; empty means `<out>/checkpoints`. Checkpoints of this run
  found there resume it. Those of another run are refused; see `tegu.server.training.run_folder`.
- `partitions`: for nodes, see `tegu.client.federation.client_app`.

With `resume` true, the folder must hold this run already.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from tegu.core.bundle.file import Bundle, read_bundle, write_bundle
from tegu.core.errors import FederationError
from tegu.core.files import atomic_write, make_folder
from tegu.core.notes import note, notes_also_to, show_notes
from tegu.core.privacy.line import privacy_line
from tegu.server.calibration.calibrate import calibrate, final_validation
from tegu.server.federated_training import train_without_fold
from tegu.server.privacy.statement import without_people
from tegu.server.replies.refusal import Refusal
from tegu.server.rounds.non_blocking_grid import non_blocking
from tegu.server.rounds.patient_grid import PatientGrid
from tegu.server.rounds_summary import summary_of
from tegu.server.run_config import from_config
from tegu.server.training.automatic import settled, with_recommended
from tegu.server.training.cross_fitting import cross_fit
from tegu.server.training.journal import append_event
from tegu.server.training.plan import TrainingPlan
from tegu.server.training.run_folder import check_run, finish_run, hold_folder, is_done
from tegu.server.training.run_record import bundle_record
from tegu.server.versioned import BUNDLES, Versioned, publish_bundle

__all__ = ["APP_DIR", "RESULT", "app", "finished_text", "plan_of", "train"]

APP_DIR = Path(__file__).parent / "flower_app"  # for `flwr run`
RESULT = "init.tegu"  # in the folder `out`

# Keys of the run configuration that are no setting of the plan.
_OTHER_KEYS = ("bundle", "out", "checkpoints", "partitions", "resume")

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the remaining rounds, calibrate, and write the bundle."""
    show_notes()
    train(PatientGrid(non_blocking(grid)), context.run_config)


def train(grid: Grid, config: Mapping[str, Any]) -> Bundle:
    """Train `config["bundle"]` over the nodes of `grid`, calibrate it, and write the result to `config["out"]`.

    Args:
        grid: the connected nodes. On a `PatientGrid`, rounds end by quorum and deadline; any other grid's nodes are
            all asked and waited for.
        config: the run configuration, with keys as in `tegu.server.run_config` and those above.

    Raises:
        FederationError: too few nodes, a round without a usable reply, a folder of another run or in use, no user who
            can calibrate, or a setting that cannot be read.
        BundleError: the bundle cannot be read, or the trained one cannot be written.
        FileError: the folder `out`, a checkpoint or the summary cannot be written.
        DataError: settings out of range, or an option that the outer optimiser does not have.
        UnknownNameError: no such setting.
    """
    if not config["bundle"] or not config["out"]:
        raise FederationError(
            "bundle or out is not set: set both with flwr run ... --run-config \"bundle='...' out='...'\""
        )
    plan = plan_of({key: value for key, value in config.items() if key not in _OTHER_KEYS})
    start, out = read_bundle(config["bundle"]), Path(str(config["out"]))
    if isinstance(grid, PatientGrid):
        grid = grid.with_deadline(plan.replies.deadline)
    checkpoints = Path(str(config.get("checkpoints") or out / "checkpoints"))
    with hold_folder(checkpoints):
        record = bundle_record(start, plan)
        if is_done(checkpoints, record) and (out / RESULT).exists():
            note(finished_text(out))
            return read_bundle(out / RESULT)
        check_run(checkpoints, record, resume=bool(config.get("resume")))
        version = publish_bundle(Path(str(config["bundle"])), start, out / BUNDLES)
        grid = grid.for_version(version) if isinstance(grid, PatientGrid) else Versioned(grid, version)
        try:
            with notes_also_to(lambda text: append_event(checkpoints, "note", text=text)):
                bundle = _train_and_calibrate(grid, plan, start, out, checkpoints)
        except Exception as error:
            append_event(checkpoints, "failed", kind=type(error).__name__, error=str(error))
            raise
        finish_run(checkpoints)
        append_event(checkpoints, "finished", round=bundle.manifest.training["rounds"])
        return bundle


def finished_text(out: Path) -> str:
    """The line that says that there is nothing left to do.

    Raises:
        BundleError: the result cannot be read.
    """
    rounds = read_bundle(out / RESULT).manifest.training.get("rounds")
    return f"already at round {rounds} of {rounds}: {out / RESULT} is the result"


def plan_of(config: Mapping[str, Any]) -> TrainingPlan:
    """The plan of a run configuration, with a federation's values for what is automatic.

    Raises:
        UnknownNameError: no such setting.
        FederationError: a value of the wrong type.
        DataError: a value out of range.
    """
    plan = with_recommended(from_config(config), None)  # a bundle does not hold what the learner recommends
    return replace(plan, updates=plan.updates.in_federation(), replies=plan.replies.in_federation())


def _train_and_calibrate(grid: Grid, plan: TrainingPlan, start: Bundle, out: Path, checkpoints: Path) -> Bundle:
    fitted = cross_fit(plan, partial(train_without_fold, grid, start, checkpoints))
    done = fitted.kept
    outer = settled(plan).outer
    rounds = done.kept if plan.early_stopping.until_flat else settled(plan).rounds
    if done.privacy.get("ended"):
        rounds = done.kept
    training: dict[str, Any] = {
        "rounds": rounds,
        "kept_round": done.kept,
        "seed": plan.seed,
        "outer": outer.name,
        "users_a_round": done.users,
    }
    if done.privacy:
        training["privacy"] = done.privacy
        note(privacy_line(done.privacy))
    # The held-out results of the start bundle do not hold for the trained one.
    manifest = replace(start.manifest, training=training, heldout=())
    metric = plan.calibration.metric_for(manifest.spec)
    refused: list[Refusal] = []
    summary = summary_of(done, fitted.by_fold, rounds, metric)
    if plan.calibration.left_out_share:
        append_event(checkpoints, "stage", text="calibration")
        metas = [trained.meta for trained in fitted.by_fold]
        schedule = calibrate(grid, metas, manifest, plan, refused)
        manifest = replace(manifest, schedule=without_people(schedule) if plan.privacy.is_on else schedule)
        validation = final_validation(grid, metas, manifest, plan, done.kept)
        summary |= {"training_gap": validation.as_json()} if validation else {}
    summary["refused_in_calibration"] = [each.as_json() for each in refused]
    bundle = replace(start, meta=done.meta, manifest=manifest)
    make_folder(out)
    atomic_write(out / "rounds.json", json.dumps(summary, indent=1).encode())
    return write_bundle(out / RESULT, bundle)
