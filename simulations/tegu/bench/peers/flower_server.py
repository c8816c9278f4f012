"""The ServerApp of a plain Flower app: federated averaging, with the time and parameters of every round.

The first round starts Ray's processes. The app therefore runs one round more than the task has, and does not count the
time of the first.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from tegu.bench.tasks.task import read_task
from tegu.core.bundle.file import tree_to_bytes

__all__ = ["app"]

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds; write `seconds.json` and the parameters after every round to the folder `out`."""
    task, out = read_task(Path(str(context.run_config["task"]))), Path(str(context.run_config["out"]))
    out.mkdir(parents=True)
    ends: list[float] = []
    metas: list[ArrayRecord] = []

    def after_round(number: int, arrays: ArrayRecord) -> None:
        ends.append(time.perf_counter())
        metas.extend([arrays] if number else [])

    first = ArrayRecord({name: torch.from_numpy(value) for name, value in task.init.items()})
    users, rounds = task.users, task.settings.rounds
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=users, min_available_nodes=users)
    strategy.start(grid, first, num_rounds=rounds + 1, evaluate_fn=after_round)
    for number, meta in enumerate(metas[:rounds]):
        tree = {name: value.numpy() for name, value in meta.to_torch_state_dict().items()}
        (out / f"{number:04d}.safetensors").write_bytes(tree_to_bytes(tree))
    (out / "seconds.json").write_text(json.dumps(ends[-1] - ends[1]), encoding="utf-8")
