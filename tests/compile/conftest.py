"""Compiled graphs of the model families, each compiled once per session."""

from __future__ import annotations

import functools

import pytest
from tests.compile.families import FAMILIES
from tests.compile.running import CohortGraphsOf, DeviceGraphsOf

from tegu.compile import compile_cohort, compile_learner


@pytest.fixture(scope="session")
def device_graphs() -> DeviceGraphsOf:
    return functools.cache(lambda name: compile_learner(FAMILIES[name].learner()))


@pytest.fixture(scope="session")
def cohort_graphs() -> CohortGraphsOf:
    return functools.cache(lambda name: compile_cohort(FAMILIES[name].learner()))
