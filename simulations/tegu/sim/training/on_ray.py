"""Meta-training on Flower's Ray simulation: the app that a SuperLink runs in production, on simulated SuperNodes.

Every message passes through Flower's own serialisation and a separate process. Use it to rehearse a deployment. On one
machine `train_in_process` gives the same initialisation much faster.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

from tegu.core.bundle.file import Bundle, read_bundle, write_bundle
from tegu.core.data.users import write_users
from tegu.core.errors import FederationError
from tegu.server.app import APP_DIR
from tegu.server.deployment import local_simulation
from tegu.server.privacy.combination import people_of_a_node
from tegu.server.run_config import to_config
from tegu.server.training.automatic import with_recommended
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine
from tegu.sim.federation.grid import partitions
from tegu.sim.federation.hosts import HOST_APP_DIR, write_hosts
from tegu.sim.training.in_process import Trained, check_cohort

__all__ = ["train_on_ray", "write_partitions"]

_TAIL = 2000  # characters of the log in an error


def train_on_ray(
    bundle: Bundle,
    population: Population,
    plan: TrainingPlan,
    workdir: Path,
    checkpoints: Path | None = None,
    engine: Engine | None = None,
) -> Trained:
    """Run the plan's rounds on Ray, in separate processes.

    Flower draws the ids of simulated nodes at random, and cohorts are drawn by id. A round has the same users as with
    `train_in_process` only if every node takes part (`plan.cohort.size` is the number of nodes). The result is then the
    same up to the order of summation. Smaller cohorts differ from run to run.

    Args:
        bundle: graphs, manifest, and the parameters to start from, unless `checkpoints` holds a later state.
        population: training users.
        plan: the training plan. `plan.cohort.nodes` is the number of simulated SuperNodes; None means one per user.
        workdir: folder for the users' rows, logs and the result; every call creates a new folder inside.
        checkpoints: folder for a checkpoint after every round, from which a run is resumed. None means no checkpoints.
        engine: of ONNX graphs, with which nodes answer for all of their users at once. None means that nodes answer as
            devices do, user by user.

    Returns:
        The learned parameters. `seconds` includes the start of Ray, and `user_rounds` counts this call only.

    Raises:
        DataError: the engine runs in torch.
        PopulationError: as `check_cohort`.
        FederationError: the run failed; the message ends with the end of its log.
    """
    nodes = check_cohort(population, plan)
    workdir.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir=workdir)).resolve()
    write_bundle(folder / "start.tegu", bundle)
    if engine is None:
        write_partitions(folder / "partitions", population, nodes)
    else:
        people = (population.local(user) for user in range(len(population)))
        write_hosts(folder / "partitions", bundle, engine, people, nodes)
    paths = {"bundle": folder / "start.tegu", "partitions": folder / "partitions", "out": folder / "out"}
    if checkpoints is not None:
        paths["checkpoints"] = checkpoints.resolve() / "ray"  # the app holds its folder, and the simulation this one
    # The simulation has split off the calibration users, and calibrates itself.
    settings = with_recommended(plan.training_only(), None)
    settings = replace(settings, updates=settings.updates.in_simulation(), replies=settings.replies.in_simulation())
    if plan.privacy.central:
        settings = _in_simulation(settings)
    config = to_config(settings) | {name: str(path) for name, path in paths.items()}
    app = APP_DIR if engine is None else HOST_APP_DIR
    with local_simulation(app, folder / "flower", nodes) as flower:
        run = flower.run(config)
    if not run.completed:
        raise FederationError(
            f"the run on Ray is {run.status}: fix the error at the end of its log:\n{run.log[-_TAIL:]}"
        )
    summary = json.loads((folder / "out" / "rounds.json").read_text("utf-8"))
    users: dict[str, int] = summary["users"]
    meta = read_bundle(folder / "out" / "init.tegu").meta
    kept = int(summary["kept_round"])
    return Trained(meta, run.seconds, sum(users.values()), kept=kept, privacy=summary["privacy"])


def _in_simulation(plan: TrainingPlan) -> TrainingPlan:
    """The plan with a simulation's noise, and with a node for each user unless it says how many there are."""
    seed = plan.seed if plan.privacy.seed is None else plan.privacy.seed
    people = people_of_a_node(plan.cohort.users_per_node, plan.cohort.nodes, own_node=True)
    return replace(plan, privacy=replace(plan.privacy, seed=seed), cohort=replace(plan.cohort, users_per_node=people))


def write_partitions(folder: Path, population: Population, nodes: int) -> None:
    """Write each node's users to `<folder>/<node>.npz`, distributed as on the in-process grid."""
    folder.mkdir(parents=True, exist_ok=True)
    for node, users in enumerate(partitions(population, nodes)):
        write_users(folder / f"{node}.npz", [population.local(user) for user in users])
