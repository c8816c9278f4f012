"""The attacks of a simulation. A false user keeps to no clip and sends what the attack says."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from tegu.core.calibration.assignment import uniform_draw
from tegu.core.data.batch import Array
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree, norm, scale
from tegu.core.errors import DataError, UnknownNameError
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.core.scalars import real_number
from tegu.sim.data.population import Population

__all__ = ["Attack", "AttackName", "false_update", "false_users", "with_false_labels"]

AttackName: TypeAlias = Literal["signflip", "scale", "noise", "labelflip", "nan"]
_SCALE, _NOISE = 100.0, 10.0


@dataclass(frozen=True)
class Attack:
    """What false users do.

    Attributes:
        name: "signflip" sends the negative update, "scale" 100 times the update, "noise" random numbers of 10 times its
            norm, and "nan" NaN. "labelflip" sends the honest update for false targets: negative numbers, the labels in
            reverse order, or the items in reverse order.
        share: of the training users who are false, from 0 to below 0.5.

    Raises:
        UnknownNameError: no such attack.
        DataError: the share is out of range.
    """

    name: AttackName
    share: float = 0.2

    def __post_init__(self) -> None:
        if self.name not in get_args(AttackName):
            raise UnknownNameError("attack", self.name, get_args(AttackName))
        object.__setattr__(self, "share", real_number("the share of attackers", self.share))
        if not 0 <= self.share < 0.5:
            raise DataError(f"the share of attackers is {self.share}: expected from 0 to below 0.5 of the users")


def false_users(population: Population, attack: Attack) -> Array:
    """Whether each user is false, bool `[users]`: as many as the share says, drawn by name."""
    draws = np.asarray([uniform_draw(0, str(name), "attack") for name in population.users])
    false = np.zeros(len(population), bool)
    false[draws.argsort(kind="stable")[: round(attack.share * len(population))]] = True
    return false


def false_update(update: Tree, attack: Attack, *keys: int) -> Tree:
    """What a false user sends in place of an update. `keys` determine random numbers."""
    if attack.name == "signflip":
        return scale(update, -1.0)
    if attack.name == "scale":
        return scale(update, _SCALE)
    if attack.name == "nan":
        return {name: np.full_like(array, math.nan) for name, array in update.items()}
    if attack.name == "noise":
        rng = keyed_rng("attack", *keys)
        drawn = {name: np.asarray(rng.normal(size=array.shape), array.dtype) for name, array in update.items()}
        return scale(drawn, _NOISE * norm(update) / max(norm(drawn), 1e-30))
    return update


def with_false_labels(population: Population, false: Array) -> Population:
    """The population with false targets for these users, bool `[users]`.

    Raises:
        DataError: the rows are in files, which are never changed.
    """
    if population.read is not None:
        raise DataError("labelflip changes rows, and these are in files: use a population in memory, or another attack")
    begins, counts = population.begins[false], population.counts[false]
    rows = np.concatenate([np.arange(begin, begin + count) for begin, count in zip(begins, counts, strict=True)])
    x, y = np.array(population.x), np.array(population.y)
    if population.spec.kind == "ranking":
        x[rows] = _flipped(population.spec, x[rows])
    else:
        y[rows] = _flipped(population.spec, y[rows])
    return replace(population, x=x, y=y)


def _flipped(spec: Spec, values: Array) -> Array:
    if spec.kind == "regression":
        return -values
    most = {"classification": spec.outputs, "multilabel": 2, "ranking": spec.items}[spec.kind]
    flipped: Array = np.asarray((most or 0) - 1 - values, values.dtype)
    return flipped
