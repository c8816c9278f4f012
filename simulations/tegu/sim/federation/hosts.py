"""Nodes that host many users each: the folder that they read, and the app that they run.

<folder>/engine.npz           of `tegu.sim.engine.stored`
<folder>/0  <folder>/1  ...   a population on disk for each node
"""

from __future__ import annotations

from pathlib import Path

from tegu.core.bundle.file import Bundle
from tegu.sim.data.population import Population
from tegu.sim.data.population_on_disk import write_population
from tegu.sim.engine import Engine
from tegu.sim.engine.stored import write_engine

__all__ = ["ENGINE", "HOST_APP_DIR", "write_hosts"]

HOST_APP_DIR = Path(__file__).parent / "flower_app"  # for `flwr run`
ENGINE = "engine.npz"


def write_hosts(folder: Path, population: Population, nodes: int, engine: Engine, bundle: Bundle) -> None:
    """Write what nodes need besides the bundle; users are dealt out as on the in-process grid.

    `write_population(folder, ..., shards=nodes)` and `write_engine` do the same for users who do not fit into memory.

    Args:
        folder: created if it is absent.
        population: all users.
        nodes: number of nodes.
        engine: runs the learner over batches of users; one of ONNX graphs.
        bundle: that the nodes get.

    Raises:
        DataError: the engine runs in torch.
        FileError: the folder cannot be written.
        PopulationError: there are fewer users than nodes.
    """
    users = (population.local(index) for index in range(len(population)))
    write_population(folder, population.spec, users, population.encoding, shards=nodes)
    write_engine(folder / ENGINE, engine, bundle)
