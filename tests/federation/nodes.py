"""What a federation of local processes starts from: a bundle, and the rows of each node's users."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tegu.core.bundle.file import Bundle, write_bundle
from tegu.server.deployment.environment import Scalar
from tegu.sim.data.population import Population
from tegu.sim.training.on_ray import write_partitions

__all__ = ["paths_of_run", "write_nodes"]


def write_nodes(
    folder: Path, start: Bundle, people: Population, nodes: int, settings: Mapping[str, Scalar] | None = None
) -> list[dict[str, Scalar]]:
    """Write `start.tegu` and `rows/<node>.npz` into the folder, and return each node's settings with these in them."""
    write_bundle(folder / "start.tegu", start)
    write_partitions(folder / "rows", people, nodes)
    return [
        {"data": f"{folder}/rows/{node}.npz", "bundle": f"{folder}/start.tegu", **(settings or {})}
        for node in range(nodes)
    ]


def paths_of_run(folder: Path, out: str = "out") -> dict[str, Scalar]:
    """The settings of a run that starts from the folder's bundle and writes into `out` below it."""
    return {"bundle": f"{folder}/start.tegu", "out": f"{folder}/{out}"}
