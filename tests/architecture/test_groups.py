"""Tests of a group run in one process: two of them may use the same ports, folders or fixtures."""

from __future__ import annotations

import os

import pytest


@pytest.mark.xdist_group("ray")
def test_groups_of_tests_are_kept(request: pytest.FixtureRequest) -> None:
    """pytest-xdist sends tests by the name of their group, which it writes behind the name of the test."""
    several = "PYTEST_XDIST_WORKER" in os.environ and request.config.getoption("loadgroup", default=False)
    assert request.node.nodeid.endswith("@ray") == bool(several)
