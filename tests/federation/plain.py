"""A reference implementation of federated Reptile in plain torch and float64."""

from __future__ import annotations

from typing import NamedTuple

import torch
from tests.federation.tiny import learner
from torch import Tensor, nn

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree
from tegu.core.sampling.episode import EpisodeRule, draw_episode, episode_key
from tegu.server.training.plan import TrainingPlan
from tegu.sim.data.population import Population

Parameters = dict[str, Tensor]


class Rounds(NamedTuple):
    """The parameters after the last round, the numbers of users by round, and the norms of updates before clipping."""

    meta: dict[str, Array]
    users: list[int]
    lengths: list[float]


def reptile_rounds(meta: Tree, people: Population, plan: TrainingPlan) -> Rounds:
    """The plan's rounds over all users, with SGD. Users with too few rows take no part."""
    parameters = {name: torch.tensor(array, dtype=torch.float64) for name, array in meta.items()}
    able = [user for user in range(len(people)) if people.counts[user] > plan.episodes.min_support]
    lengths = []
    for number in range(1, plan.rounds + 1):
        updates = [update(parameters, *rows(people, user, plan.episodes, plan.seed, number)) for user in able]
        norms = [length(each) for each in updates]
        shares = [min(1.0, plan.updates.first_clip / norm) / len(able) for norm in norms]
        rate = plan.outer.lr * (1 - (number - 1) / plan.rounds if plan.outer.decay else 1)
        parameters = {
            name: value - rate * sum(share * each[name] for share, each in zip(shares, updates, strict=True))
            for name, value in parameters.items()
        }
        lengths.extend(norms)
    return Rounds(as_tree(parameters), [len(able)] * plan.rounds, lengths)


def rows(people: Population, user: int, rule: EpisodeRule, seed: int, number: int) -> tuple[Tensor, Tensor]:
    """A user's support and query of a round, concatenated."""
    key = episode_key(seed, number, str(people.users[user]))
    support, query = draw_episode(*people.rows(user), rule, key)
    x, y, _ = ([torch.tensor(first), torch.tensor(second)] for first, second in zip(support, query, strict=True))
    return torch.cat(x).double(), torch.cat(y)


def update(parameters: Parameters, x: Tensor, y: Tensor) -> Parameters:
    """`parameters` minus the result of a few steps of gradient descent on all rows."""
    knobs = learner().knobs
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    model.load_state_dict(parameters)
    optimiser = torch.optim.SGD(model.parameters(), lr=knobs["lr"] * len(x) / (len(x) + knobs["prior"]))
    for _ in range(int(knobs["steps"])):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return {name: parameters[name] - value.detach() for name, value in model.named_parameters()}


def length(tree: Parameters) -> float:
    return float(torch.cat([value.flatten() for value in tree.values()]).norm())


def as_tree(parameters: Parameters) -> dict[str, Array]:
    return {name: value.float().numpy() for name, value in parameters.items()}
