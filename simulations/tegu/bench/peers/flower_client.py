"""The ClientApp of a plain Flower app with torch: one user's local training."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor, nn

from tegu.bench.tasks.models import MODELS, cross_entropy
from tegu.bench.tasks.task import Task, read_task

__all__ = ["app", "train_user"]

app = ClientApp()
_task = functools.cache(read_task)  # Ray's processes persist: reading the rows in every round would slow Flower down


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train one user in one round."""
    task = _task(Path(str(context.run_config["task"])))
    user = int(context.node_config["partition-id"])
    state = train_user(task, user, message.content.array_records["arrays"].to_torch_state_dict())
    metrics = MetricRecord({"num-examples": int((task.user == user).sum())})
    return Message(RecordDict({"arrays": ArrayRecord(state), "metrics": metrics}), reply_to=message)


def train_user(task: Task, user: int, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters after the user's local training."""
    x, y = (torch.from_numpy(part[task.user == user]) for part in (task.x, task.y))
    model: nn.Module = MODELS[task.settings.model].build()
    model.load_state_dict(state)
    optimiser = torch.optim.SGD(model.parameters(), lr=task.settings.lr)
    for _ in range(task.settings.steps):
        optimiser.zero_grad()
        cross_entropy(model, x, y).backward()  # type: ignore[no-untyped-call] # torch leaves it bare
        optimiser.step()
    return model.state_dict()
