"""A plain torch loop that does what a default `simulate` does, once: the rounds of training, then every candidate.

A round is one step of AdamW along the mean gradient of the cohort's losses: the model's, and that of its correction by
logistic regression on the support. A person's rows are one call of the model. In calibration the features of each
person's rows are computed once, and all draws and strengths of a candidate in one call.
"""

from __future__ import annotations

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

_SUPPORT, _QUERY = 64, 64
_LR, _DECAY, _RIDGE, _TRAINING_STEPS, _STEPS = 0.005, 0.1, 0.1, 5, 12
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
        """Rounds of AdamW, whose step size decays to 0."""
        rng, workers = np.random.default_rng(0), usable_cpus() if self.threads == 1 else 1
        values = list(self.model.parameters())
        optimiser = torch.optim.AdamW(values, lr=_LR, weight_decay=_DECAY)
        decay = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda done: 1 - done / rounds)
        torch.set_num_threads(self.threads)
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(self.threads,)) as pool:
            for _ in range(rounds):
                chosen = rng.choice(len(self.users), self.cohort, replace=False).tolist()
                found = list(pool.map(self._gradient, chosen, rng.integers(0, 2**31, self.cohort).tolist()))
                for value, gradients in zip(values, zip(*found, strict=True), strict=True):
                    value.grad = torch.stack(gradients).mean(0)
                optimiser.step()
                decay.step()

    def try_candidates(self, ks: Sequence[int]) -> float:
        """The largest mean gain in accuracy of any candidate, over all people, draws and strengths."""
        torch.set_num_threads(self.threads)
        with torch.no_grad():
            people = [self._encoded(user) for user in range(len(self.users))]
            gains = [_gains(*person, k) for person in people for k in ks]
        return float(torch.stack(gains).mean(0).max())

    def _gradient(self, user: int, seed: int) -> tuple[Tensor, ...]:
        """The gradient of a person's loss, and of the loss of the corrected query."""
        x, y = self._rows(user)
        rng = np.random.default_rng(seed)
        k = int(rng.integers(1, min(_SUPPORT, len(x) - 1) + 1))
        rows = torch.from_numpy(rng.permutation(len(x))[: k + _QUERY])
        x, y = x[rows], y[rows]
        hidden = self.model[:-1](x)
        logits, features = self.model[-1](hidden), F.normalize(hidden, dim=-1)
        targets = F.one_hot(y[:k], logits.shape[-1]).to(logits.dtype)
        kernel = features @ features[:k].mT
        weights = _fit(kernel[:k], logits[:k], targets, _RIDGE, _TRAINING_STEPS)
        loss = F.cross_entropy(logits, y) + F.cross_entropy(logits[k:] + kernel[k:] @ weights, y[k:])
        return torch.autograd.grad(loss, list(self.model.parameters()))

    def _rows(self, user: int) -> tuple[Tensor, Tensor]:
        x, y = self.users.rows(user)
        return torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(np.ascontiguousarray(y))

    def _encoded(self, user: int) -> tuple[Tensor, Tensor, Tensor]:
        """A person's logits, features and labels."""
        x, y = self._rows(user)
        hidden = self.model[:-1](x)
        return self.model[-1](hidden), F.normalize(hidden, dim=-1), y


def _gains(before: Tensor, features: Tensor, y: Tensor, k: int) -> Tensor:
    """The mean gain over draws of each candidate at each strength, `[candidates, strengths]`."""
    orders = torch.stack([torch.randperm(len(y)) for _ in range(_DRAWS)])
    support, query = orders[:, :k], orders[:, k : k + _MOST_QUERY]
    targets = F.one_hot(y[support], before.shape[-1]).to(before.dtype)
    start = (before[query].argmax(-1) == y[query]).float().mean(-1)
    strengths = torch.linspace(0, 1, _STRENGTHS)[:, None, None, None]
    gains = []
    for mix, ridge in itertools.product(_MIXES, _RIDGES):
        inner = _kernel(features[support], features[support], mix)
        weights = _fit(inner, before[support], targets, ridge, _STEPS)
        change = _kernel(features[query], features[support], mix) @ weights
        after = (before[query] + strengths * change).argmax(-1) == y[query]
        gains.append((after.float().mean(-1) - start).mean(-1))
    return torch.stack(gains)


def _fit(kernel: Tensor, start: Tensor, targets: Tensor, ridge: float, steps: int) -> Tensor:
    """Weights `[..., rows, outputs]` of logistic regression around the logits `start`, by accelerated bounded steps."""
    eye = torch.eye(kernel.shape[-1])
    inverse = torch.linalg.inv(kernel.detach() / 2 + ridge * eye)  # the softmax has a derivative of 1/2 at most
    weights = ahead = torch.zeros_like(start)
    for step in range(steps):
        slope = (start + kernel @ ahead).softmax(-1) - targets + ridge * ahead
        before, weights = weights, ahead - inverse @ slope
        ahead = weights + step / (step + 3) * (weights - before)
    return weights


def _kernel(a: Tensor, b: Tensor, mix: float) -> Tensor:
    cosine = a @ b.mT
    return mix * cosine + (1 - mix) * torch.exp((cosine - 1) / 0.25)


def fastest_way(make: Callable[[int], PlainLoop]) -> int:
    """The number of torch's own threads with which a round takes the fewest processor seconds."""

    def seconds(threads: int) -> float:
        loop = make(threads)
        began = time.process_time()
        loop.train(1)
        return time.process_time() - began

    return min(dict.fromkeys((1, usable_cpus())), key=seconds)


def standardised(population: Population) -> Array:
    """All inputs with mean 0 and deviation 1."""
    x: Array = (population.x - population.x.mean()) / population.x.std()
    return x
