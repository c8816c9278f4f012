"""Graphs over many users at once, which the compiler makes and a simulation runs. They are never part of a bundle."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CohortGraphs"]


@dataclass(frozen=True)
class CohortGraphs:
    """Serialised ONNX graphs over many users at once, the result of `tegu.compile.compile_cohort`.

    Attributes:
        adapt: meta, support `[users, rows, ...]`, knobs, noise `[users, noise]` -> state `[users, ...]`.
        predict: meta, state `[users, ...]`, x `[users, rows, ...]` -> output `[users, ...]`.
        update: meta, support, query, noise, `blocks` `[blocks, users]`, `clip` -> sums of clipped updates
            `[blocks, ...]`. A table sent by rows is not summed: the graph gives each user's clipped rows and their ids.
            A learner that merges the query into the support has no query input.
        summed_update: meta, support, query, noise -> the unclipped sum of all users' updates, tables by rows as in
            `update`.
            None means that the learner has no such sum.
        summed_update_rows: the largest number of rows for which `summed_update` takes less time than `update`.
    """

    adapt: bytes
    predict: bytes
    update: bytes
    summed_update: bytes | None = None
    summed_update_rows: float = 0.0

    def __repr__(self) -> str:
        graphs = {
            "adapt": self.adapt,
            "predict": self.predict,
            "update": self.update,
            "summed_update": self.summed_update,
        }
        sizes = ", ".join(f"{name}={len(data)} bytes" for name, data in graphs.items() if data is not None)
        return f"CohortGraphs({sizes}, summed_update_rows={self.summed_update_rows:g})"
