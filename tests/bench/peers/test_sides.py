"""Sides that this environment has, each against numpy or plain torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tegu.bench.peers.fastest_threads import with_fastest_threads
from tegu.bench.peers.prepared_task import Done
from tegu.bench.tasks.catalogue import labelled
from tests.bench.small import adapted, logits, small_task

from tegu.bench.peers import tegu_device, torch_device
from tegu.bench.peers.flower_client import trained
from tegu.bench.suites.device import prepare
from tegu.bench.tasks.task import Task


def one_user() -> Task:
    return labelled(replace(small_task().work, rounds=2), [7])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("device")
    prepare(one_user(), path)
    return path


@pytest.mark.parametrize("module", [tegu_device, torch_device])
def test_a_device_adapts_as_numpy_does_from_the_start_each_time(module: object, folder: Path) -> None:
    task = one_user()
    expected = adapted(task, task.init, task.x, task.y)
    threads = torch.get_num_threads()
    try:
        with module.opened(task, folder) as ready:  # type: ignore[attr-defined]
            for _ in range(2):
                done = ready.repeat()
                assert done.seconds > 0
                (tree,) = done.trees
                for name, value in expected.items():
                    np.testing.assert_allclose(tree[name], value, atol=1e-6)
    finally:
        torch.set_num_threads(threads)


def test_the_forward_graph_holds_the_parameters_under_their_names(folder: Path) -> None:
    task = one_user()
    graph = onnx.load(str(folder / "forward.onnx")).graph
    assert {tensor.name for tensor in graph.initializer} >= set(task.init)
    session = onnxruntime.InferenceSession(str(folder / "forward.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: task.x})
    np.testing.assert_allclose(found, logits(task.init, task.x)[1], atol=1e-5)


def test_flowers_client_trains_as_numpy_does() -> None:
    task = small_task()
    x, y = task.rows()[1]
    expected = adapted(task, task.init, x, y)
    found = trained(task, 1, {name: torch.from_numpy(value) for name, value in task.init.items()})
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].numpy(), value, atol=1e-6)


def test_the_faster_number_of_threads_does_all_rounds() -> None:
    threads, used = torch.get_num_threads(), []
    takes = {1: 0.5, 2: 0.25}

    def run(rounds: int) -> Done:
        used.append((torch.get_num_threads(), rounds))
        return Done(takes[torch.get_num_threads()] * rounds, [])

    try:
        torch.set_num_threads(2)
        ready = with_fastest_threads(run, 3, "pfl")
        assert ready.repeat().seconds == 0.75
        takes[2] = 5.0
        assert ready.repeat().seconds == 1.5, "it is tried anew each time"
        assert used == [(2, 1), (1, 1), (2, 3), (2, 1), (1, 1), (1, 3)]
        assert "the faster of 2 and 1 thread(s)" in ready.note
    finally:
        torch.set_num_threads(threads)
