"""Reptile over a federation, written anew in plain torch and float64."""

from __future__ import annotations

from typing import NamedTuple

import torch
from tests.federation.tiny import learner
from torch import Tensor, nn

from tegu.core.batch import Array
from tegu.core.episode import draw_episode, episode_key
from tegu.core.tree import Tree
from tegu.sim.population import Population
from tegu.sim.train import TrainingPlan

Parameters = dict[str, Tensor]


class Rounds(NamedTuple):
    """The parameters after the last round, users by round, and the length of every update before it was clipped."""

    meta: dict[str, Array]
    users: list[int]
    lengths: list[float]


def reptile_rounds(meta: Tree, people: Population, plan: TrainingPlan) -> Rounds:
    """The plan's rounds over all users, by SGD; users with too few rows stay out."""
    parameters = {name: torch.tensor(array, dtype=torch.float64) for name, array in meta.items()}
    users, lengths = [], []
    for number in range(1, plan.rounds + 1):
        updates = [_update(parameters, *rows) for rows in _rows_of_users(people, plan, number)]
        norms = [float(torch.cat([part.flatten() for part in update.values()]).norm()) for update in updates]
        shares = [min(1.0, plan.clip / length) / len(updates) for length in norms]
        rate = plan.outer.lr * (1 - (number - 1) / plan.rounds if plan.outer.decay else 1)
        parameters = {
            name: value - rate * sum(share * update[name] for share, update in zip(shares, updates, strict=True))
            for name, value in parameters.items()
        }
        users.append(len(updates))
        lengths.extend(norms)
    return Rounds({name: value.float().numpy() for name, value in parameters.items()}, users, lengths)


def _rows_of_users(people: Population, plan: TrainingPlan, number: int) -> list[tuple[Tensor, Tensor]]:
    """Support and query together, of each user who has enough rows."""
    chosen = []
    for user, name in enumerate(people.users):
        x, y = people.rows(user)
        if len(x) > plan.rule.min_support:
            support, query = draw_episode(x, y, plan.rule, episode_key(plan.seed, number, str(name)))
            rows = [(torch.tensor(first), torch.tensor(second)) for first, second in zip(support, query, strict=True)]
            chosen.append((torch.cat(rows[0]).double(), torch.cat(rows[1])))
    return chosen


def _update(parameters: Parameters, x: Tensor, y: Tensor) -> Parameters:
    """How far a few steps of gradient descent on all rows lead away from `parameters`, in the direction back."""
    knobs = learner().knobs
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    model.load_state_dict(parameters)
    optimiser = torch.optim.SGD(model.parameters(), lr=knobs["lr"] * len(x) / (len(x) + knobs["prior"]))
    for _ in range(int(knobs["steps"])):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return {name: parameters[name] - value.detach() for name, value in model.named_parameters()}
