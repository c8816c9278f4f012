"""Recurrent layers: graphs whose size does not grow with the length, with the values of torch in float64."""

from __future__ import annotations

import onnx
import pytest
import torch
from tests.compile.families import Recurrent
from tests.compile.running import knobs, rows, run, start
from torch.func import functional_call, grad

from tegu.compile import device
from tegu.compile.graphs import compile_graphs
from tegu.core.data.spec import Spec
from tegu.learners import reptile

LENGTH = 40


def _adapt_graph(kind: str, length: int) -> bytes:
    learner = reptile(Recurrent(kind), Spec.classification((length, 4), 3))
    return compile_graphs(device.device_plan(learner), ("adapt",))["adapt"]


def _nodes(graph: onnx.GraphProto) -> int:
    inner = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return len(graph.node) + sum(map(_nodes, inner))


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_steps_over_a_long_sequence_are_those_of_torch_in_float64(kind: str) -> None:
    model, spec = Recurrent(kind), Spec.classification((LENGTH, 4), 3)
    learner = reptile(model, spec)
    meta, support = start(learner), rows(spec, 6)
    graph = _adapt_graph(kind, LENGTH)
    found = run(graph, meta=meta, support=support, knob=knobs(learner, steps=2, lr=0.3))
    x, y = torch.from_numpy(support.x).double(), torch.from_numpy(support.y)
    parameters = {name: torch.from_numpy(value).double() for name, value in meta.items()}

    def loss(own: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(functional_call(model, own, (x,)), y)

    for _ in range(2):
        gradients = grad(loss)(parameters)
        parameters = {name: value - 0.3 * gradients[name] for name, value in parameters.items()}
    for name, value in parameters.items():
        torch.testing.assert_close(torch.from_numpy(found[f"state.{name}"]).double(), value, rtol=1e-4, atol=1e-5)
    short = onnx.load_model_from_string(_adapt_graph(kind, 4))
    assert _nodes(onnx.load_model_from_string(graph).graph) == _nodes(short.graph)
