"""The Flower ClientApp of nodes that host many users: `tegu.sim.federation.host_app:app`.

It answers the messages that `tegu.client.federation.client_app` answers, and demands as much of a round. It computes
over batches of users, and reads the rows of those who take part from disk. A node finds its folder, of
`tegu.sim.federation.hosts`, in one of two ways:

    --node-config "data='/path/hosts/0' bundle='/path/init.tegu' workers=4"     a SuperNode
    run-config  partitions='/path/hosts' bundle='/path/init.tegu'               a simulated node: `<partition-id>`

`workers` is the number of threads, by default one for each usable core. A simulated node has one. A node takes part in
rounds for its own bundle alone.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from tegu.client.federation.answers import Device, answer_evaluation, answer_training
from tegu.client.federation.client_app import data_path, reply_to, setting
from tegu.client.federation.minimums import read_minimums
from tegu.core.bundle.file import Bundle, read_bundle
from tegu.core.bundle.version import version_of
from tegu.core.errors import DataError
from tegu.core.process import usable_cpus
from tegu.core.scalars import whole_number
from tegu.sim.data.population import Population
from tegu.sim.data.population_on_disk import read_population
from tegu.sim.engine import Engine
from tegu.sim.engine.stored import read_engine
from tegu.sim.federation.hosts import ENGINE
from tegu.sim.federation.many_people import ManyPeople

__all__ = ["app"]

_KEPT = 16  # populations that a process keeps open; an actor of Ray answers for several nodes

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """As `tegu.client.federation.client_app.train`."""
    return reply_to(message, lambda: answer_training(message.content, _device(context), context.state))


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """As `tegu.client.federation.client_app.evaluate`."""
    return reply_to(message, lambda: answer_evaluation(message.content, _device(context)))


def _device(context: Context) -> Device:
    own = "data" in context.node_config
    folder = data_path(context, "")
    workers = whole_number("workers", context.node_config.get("workers", usable_cpus()), 1) if own else 1
    path, engine_path = Path(setting(context, "bundle")), folder.parent / ENGINE
    bundle, version, engine = _engine(path, _written(path), engine_path, _written(engine_path), workers)
    population = _population(folder, _written(folder / "rows.bin"))
    if population.spec != bundle.manifest.spec:
        raise DataError(f"{folder} holds rows for {population.spec}, and the bundle is for {bundle.manifest.spec}")
    return Device(bundle, version, ManyPeople(population, engine), read_minimums(context.node_config))


# A SuperNode starts a process for each message. An actor of Ray stays, and keeps what it has read.


@lru_cache(2)
def _engine(path: Path, written: int, engine: Path, engine_written: int, workers: int) -> tuple[Bundle, str, Engine]:
    """The bundle, its version, and the engine; times of writing tell one file from the next at its path."""
    del written, engine_written
    bundle = read_bundle(path)
    return bundle, version_of(bundle), read_engine(engine, bundle, workers)


@lru_cache(_KEPT)
def _population(folder: Path, written: int) -> Population:
    del written
    return read_population(folder)


def _written(path: Path) -> int:
    """When a file was written, in nanoseconds; 0 where there is none, as reading it will say."""
    return path.stat().st_mtime_ns if path.exists() else 0
