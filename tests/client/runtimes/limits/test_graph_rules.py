"""Graphs that are refused before ONNX Runtime sees them."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.client.graphs import linear_bundle, ranking_bundle
from tests.client.runtimes.limits import hostile
from tests.client.runtimes.limits.hostile import constant, model, node, value

from tegu.client.runtimes.limits.graph_rules import MAX_DEPTH, MAX_NODES, check_graph
from tegu.core.errors import RuntimeFailure


def sparse() -> bytes:
    made = onnx.load_model_from_string(hostile.sound())
    made.graph.sparse_initializer.add().dims.append(1 << 40)
    return bytes(made.SerializeToString())


def claims(*dims: int) -> bytes:
    tensor = constant("one", np.ones(1, np.float32))
    tensor.dims[:] = dims
    return model([node("Add", ["x", "one"], ["y"])], [tensor])


def in_an_attribute() -> bytes:
    tensor = constant("", np.ones(1, np.float32))
    tensor.external_data.add(key="location", value="/etc/passwd")
    return model([node("Constant", [], ["one"], value=tensor), node("Add", ["x", "one"], ["y"])])


def in_a_body() -> bytes:
    inner = hostile.body()
    inner.initializer.append(constant("c", np.ones(1, np.float32)))
    inner.initializer[0].data_location = TensorProto.EXTERNAL
    return model([node("Loop", ["turns", "", "x"], ["y"], body=inner)], [constant("turns", np.int64(1))])


def sequence_output() -> bytes:
    output = helper.make_tensor_sequence_value_info("y", hostile.FLOAT, [1])
    return model([node("Identity", ["x"], ["y"])], output=output)


IDENTITY = node("Identity", ["x"], ["y"])
REFUSED = {
    "external data beside it": (hostile.elsewhere("weights.bin"), "another file"),
    "external data anywhere": (hostile.elsewhere("/etc/passwd", offset="0", length="4"), "another file"),
    "external data above it": (hostile.elsewhere("../../../../etc/passwd"), "another file"),
    "external data in memory": (hostile.elsewhere("*/_ORT_MEM_ADDR_/*", offset="4096"), "another file"),
    "external data in an attribute": (in_an_attribute(), "another file"),
    "external data in a loop": (in_a_body(), "another file"),
    "functions": (hostile.with_function(), "functions"),
    "an endless loop": (hostile.loop(2**62), "loop of 4611686018427387904 turns"),
    "loops in loops": (hostile.loop(2, depth=MAX_DEPTH + 1), "nested more than 8 deep"),
    "a giant constant": (hostile.filled("ConstantOfShape", 10**12), "too large"),
    "a giant expansion": (hostile.filled("Expand", 10**12), "too large"),
    "a giant tiling": (hostile.filled("Tile", 10**12), "too large"),
    "more than it has": (claims(1 << 40), "too few bytes"),
    "a product that wraps": (claims(1 << 32, 1 << 32), "too few bytes"),
    "a negative size": (claims(-1), "too few bytes"),
    "too many axes": (claims(*[1] * 17), "too few bytes"),
    "sparse constants": (sparse(), "sparse"),
    "text": (
        model([node("Cast", ["x"], ["y"], to=hostile.STRING)], output=value("y", hostile.STRING, 1)),
        "no numbers",
    ),
    "hidden text": (model([node("Cast", ["x"], ["t"], to=hostile.STRING), IDENTITY]), "text of numbers"),
    "a sequence": (sequence_output(), "no tensor"),
    "sequence operators": (model([node("SequenceConstruct", ["x"], ["s"]), IDENTITY]), "SequenceConstruct"),
    "other operators": (model([node("Identity", ["x"], ["y"], domain="com.microsoft")]), "com.microsoft"),
    "an output of no type": (model([IDENTITY], output=onnx.ValueInfoProto(name="y")), "no type"),
    "an output of many axes": (model([IDENTITY], output=value("y", hostile.FLOAT, *[1] * 17)), "17 axes"),
    "an escape sequence in a name": (model([node("Identity", ["x"], ["\x1b[2J"]), IDENTITY]), "not printable"),
    "a long name": (model([node("Identity", ["x"], ["n" * 513]), IDENTITY]), "513 bytes"),
    "no graph": (b"", "no graph"),
    "another format": (b"\x32\x0a\x00\x00ORTM" + bytes(4) + hostile.sound(), "ONNX format"),
    "noise": (b"\xff" * 100, "too long"),
}


@pytest.mark.parametrize("attack", REFUSED)
def test_refused(attack: str) -> None:
    graph, why = REFUSED[attack]
    with pytest.raises(RuntimeFailure, match=why):
        check_graph(graph)


def test_half_a_million_names_are_refused_at_once() -> None:
    """As bytes, because onnx takes minutes to make them."""
    node, name = b"\x0a\x0a" + b"\x0a\x01x\x12\x01y\x22\x02Op", b"\x6a\x06\x0a\x04" + b"name"
    for graph, why in ((node * (MAX_NODES + 1), "more than 20000 nodes"), (name * 500_001, "more than 1000000 fields")):
        length = bytes([len(graph) & 0x7F | 0x80, len(graph) >> 7 & 0x7F | 0x80, len(graph) >> 14 & 0x7F | 0x80])
        with pytest.raises(RuntimeFailure, match=why):
            check_graph(b"\x3a" + length + bytes([len(graph) >> 21]) + graph)


def test_sound_graphs_pass() -> None:
    for graph in (hostile.sound(), hostile.loop(1000, depth=3), *linear_bundle().graphs.values()):
        check_graph(graph)
    check_graph(ranking_bundle().graphs["adapt"])


def test_a_damaged_graph_is_refused_with_one_kind_of_error() -> None:
    rng = random.Random(0)
    sources = [hostile.loop(3, depth=2), *linear_bundle().graphs.values()]
    refused = 0
    for _ in range(2000):
        graph = bytearray(rng.choice(sources))
        for _ in range(rng.randint(1, 4)):
            graph[rng.randrange(len(graph))] = rng.randrange(256)
        try:
            check_graph(bytes(graph[: rng.choice([len(graph), rng.randrange(len(graph))])]))
        except RuntimeFailure:
            refused += 1
    assert 1000 < refused < 2000
