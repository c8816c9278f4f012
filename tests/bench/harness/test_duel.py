from __future__ import annotations

from typing import Any, cast

from tegu.bench.harness.paired_runs import fight
from tegu.bench.harness.worker_handle import Repetition, Side


class Fake:
    def __init__(self, name: str, diary: list[str]) -> None:
        self.name, self.diary, self.count = name, diary, 0

    def repeat(self) -> Repetition:
        self.diary.append(self.name)
        self.count += 1
        return Repetition(float(self.count), 100.0, [{"w": cast(Any, self.count)}])


def test_sides_take_turns_and_the_first_pair_does_not_count() -> None:
    diary: list[str] = []
    seen = []

    def compare(a: Repetition, b: Repetition) -> float:
        seen.append((a.trees[0]["w"], b.trees[0]["w"]))
        return 0.1 * len(seen) if len(seen) < 3 else 0.05

    duel = fight(cast(Side, Fake("A", diary)), cast(Side, Fake("B", diary)), 3, compare)
    assert diary == ["A", "B"] * 4
    assert [repetition.seconds for repetition in duel.ours] == [2.0, 3.0, 4.0]
    assert [repetition.seconds for repetition in duel.theirs] == [2.0, 3.0, 4.0]
    assert seen == [(1, 1), (2, 2), (3, 3), (4, 4)], "the warm-up is compared too"
    assert duel.worst == 0.2
    assert all(repetition.trees == [] for repetition in (*duel.ours, *duel.theirs)), "parameters are not kept"
