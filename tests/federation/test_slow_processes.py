"""A SuperLink with three SuperNodes, one of which is ten times slower: rounds, and buffered steps, to the same error.

Time is real, and includes Flower's own seconds a message. The error is that of people who take no part, from the
checkpoints of each run.
"""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tests.federation.nodes import paths_of_run, write_nodes
from tests.federation.sine_users import bundle, engine

from tegu.core.metrics import METRICS
from tegu.core.sampling.episode import EpisodeRule
from tegu.server import APP_DIR
from tegu.server.deployment import LocalFlower, local_federation
from tegu.server.rounds.reply_plan import ReplyPlan
from tegu.server.run_config import to_config
from tegu.server.training.checkpoint import read_checkpoint
from tegu.server.training.outer_optimiser import OuterRule
from tegu.server.training.plan import CohortPlan, TrainingPlan, UpdatePlan
from tegu.sim.data.population import Population
from tegu.sim.data.trials import draw_trials
from tegu.sim.engine.predictions import adapted_predictions, score
from tegu.sim.experiments.sine import sine_population

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("superlink")]

NODES, USERS, HELDOUT, K = 3, 20, 100, 5
FAST, SLOW = 3.0, 30.0  # seconds that a node's training takes longer than it takes
ROUNDS, STEPS, BUFFER = 2, 6, 2
SLOW_CLIENT = """
import time
from flwr.clientapp import ClientApp
from tegu.client.federation import client_app

app = ClientApp()

@app.train()
def train(message, context):
    time.sleep(float(context.node_config["seconds"]))
    return client_app.app(message, context)
"""


class Measured(NamedTuple):
    """Seconds since the first round began, and the error, after each round."""

    seconds: list[float]
    errors: list[float]

    @property
    def lengths(self) -> np.ndarray:
        return np.diff([0.0, *self.seconds])

    def time_to(self, target: float) -> float:
        reached = [at for at, error in zip(self.seconds, self.errors, strict=True) if error <= target]
        return min(reached, default=math.inf)


def people() -> Population:
    return sine_population(USERS + HELDOUT, 20, 0)


def slow_app(folder: Path) -> Path:
    """The app of Tegu, with a client that takes its time."""
    settings = (APP_DIR / "pyproject.toml").read_text()
    (folder / "app").mkdir()
    (folder / "app" / "slow_client.py").write_text(SLOW_CLIENT)
    settings = settings.replace("tegu.client.federation.client_app:app", "slow_client:app")
    assert "slow_client:app" in settings
    (folder / "app" / "pyproject.toml").write_text(settings)
    return folder / "app"


def measure(flower: LocalFlower, folder: Path, name: str, replies: ReplyPlan, rounds: int) -> Measured:
    plan = TrainingPlan(
        rounds=rounds,
        seed=0,
        cohort=CohortPlan(NODES),
        outer=OuterRule("Adam", 0.02),
        episodes=EpisodeRule(K, K, 20),
        updates=UpdatePlan(clip=math.inf),
        replies=replies,
    )
    kept, stop = folder / f"{name}-kept", threading.Event()
    kept.mkdir()

    def keep() -> None:
        """The run keeps the last three checkpoints."""
        while not stop.is_set():
            for path in (folder / name / "checkpoints").glob("round-*.safetensors"):
                if not (kept / path.name).exists():
                    shutil.copy(path, kept)
            time.sleep(0.1)

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        run = flower.run({**to_config(plan.training_only()), **paths_of_run(folder, name)}, timeout=500)
    finally:
        stop.set()
        keeper.join()
    assert run.completed, run.log
    log = json.loads((folder / name / "rounds.json").read_text())["log"]
    seconds, errors, elapsed = [], [], 0.0
    for entry in log:
        elapsed += entry["seconds"]
        path = kept / f"round-{entry['round']:06d}.safetensors"
        if path.exists():
            seconds.append(elapsed)
            errors.append(error_of(path))
    return Measured(seconds, errors)


def error_of(path: Path) -> float:
    heldout = people().subset(range(USERS, USERS + HELDOUT))
    method = adapted_predictions(engine(), read_checkpoint(path).meta, bundle().manifest.knobs)
    return float(score(method, draw_trials(heldout, K, 0, 2), METRICS["mse"]).mean())


def test_a_slow_process_delays_every_round_and_no_buffered_step(tmp_path: Path) -> None:
    """Prints times to one error, which depend on the machine: record 063 has those of five nodes and more steps."""
    configs = write_nodes(tmp_path, bundle(), people().subset(range(USERS)), NODES)
    nodes = [{**config, "seconds": SLOW if node == 0 else FAST} for node, config in enumerate(configs)]
    with local_federation(slow_app(tmp_path), tmp_path / "flower", nodes) as flower:
        rounds = measure(flower, tmp_path, "rounds", ReplyPlan(oversampling=1.0), ROUNDS)
        buffered = measure(flower, tmp_path, "buffered", ReplyPlan(buffer=BUFFER), STEPS)
    target = rounds.errors[-1]
    for name, found in (("rounds", rounds), ("buffered", buffered)):
        print(name, [(round(at), round(error, 3)) for at, error in zip(*found, strict=True)])
    print(f"error {target:.3f}: rounds {rounds.seconds[-1]:.0f} s, buffered {buffered.time_to(target):.0f} s")
    assert rounds.lengths.min() > SLOW
    assert buffered.lengths.max() < SLOW
    assert buffered.seconds[-1] < rounds.seconds[-1], "three times as many steps"
