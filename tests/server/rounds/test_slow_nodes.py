"""With a fifth of the nodes ten times slower, buffered steps need at most half of the time of rounds."""

from __future__ import annotations

import pytest
from tests.server.rounds.slow_nodes import times


def test_buffered_steps_take_at_most_half_of_the_time() -> None:
    found = times(0, rounds=12)
    assert found.buffered <= found.rounds / 2


@pytest.mark.slow
def test_over_three_seeds() -> None:
    """`pytest -s -m slow` prints the table of record 063."""
    print("\nseed  error   rounds  over-sampled  buffered   (seconds of the simulated clock)")
    for seed in (0, 1, 2):
        found = times(seed)
        print(f"{seed:4d}  {found.error:.3f} {found.rounds:8.0f} {found.oversampled:13.0f} {found.buffered:9.0f}")
        assert found.buffered <= found.rounds / 2
