"""Large tables in graphs are read by Gather and never copied; adapted rows are stored on the device by id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.compile.families import BATCHED, RATINGS, Ratings
from tests.compile.running import CohortGraphsOf, DeviceGraphsOf, rows, start

from tegu.client import OnnxRuntime, Personalizer
from tegu.client.runtimes.runtime import Runtime
from tegu.client.runtimes.torch_runtime import TorchRuntime
from tegu.compile import make_bundle
from tegu.core.bundle.file import Bundle
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.learners import reptile

FAMILY = BATCHED["rows"]
TABLES = {"meta.items.weight", "meta.bias.weight"}


@pytest.fixture
def bundle(device_graphs: DeviceGraphsOf) -> Bundle:
    learner = FAMILY.learner()
    return make_bundle(learner, start(learner), device_graphs("rows"))


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from _nodes(attribute.g)


def readers(data: bytes, names: set[str]) -> set[str]:
    return {node.op_type for node in _nodes(onnx.load_from_string(data).graph) if names & set(node.input)}


@pytest.mark.parametrize("name", ["rows", "rows_momentum", "rows_adam"])
def test_tables_are_read_only_by_gather(
    name: str, device_graphs: DeviceGraphsOf, cohort_graphs: CohortGraphsOf
) -> None:
    many = cohort_graphs(name)
    for graphs in (device_graphs(name), {"adapt": many.adapt, "predict": many.predict, "update": many.update}):
        for data in graphs.values():
            assert readers(data, TABLES) == {"Gather"}


def test_the_loop_does_not_read_the_tables(device_graphs: DeviceGraphsOf) -> None:
    for node in _nodes(onnx.load_from_string(device_graphs("rows")["adapt"]).graph):
        if node.op_type == "Loop":
            (body,) = [attribute.g for attribute in node.attribute if attribute.name == "body"]
            assert not any(TABLES & set(inner.input) for inner in _nodes(body))


def test_no_transpose_keeps_the_order_of_axes(device_graphs: DeviceGraphsOf) -> None:
    for graph in device_graphs("rows_in_part").values():
        for node in _nodes(onnx.load_from_string(graph).graph):
            orders = [list(a.ints) for a in node.attribute if node.op_type == "Transpose"]
            assert all(order != sorted(order) for order in orders)


def states_of(bundle: Bundle) -> tuple[tuple[Runtime, Runtime], list[Tree]]:
    support = rows(RATINGS, 6)
    knobs = {"steps": 4.0, "lr": 0.1, "prior": 0.0}
    runtimes = OnnxRuntime(bundle.graphs), TorchRuntime(Ratings(), bundle.manifest)
    return runtimes, [runtime.adapt(bundle.meta, support, knobs) for runtime in runtimes]


def test_each_runtime_reads_the_others_state(bundle: Bundle) -> None:
    runtimes, states = states_of(bundle)
    assert "items.weight/rows" in states[0]
    assert states[1]["items.weight"].shape == (50, 4)
    x = np.arange(50)
    outputs = [runtime.predict(bundle.meta, state, x) for runtime in runtimes for state in states]
    for output in outputs:
        np.testing.assert_allclose(output, outputs[0], atol=1e-6)
    assert np.abs(outputs[0] - runtimes[1].predict(bundle.meta, {}, x)).max() > 0.01


def test_adapt_reopen_with_another_runtime_and_reset(bundle: Bundle, tmp_path: Path) -> None:
    support, store, x = rows(RATINGS, 6), tmp_path / "me.db", np.arange(50)
    with Personalizer.open(bundle, store=store) as p:
        before = p.predict(x)
        p.observe(support.x, support.y)
        assert p.adapt().kept
        adapted = p.predict(x)
        assert np.abs(adapted - before).max() > 0.01
        assert len(p.recommend(3)[0]) == 3
    torch_runtime = TorchRuntime(Ratings(), bundle.manifest)
    with Personalizer.open(bundle, store=store, runtime=torch_runtime) as q:
        np.testing.assert_allclose(q.predict(x), adapted, atol=1e-6)
        q.adapt()
    with Personalizer.open(bundle, store=store) as p:
        np.testing.assert_allclose(p.predict(x), adapted, atol=1e-6)
        p.reset()
        np.testing.assert_array_equal(p.predict(x), before)


def test_the_size_of_the_store_does_not_depend_on_the_number_of_items(tmp_path: Path) -> None:
    sizes = []
    for items in (64, 6400):
        learner = reptile(Ratings(items), Spec.regression((), items=items), steps=1, lr=0.1, init="fresh")
        path = tmp_path / f"{items}.db"
        with Personalizer.open(make_bundle(learner, learner.init(0)), store=path) as p:
            p.observe(np.arange(10), np.ones((10, 1), np.float32))
            p.adapt()
        sizes.append(path.stat().st_size)
    assert sizes[0] == sizes[1]
