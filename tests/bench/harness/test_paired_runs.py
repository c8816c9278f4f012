from __future__ import annotations

from typing import Any, cast

from tegu.bench.harness.paired_runs import run_pairs
from tegu.bench.harness.worker_handle import Repetition, Worker


class FakeWorker:
    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls, self.count = name, calls, 0

    def repeat(self) -> Repetition:
        self.calls.append(self.name)
        self.count += 1
        return Repetition(float(self.count), 100.0, [{"w": cast(Any, self.count)}])


def test_workers_alternate_and_the_first_pair_is_not_counted() -> None:
    calls: list[str] = []
    compared = []

    def difference(a: Repetition, b: Repetition) -> float:
        compared.append((a.trees[0]["w"], b.trees[0]["w"]))
        return 0.1 * len(compared) if len(compared) < 3 else 0.05

    runs = run_pairs(cast(Worker, FakeWorker("A", calls)), cast(Worker, FakeWorker("B", calls)), 3, difference)
    assert calls == ["A", "B"] * 4
    assert [repetition.seconds for repetition in runs.ours] == [2.0, 3.0, 4.0]
    assert [repetition.seconds for repetition in runs.theirs] == [2.0, 3.0, 4.0]
    assert compared == [(1, 1), (2, 2), (3, 3), (4, 4)], "the warm-up is compared too"
    assert runs.largest_difference == 0.2
    assert all(repetition.trees == [] for repetition in (*runs.ours, *runs.theirs)), "parameters are not kept"
