"""The implementations that need no further packages, each against numpy or plain torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tests.bench.numpy_peer import adapt, logits, small_task

from tegu.bench.peers import tegu_device, torch_device
from tegu.bench.peers.fastest_threads import with_fastest_threads
from tegu.bench.peers.flower_client import train_user
from tegu.bench.peers.prepared_task import TimedRun
from tegu.bench.suites.device import write_device_files
from tegu.bench.tasks.catalogue import synthetic_task
from tegu.bench.tasks.task import Task


def one_user() -> Task:
    return synthetic_task(replace(small_task().settings, rounds=2), [7])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("device")
    write_device_files(one_user(), path)
    return path


@pytest.mark.parametrize("module", [tegu_device, torch_device])
def test_every_adaptation_starts_anew_and_equals_numpys(module: object, folder: Path) -> None:
    task = one_user()
    expected = adapt(task, task.init, task.x, task.y)
    threads = torch.get_num_threads()
    try:
        with module.prepare_task(task, folder) as prepared:  # type: ignore[attr-defined]
            for _ in range(2):
                run = prepared.repeat()
                assert run.seconds > 0
                (tree,) = run.trees
                for name, value in expected.items():
                    np.testing.assert_allclose(tree[name], value, atol=1e-6)
    finally:
        torch.set_num_threads(threads)


def test_the_forward_graph_has_the_models_parameter_names(folder: Path) -> None:
    task = one_user()
    graph = onnx.load(str(folder / "forward.onnx")).graph
    assert {tensor.name for tensor in graph.initializer} >= set(task.init)
    session = onnxruntime.InferenceSession(str(folder / "forward.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: task.x})
    np.testing.assert_allclose(found, logits(task.init, task.x)[1], atol=1e-5)


def test_flowers_client_trains_like_numpy() -> None:
    task = small_task()
    x, y = task.rows_by_user()[1]
    expected = adapt(task, task.init, x, y)
    found = train_user(task, 1, {name: torch.from_numpy(value) for name, value in task.init.items()})
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].numpy(), value, atol=1e-6)


def test_the_faster_number_of_threads_runs_all_rounds() -> None:
    threads, used = torch.get_num_threads(), []
    seconds_per_round = {1: 0.5, 2: 0.25}

    def run(rounds: int) -> TimedRun:
        used.append((torch.get_num_threads(), rounds))
        return TimedRun(seconds_per_round[torch.get_num_threads()] * rounds, [])

    try:
        torch.set_num_threads(2)
        prepared = with_fastest_threads(run, 3, "pfl")
        assert prepared.repeat().seconds == 0.75
        seconds_per_round[2] = 5.0
        assert prepared.repeat().seconds == 1.5, "both are timed before every repetition"
        assert used == [(2, 1), (1, 1), (2, 3), (2, 1), (1, 1), (1, 3)]
        assert "the faster of 2 and 1 thread(s)" in prepared.description
    finally:
        torch.set_num_threads(threads)
