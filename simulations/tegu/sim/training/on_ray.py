"""Meta-training on Flower's Ray simulation: the app that a SuperLink runs in production, on simulated SuperNodes.

Every message passes through Flower's own serialisation and a process of its own, so this is for rehearsing a deployment
and for clusters. On one machine `train_in_process` gives the same initialisation far sooner.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import tegu.server.app
from tegu.core.bundle.file import Bundle, read_bundle, write_bundle
from tegu.core.data.users import write_users
from tegu.core.errors import FederationError
from tegu.server.deployment import local_simulation
from tegu.server.deployment.environment import Scalar
from tegu.sim.data.population import Population
from tegu.sim.federation.grid import partitions
from tegu.sim.training.in_process import Trained, TrainingPlan, check_cohort

__all__ = ["APP_DIR", "run_config", "train_on_ray", "write_partitions"]

APP_DIR = Path(tegu.server.app.__file__).parent / "flower_app"
_TAIL = 2000  # characters of the log in an error


def train_on_ray(bundle: Bundle, population: Population, plan: TrainingPlan, workdir: Path) -> Trained:
    """Run the plan's rounds on Ray, in processes of their own.

    Flower draws the ids of simulated nodes at random, and the cohort is drawn from ids. So only where every node takes
    part (`plan.cohort` is the number of nodes) are the users of a round those of `train_in_process`; the result is
    then the same up to the order of summation. Smaller cohorts are as random, and not the same from run to run.

    Args:
        bundle: graphs, manifest, and in `meta` where to start, unless the plan's checkpoints hold a later state.
        population: training users.
        plan: how to train; `plan.nodes` is the number of simulated SuperNodes, one a user where it is None.
        workdir: a folder for the users' rows, logs and the result; every call makes a new folder inside.

    Returns:
        What was learned; its seconds include the start of Ray, and its `user_rounds` are those of this call.

    Raises:
        PopulationError: as `check_cohort`.
        FederationError: the run has failed; the message ends with its log.
    """
    nodes = check_cohort(population, plan)
    workdir.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir=workdir)).resolve()
    write_bundle(folder / "start.tegu", bundle)
    write_partitions(folder / "partitions", population, nodes)
    paths = {"bundle": "start.tegu", "partitions": "partitions", "out": "out"}
    config = {**run_config(plan), **{name: str(folder / path) for name, path in paths.items()}}
    with local_simulation(APP_DIR, folder / "flower", nodes) as flower:
        run = flower.run(config)
    if not run.completed:
        raise FederationError(
            f"the run on Ray is {run.status}; mend what the end of its log tells:\n{run.log[-_TAIL:]}"
        )
    users: dict[str, int] = json.loads((folder / "out" / "rounds.json").read_text("utf-8"))["users"]
    meta = read_bundle(folder / "out" / "init.tegu").meta
    return Trained(meta, run.seconds, sum(users.values()), kept=plan.rounds)


def run_config(plan: TrainingPlan) -> dict[str, Scalar]:
    """The plan as the app's run configuration, less the paths of bundle, partitions and output."""
    return {
        "rounds": plan.rounds,
        "cohort": plan.cohort,
        "users": 0,
        "updates": plan.updates,
        "seed": plan.seed,
        "clip": 0.0 if math.isinf(plan.clip) else plan.clip,
        "min-support": plan.rule.min_support,
        "max-support": plan.rule.max_support,
        "max-query": plan.rule.max_query,
        "outer": plan.outer.name,
        "outer-lr": float(plan.outer.lr),
        "outer-decay": plan.outer.decay,
        "outer-options": json.dumps(dict(plan.outer.options)),
        "calibration-share": 0.0,  # the simulation's split has decided who calibrates, and does so itself
        "calibration-folds": 0,
        "calibration-nodes": 0,
        "ks": "1,2,5,10,20",
        "metric": "",
        "look-every": 0,
        "patience": 0,
        "checkpoints": "" if plan.checkpoints is None else str(plan.checkpoints.resolve()),
    }


def write_partitions(folder: Path, population: Population, nodes: int) -> None:
    """Write each node's users to `<folder>/<node>.npz`, dealt out as on the in-process grid."""
    folder.mkdir(parents=True, exist_ok=True)
    for node, users in enumerate(partitions(population, nodes)):
        write_users(folder / f"{node}.npz", [population.local(user) for user in users])
