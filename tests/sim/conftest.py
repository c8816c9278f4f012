from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import pytest
import torch
from tests.sim import people

from tegu.compile import compile_learner
from tegu.learners import Learner
from tegu.sim.engine import Engine, EngineKind, make_engine
from tegu.sim.experiment_run import Outcome, run_experiment


class Tiny(NamedTuple):
    """The tiny classifier's learner on every engine."""

    learner: Learner
    graphs: dict[str, bytes]
    engines: dict[str, Engine]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Tensors of a dozen numbers are slow on several threads, the more so where other work is running."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def compiled_once() -> Iterator[None]:
    with people.compiled_once():
        yield


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    learner = people.learner()
    graphs = compile_learner(learner)
    return Tiny(learner, graphs, {kind: make_engine(learner, graphs, kind) for kind in get_args(EngineKind)})


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    """The tiny experiment, run to the end with seed 0, and its folder."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with people.compiled_once():
        return run_experiment(people.experiment(), folder), folder
