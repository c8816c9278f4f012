"""Apple's pfl-research: `SimulatedBackend` with torch, in one process.

Users' tensors are created before the timing starts, and nothing is evaluated. `FederatedAveraging` with several local
steps and equal weights is Reptile; pfl's own `Reptile` trains on only a part of each user's rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByUser
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import MinimizeReuseUserSampler
from pfl.hyperparam.base import NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel
from torch import nn

from tegu.bench.peers.fastest_threads import with_fastest_threads
from tegu.bench.peers.pfl_partial import PartialReptile
from tegu.bench.peers.prepared_task import PreparedTask, TimedRun
from tegu.bench.tasks.models import MODELS, cross_entropy
from tegu.bench.tasks.task import Task
from tegu.core.data.tree import Tree

__all__ = ["prepare_task"]


class _Unevaluated(PyTorchModel):  # type: ignore[misc] # pfl ships no types
    """Skips evaluation: pfl evaluates every user twice in its first round, whatever evaluation frequency is set."""

    def evaluate(self, *args: Any, **kwargs: Any) -> Metrics:
        del args, kwargs
        return Metrics()


class _ParameterHistory(TrainingProcessCallback):  # type: ignore[misc] # as above
    """Keeps the parameters after every round."""

    def __init__(self) -> None:
        self.metas: list[Tree] = []

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        del aggregate_metrics, central_iteration
        self.metas.append({name: value.numpy() for name, value in model.get_parameters().items()})
        return False, Metrics()


@contextmanager
def prepare_task(task: Task, folder: Path) -> Iterator[PreparedTask]:
    """See `tegu.bench.peers`."""
    del folder
    users = [
        Dataset([torch.from_numpy(x), torch.from_numpy(y)], user_id=str(i))
        for i, (x, y) in enumerate(task.rows_by_user())
    ]
    sampler = MinimizeReuseUserSampler(list(range(task.users)))
    data = FederatedDataset(users.__getitem__, sampler)
    backend = SimulatedBackend(data, data, postprocessors=[WeightByUser()])

    def run(rounds: int) -> TimedRun:
        model, algorithm, history = _model(task), _algorithm(task), _ParameterHistory()
        began = time.perf_counter()
        algorithm.run(*_settings(task, rounds, backend, model), callbacks=[history], send_metrics_to_platform=False)
        return TimedRun(time.perf_counter() - began, history.metas)

    yield with_fastest_threads(run, task.settings.rounds, f"pfl {version('pfl')}")


def _model(task: Task) -> PyTorchModel:
    module = MODELS[task.settings.model].build()
    module.load_state_dict({name: torch.from_numpy(value) for name, value in task.init.items()})
    return _Unevaluated(_with_loss(module), torch.optim.SGD, _central_optimiser(task, module))


def _with_loss(module: nn.Module) -> nn.Module:
    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return cross_entropy(module, x, y)

    module.loss, module.metrics = loss, dict  # type: ignore[assignment] # pfl expects both of a module
    return module


def _central_optimiser(task: Task, module: nn.Module) -> torch.optim.Optimizer:
    settings = task.settings
    build: Callable[..., torch.optim.Optimizer] = getattr(torch.optim, settings.outer)
    return build(module.parameters(), lr=settings.outer_lr, **settings.outer_options)


def _algorithm(task: Task) -> Any:
    return FederatedAveraging() if task.settings.adapted_parameters is None else PartialReptile(task.settings)


def _settings(task: Task, rounds: int, backend: SimulatedBackend, model: PyTorchModel) -> tuple[Any, ...]:
    settings = task.settings
    params = NNAlgorithmParams(
        central_num_iterations=rounds,
        evaluation_frequency=rounds + 1,
        train_cohort_size=task.users,
        val_cohort_size=0,
    )
    local = NNTrainHyperParams(local_batch_size=None, local_num_epochs=settings.steps, local_learning_rate=settings.lr)
    return params, backend, model, local
