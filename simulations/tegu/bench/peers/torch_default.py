"""A plain torch loop that does what a default `simulate` does, once: the rounds of Reptile, then every candidate.

Each person's gradient steps are a batch of torch's own. The features of each person's rows are computed once, and all
draws and strengths of a candidate in one call.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 # the name torch's own documentation uses
from torch import Tensor, nn

from tegu.core.data.batch import Array
from tegu.core.process import usable_cpus
from tegu.sim.data.population import Population

__all__ = ["PlainLoop", "fastest_way", "standardised"]

_STEPS, _LR, _SUPPORT, _QUERY = 5, 0.1, 64, 64
_DRAWS, _MOST_QUERY = 5, 200
_MIXES, _RIDGES, _STRENGTHS = (0.0, 1.0), (0.03, 0.1, 0.3, 1.0), 28  # as in residual correction and its guards


@dataclass(frozen=True)
class PlainLoop:
    """The plain loop.

    Attributes:
        model: a module with a linear layer at its end; it is trained in place.
        users: the people, whose inputs are standardised.
        cohort: people per round.
        threads: torch's own threads. With one, people are divided among as many threads as there are cores.
    """

    model: nn.Sequential
    users: Population
    cohort: int
    threads: int

    def train(self, rounds: int) -> None:
        """Rounds of Reptile with step size 1."""
        rng, workers = np.random.default_rng(0), usable_cpus() if self.threads == 1 else 1
        torch.set_num_threads(self.threads)
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(self.threads,)) as pool:
            for _ in range(rounds):
                chosen = rng.choice(len(self.users), self.cohort, replace=False).tolist()
                adapted = list(pool.map(self._adapted, chosen, rng.integers(0, 2**31, self.cohort).tolist()))
                with torch.no_grad():
                    for parameter, values in zip(self.model.parameters(), zip(*adapted, strict=True), strict=True):
                        parameter.copy_(torch.stack(values).mean(0))

    def try_candidates(self, ks: Sequence[int]) -> float:
        """The largest mean gain in accuracy of any candidate, over all people, draws and strengths."""
        torch.set_num_threads(self.threads)
        with torch.no_grad():
            gains = [self._gains(user, k) for user in range(len(self.users)) for k in ks]
        return float(torch.stack(gains).mean(0).max())

    def _adapted(self, user: int, seed: int) -> list[Tensor]:
        x, y = self._rows(user)
        rng = np.random.default_rng(seed)
        support = int(rng.integers(1, min(_SUPPORT, len(x) - 1) + 1))
        rows = torch.from_numpy(rng.permutation(len(x))[: support + _QUERY])
        x, y = x[rows], y[rows]
        model = copy.deepcopy(self.model)  # other threads train copies of their own
        values = list(model.parameters())
        for _ in range(_STEPS):
            gradients = torch.autograd.grad(F.cross_entropy(model(x), y), values)
            with torch.no_grad():
                for value, gradient in zip(values, gradients, strict=True):
                    value.sub_(gradient, alpha=_LR)
        return [value.detach() for value in values]

    def _rows(self, user: int) -> tuple[Tensor, Tensor]:
        x, y = self.users.rows(user)
        return torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(np.ascontiguousarray(y))

    def _gains(self, user: int, k: int) -> Tensor:
        """The mean gain over draws of each candidate at each strength, `[candidates, strengths]`."""
        x, y = self._rows(user)
        hidden = self.model[:-1](x)
        before, features = self.model[-1](hidden).softmax(-1), F.normalize(hidden, dim=-1)
        orders = torch.stack([torch.randperm(len(x)) for _ in range(_DRAWS)])
        support, query = orders[:, :k], orders[:, k : k + _MOST_QUERY]
        residuals = F.one_hot(y[support], before.shape[-1]) - before[support]
        start = (before[query].argmax(-1) == y[query]).float().mean(-1)
        strengths = torch.linspace(0, 1, _STRENGTHS)[:, None, None, None]
        gains = []
        for mix, ridge in itertools.product(_MIXES, _RIDGES):
            inner = _kernel(features[support], features[support], mix) + ridge * torch.eye(k)
            change = _kernel(features[query], features[support], mix) @ torch.linalg.solve(inner, residuals)
            after = (before[query] + strengths * change).argmax(-1) == y[query]
            gains.append((after.float().mean(-1) - start).mean(-1))
        return torch.stack(gains)


def _kernel(a: Tensor, b: Tensor, mix: float) -> Tensor:
    cosine = a @ b.mT
    return mix * cosine + (1 - mix) * torch.exp((cosine - 1) / 0.25)


def fastest_way(make: Callable[[int], PlainLoop]) -> int:
    """The number of torch's own threads with which a round takes the least time at this moment."""

    def seconds(threads: int) -> float:
        loop = make(threads)
        began = time.perf_counter()
        loop.train(1)
        return time.perf_counter() - began

    return min(dict.fromkeys((1, usable_cpus())), key=seconds)


def standardised(population: Population) -> Array:
    """All inputs with mean 0 and deviation 1."""
    x: Array = (population.x - population.x.mean()) / population.x.std()
    return x
