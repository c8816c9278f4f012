"""Nodes that host many users each: the folder that they read, and the app that they run.

<folder>/engine.npz           of `tegu.sim.engine.stored`
<folder>/0  <folder>/1  ...   a population on disk for each node
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tegu.core.bundle.file import Bundle
from tegu.core.data.users import LocalUser
from tegu.core.files import make_folder
from tegu.sim.data.population_on_disk import write_population
from tegu.sim.engine import Engine
from tegu.sim.engine.stored import write_engine

__all__ = ["ENGINE", "HOST_APP_DIR", "write_hosts"]

HOST_APP_DIR = Path(__file__).parent / "flower_app"  # for `flwr run`
ENGINE = "engine.npz"


def write_hosts(folder: Path, bundle: Bundle, engine: Engine, users: Iterable[LocalUser], nodes: int) -> None:
    """Write what nodes need besides the bundle. Users need not all be in memory.

    Args:
        folder: created if it is absent.
        bundle: that the nodes get.
        engine: runs the bundle's learner over batches of users; one of ONNX graphs.
        users: all users, who are dealt out in turn, as on the in-process grid.
        nodes: number of nodes.

    Raises:
        DataError: the engine runs in torch, or rows do not fit the bundle.
        FileError: the folder cannot be written.
        PlatformError: this system cannot read a population on disk.
        PopulationError: there are fewer users than nodes, or a user has no rows.
    """
    make_folder(folder)
    write_engine(folder / ENGINE, engine, bundle)
    write_population(folder, bundle.manifest.spec, users, shards=nodes)
