"""What a simulated run is, for `run.json`: plan, learner, first parameters and data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tegu.compile import manifest_of
from tegu.core.data.batch import Array
from tegu.learners.learner import Learner
from tegu.server.training.plan import TrainingPlan
from tegu.server.training.run_folder import SHA, Record
from tegu.server.training.run_record import learner_record, plan_record
from tegu.sim.data.population import Population

__all__ = ["data_record", "run_record"]

_ALL_ROWS_BELOW = 1 << 28  # bytes of rows; of a larger population, some users' rows are read
_SAMPLED = 1000  # users
_AT_ONCE = 1 << 12  # users


def run_record(
    population: Population, learner: Learner, graphs: Mapping[str, bytes], plan: TrainingPlan, backend: str
) -> Record:
    """The record of a run in simulation.

    Engine and memory limit are no part of it: they change no more than the last bits of a result.
    """
    return {
        "plan": {**plan_record(plan), "backend": backend},
        **learner_record(manifest_of(learner), learner.init(plan.seed), graphs),
        "data": data_record(population),
    }


def data_record(population: Population) -> dict[str, Any]:
    """Numbers of users and rows, and a sha256 each over names, inputs, targets and units.

    Names, numbers of rows and the sizes of supports of all users are read. Of rows, all are read up to 256 MiB, and
    beyond that those of 1,000 users at even distances, so that a population on disk takes no longer. There, a change
    to the rows of other users alone is not seen.
    """
    hashes = {name: hashlib.sha256() for name in ("users' names or numbers of rows", "inputs (x)", "targets (y)")}
    names, x, y = hashes.values()
    for values in (population.counts, population.max_support, population.has_units):
        names.update(np.ascontiguousarray(values).tobytes())
    for name in population.users.tolist():
        names.update(f"{name!r},".encode())
    for users in _users_read(population):
        inputs, targets = population.subset(users).all_rows()
        x.update(np.ascontiguousarray(inputs).tobytes())
        y.update(np.ascontiguousarray(targets).tobytes())
    counted = {"users": len(population), "rows": int(population.counts.sum())}
    return counted | {name: SHA + sha.hexdigest() for name, sha in hashes.items()}


def _users_read(population: Population) -> Iterator[Array]:
    each = population.x[:1].nbytes + population.y[:1].nbytes
    users = np.arange(len(population))
    if int(population.counts.sum()) * each > _ALL_ROWS_BELOW and len(users) > _SAMPLED:
        users = np.linspace(0, len(users) - 1, _SAMPLED).round().astype(np.int64)
    yield from np.array_split(users, -(-len(users) // _AT_ONCE))
