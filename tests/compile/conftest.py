"""Compiled graphs, each compiled once a session."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
from tests.compile.families import FAMILIES

from tegu.compile import CohortGraphs, compile_cohort, compile_learner


@pytest.fixture(scope="session")
def device_graphs() -> Callable[[str], dict[str, bytes]]:
    return functools.cache(lambda name: compile_learner(FAMILIES[name].learner()))


@pytest.fixture(scope="session")
def cohort_graphs() -> Callable[[str], CohortGraphs]:
    return functools.cache(lambda name: compile_cohort(FAMILIES[name].learner()))
