"""N-way tasks drawn from classes, as a population: one user is one task.

A task has N classes, drawn at random and labelled 0 to N - 1 anew. Supports hold K rows of each
(`Population.from_arrays`, `balanced`), and queries hold the others. The tasks of training, calibration and evaluation
have different classes. Vinyals et al. 2016 (Matching Networks), arXiv:1606.04080, introduced this protocol.

Tasks hold no pictures but indices of the rows they share, so that many thousands of them take little memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tegu.core.data.arrays import as_array
from tegu.core.data.batch import Array
from tegu.core.data.spec import RawInputs, Spec, check_x
from tegu.core.errors import DataError, PopulationError
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.core.sampling.leakage import find_row_units
from tegu.core.scalars import whole_number
from tegu.sim.data.population import Population, Split

__all__ = ["Tasks", "few_shot_population"]

_FEWEST = 2  # rows of a class: one to adapt on and one to evaluate on


class Tasks(NamedTuple):
    """The tasks of one part of a population.

    Attributes:
        classes: the classes to draw from, entries of `label`.
        number: of tasks.
        ways: classes of each task. Training may have more than evaluation has, for learners that allow it.
        rows: most rows of each class in a task, drawn at random; None for all.
    """

    classes: Sequence[Any]
    number: int
    ways: int
    rows: int | None = None


def few_shot_population(
    x: RawInputs,
    label: ArrayLike,
    *,
    train: Tasks,
    calibration: Tasks,
    heldout: Tasks,
    user: ArrayLike | None = None,
    spec: Spec | None = None,
    seed: int = 0,
) -> Population:
    """Draw tasks from labelled rows.

    The seed, the part and a task's number determine the task.

    Args:
        x: inputs, rows first. They are kept once, however many tasks there are.
        label: `[rows]`, the class of each row.
        train: tasks that train.
        calibration: tasks that calibrate.
        heldout: tasks that evaluate.
        user: `[rows]`, the person of each row. The rows of a task are then all of one person. None draws from all.
        spec: for classification; None for one number array a row, and as many labels as the largest `ways`.
        seed: of the draws.

    Raises:
        DataError: rows do not fit, two parts share a class, or a number is out of range.
        PopulationError: a part has too few classes for its tasks.
    """
    parts = dict(zip(Split._fields, (train, calibration, heldout), strict=True))
    ways = max(tasks.ways for tasks in parts.values())
    spec = Spec.classification(as_array("x", x).shape[1:], ways) if spec is None else spec
    if spec.kind != "classification" or spec.outputs < ways:
        raise DataError(f"the spec is for {spec.kind} with {spec.outputs} outputs: expected {ways} classes or more")
    inputs, labels = check_x(spec, x), as_array("label", label)
    people = np.zeros(len(inputs), np.int64) if user is None else as_array("user", user)
    if not labels.shape == people.shape == (len(inputs),):
        raise DataError(
            f"label has shape {labels.shape} and user {people.shape}: expected one entry per row, ({len(inputs)},)"
        )
    _check_disjoint(parts)
    drawn = [_draw(name, tasks, labels, people, seed) for name, tasks in parts.items()]
    return _population(spec, inputs, [task for part in drawn for task in part], [len(part) for part in drawn])


def _check_disjoint(parts: Mapping[str, Tasks]) -> None:
    seen: dict[Any, str] = {}
    for name, tasks in parts.items():
        whole_number(f"number of {name} tasks", tasks.number, 1)
        whole_number(f"ways of {name} tasks", tasks.ways, 1)
        if tasks.rows is not None:
            whole_number(f"rows of {name} tasks", tasks.rows, _FEWEST)
        for each in tasks.classes:
            if seen.setdefault(each, name) != name:
                raise DataError(f"class {each!r} is in {seen[each]} and in {name}: expected each class in one part")


def _draw(name: str, tasks: Tasks, labels: Array, people: Array, seed: int) -> list[list[Array]]:
    """The rows of each task's classes."""
    able = [
        own for own in _rows_of_classes(tasks, labels, people) if len(own) >= tasks.ways
    ]  # of a person, or of all rows
    if not able:
        most = max(map(len, _rows_of_classes(tasks, labels, people)), default=0)
        raise PopulationError(
            f"{name} has {most} classes of {_FEWEST} rows or more: expected {tasks.ways} for tasks of {tasks.ways} "
            "ways; name more classes, or take fewer ways"
        )
    found = []
    for number in range(tasks.number):
        rng = keyed_rng("few-shot", seed, name, number)
        own = able[int(rng.integers(len(able)))]
        chosen = [own[place] for place in rng.choice(len(own), tasks.ways, replace=False)]
        found.append([rng.permutation(rows)[: tasks.rows] for rows in chosen])
    return found


def _rows_of_classes(tasks: Tasks, labels: Array, people: Array) -> list[list[Array]]:
    """For each person, the rows of each of the person's classes."""
    rows = np.flatnonzero(np.isin(labels, np.asarray(list(tasks.classes))))
    by_person: dict[Any, dict[Any, list[int]]] = {}
    for row, person, name in zip(rows.tolist(), people[rows].tolist(), labels[rows].tolist(), strict=True):
        by_person.setdefault(person, {}).setdefault(name, []).append(row)
    return [[np.asarray(own) for own in each.values() if len(own) >= _FEWEST] for each in by_person.values()]


def _population(spec: Spec, x: Array, tasks: Sequence[Sequence[Array]], sizes: Sequence[int]) -> Population:
    """The population of these tasks, of which the first `sizes[0]` train, and so on."""
    first_equal = find_row_units(x, np.asarray([len(x)])).unit  # equal rows of `x` are then one row of the pool
    pool = first_equal[np.concatenate([rows for task in tasks for rows in task])]
    y = np.concatenate([np.full(len(rows), way, np.int64) for task in tasks for way, rows in enumerate(task)])
    counts = np.asarray([sum(map(len, task)) for task in tasks])
    units = find_row_units(pool, counts, label=y)
    parts = np.repeat(np.arange(len(sizes)), sizes)
    names = np.asarray([f"{Split._fields[part]}-{number:06d}" for number, part in enumerate(parts.tolist())])
    own = np.cumsum(counts) - counts, counts, names, units.max_support, units.has_units
    return Population(spec, x, y, *own, labels=units.labels, pool=pool, parts=parts)
