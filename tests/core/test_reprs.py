"""A notebook prints what a cell gives: however large an object, its representation stays short."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.core.samples import bundle
from tests.sim import people

from tegu.core.bundle.manifest import ScheduleEntry
from tegu.core.data.spec import Spec
from tegu.core.data.users import LocalUser
from tegu.core.encoding.encoding import Encoding
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import TrainingPlan
from tegu.sim import Population

LONGEST = 2000


@functools.cache
def large() -> dict[str, Any]:
    small, many = bundle(), 20_000
    names = tuple(f"layer.{number}.weight" for number in range(many))
    entry = ScheduleEntry(5, {"steps": 3.0}, 0.1, 0.2, tuple(np.linspace(0, 1, 99)))
    schedule = tuple(entry._replace(k=number + 1) for number in range(100))
    training = {f"entry {number}": "x" * 50 for number in range(1000)}
    manifest = replace(small.manifest, adapted_parameters=names, schedule=schedule, training=training)
    spec = Spec.regression((many,), 1, ids=dict.fromkeys(range(many), 9))
    rows = np.zeros((4000, 50), np.float32)
    population = Population.from_arrays(rows, np.zeros(4000, np.float32), np.arange(4000) // 4)
    values = {f"title {number}": number for number in range(many)}
    return {
        "Bundle": replace(small, manifest=manifest),
        "Encoding": encoding(many, values),
        "LocalUser": LocalUser("a", rows, rows[:, 0]),
        "Manifest": manifest,
        "Population": population,
        "ScheduleEntry": entry,
        "Spec": spec,
        "Split": population.split(0),
        "TrainingPlan": TrainingPlan(calibration=CalibrationPlan(ks=tuple(range(1, 100)))),
        "Learner": people.learner(),
        "Experiment": people.experiment(),
    }


def encoding(many: int, values: dict[str, int]) -> Encoding:
    frame = {"user": np.arange(many) % 50, "item": list(values), "text": list(values)}
    found = Population.from_frame(frame, user="user", features="item", kind="ranking", titles="text").encoding
    assert found is not None
    return found


NAMES = """
    Bundle Encoding Experiment Learner LocalUser Manifest Population ScheduleEntry Spec Split TrainingPlan
"""


@pytest.mark.parametrize("name", NAMES.split())
def test_a_representation_is_short(name: str) -> None:
    value = large()[name]
    assert type(value).__name__ == name
    assert len(repr(value)) < LONGEST
    assert len(str(value)) < LONGEST
