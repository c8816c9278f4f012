"""Apple's pfl-research: `SimulatedBackend` with torch, in one process.

Users' tensors are made beforehand and nothing is evaluated. `FederatedAveraging` with several local steps and equal
weights is Reptile; pfl's own `Reptile` trains on a part of each user's rows only.
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
from tegu.bench.peers.fastest_threads import with_fastest_threads
from tegu.bench.peers.prepared_task import Done, Ready
from torch import nn

from tegu.bench.peers.pfl_partial import PartialReptile
from tegu.bench.tasks.models import MODELS, loss_of
from tegu.bench.tasks.task import Task
from tegu.core.data.tree import Tree

__all__ = ["opened"]


class _Unevaluated(PyTorchModel):  # type: ignore[misc] # pfl ships no types
    """pfl evaluates every user twice in its first round, whatever the frequency asked for."""

    def evaluate(self, *args: Any, **kwargs: Any) -> Metrics:
        del args, kwargs
        return Metrics()


class _Kept(TrainingProcessCallback):  # type: ignore[misc] # as above
    """The parameters after every round."""

    def __init__(self) -> None:
        self.metas: list[Tree] = []

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        del aggregate_metrics, central_iteration
        self.metas.append({name: value.numpy() for name, value in model.get_parameters().items()})
        return False, Metrics()


@contextmanager
def opened(task: Task, folder: Path) -> Iterator[Ready]:
    """See `tegu.bench.peers`."""
    del folder
    people = [
        Dataset([torch.from_numpy(x), torch.from_numpy(y)], user_id=str(i)) for i, (x, y) in enumerate(task.rows())
    ]
    sampler = MinimizeReuseUserSampler(list(range(task.users)))
    data = FederatedDataset(people.__getitem__, sampler)
    backend = SimulatedBackend(data, data, postprocessors=[WeightByUser()])

    def run(rounds: int) -> Done:
        model, algorithm, kept = _model(task), _algorithm(task), _Kept()
        began = time.perf_counter()
        algorithm.run(*_settings(task, rounds, backend, model), callbacks=[kept], send_metrics_to_platform=False)
        return Done(time.perf_counter() - began, kept.metas)

    yield with_fastest_threads(run, task.work.rounds, f"pfl {version('pfl')}")


def _model(task: Task) -> PyTorchModel:
    module = MODELS[task.work.model].build()
    module.load_state_dict({name: torch.from_numpy(value) for name, value in task.init.items()})
    return _Unevaluated(_with_loss(module), torch.optim.SGD, _central(task, module))


def _with_loss(module: nn.Module) -> nn.Module:
    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return loss_of(module, x, y)

    module.loss, module.metrics = loss, dict  # type: ignore[assignment] # what pfl asks of a module
    return module


def _central(task: Task, module: nn.Module) -> torch.optim.Optimizer:
    work = task.work
    build: Callable[..., torch.optim.Optimizer] = getattr(torch.optim, work.outer)
    return build(module.parameters(), lr=work.outer_lr, **work.outer_options)


def _algorithm(task: Task) -> Any:
    return FederatedAveraging() if task.work.fast is None else PartialReptile(task.work)


def _settings(task: Task, rounds: int, backend: SimulatedBackend, model: PyTorchModel) -> tuple[Any, ...]:
    work = task.work
    params = NNAlgorithmParams(
        central_num_iterations=rounds,
        evaluation_frequency=rounds + 1,
        train_cohort_size=task.users,
        val_cohort_size=0,
    )
    local = NNTrainHyperParams(local_batch_size=None, local_num_epochs=work.steps, local_learning_rate=work.lr)
    return params, backend, model, local
