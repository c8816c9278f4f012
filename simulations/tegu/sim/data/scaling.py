"""Means and standard deviations of training users' rows, which scale the inputs and targets of a default learner."""

from __future__ import annotations

import numpy as np

from tegu.core.data.batch import Array
from tegu.core.data.field import Field
from tegu.core.data.named_inputs import slices
from tegu.core.data.scaling import Scaling, scaling_of
from tegu.core.data.spec import Spec
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.sim.data.population import Population

__all__ = ["scaling_of_users"]

_MAX_USERS = 1000  # enough to estimate means and deviations, and few enough to read


def scaling_of_users(population: Population, seed: int) -> tuple[Scaling | None, Scaling | None]:
    """The scaling of inputs and of targets, estimated from up to 1,000 users; None for ids and for labels.

    Inputs that are one vector per row have one scaling per feature, since features may have different units. Pictures,
    windows and other inputs have one scaling for all their numbers, which share a unit. Each target has its own. Each
    named input has its own. Positions that hold ids or booleans keep their values: mean 0 and standard deviation 1.

    Args:
        population: training users, and no others.
        seed: decides which users are read if there are more than 1,000.
    """
    chosen = np.arange(len(population))
    if len(population) > _MAX_USERS:
        chosen = np.sort(keyed_rng("standards", seed).choice(len(population), _MAX_USERS, replace=False))
    x, y = population.subset(chosen).all_rows()
    spec = population.spec
    return _scaling_of_inputs(spec, x), scaling_of(y) if spec.kind == "regression" else None


def _scaling_of_inputs(spec: Spec, x: Array) -> Scaling | None:
    if spec.x.dtype == "int64" or (len(spec.x.ids),) == spec.x.shape:
        return None
    if not spec.inputs:
        return _without_ids(spec.x, scaling_of(x if x.ndim <= 2 else x.reshape(-1)))
    parts = zip(slices(spec.inputs).values(), (field for _, field in spec.inputs), strict=True)
    scalings = [_scaling_of_input(field, x[:, where]) for where, field in parts]
    return _without_ids(spec.x, Scaling(*map(np.concatenate, zip(*scalings, strict=True))))


def _scaling_of_input(field: Field, flat: Array) -> Scaling:
    """The scaling of one named input, flattened: `[positions]`."""
    scaling = scaling_of(flat if len(field.shape) <= 1 else flat.reshape(-1))
    return Scaling(*(np.broadcast_to(part, flat.shape[1:]) for part in scaling))


def _without_ids(field: Field, scaling: Scaling) -> Scaling:
    """The scaling with mean 0 and standard deviation 1 where `field` holds ids."""
    mean, std = (part.copy() for part in scaling)
    positions = [position for position, _ in field.ids]
    if positions:
        mean[positions], std[positions] = 0.0, 1.0
    return Scaling(mean, std)
