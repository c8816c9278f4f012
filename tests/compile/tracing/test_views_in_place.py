"""Axes that a batching rule or a model changes in place: one recording is enough, and the results are torch's."""

from __future__ import annotations

import pytest
import torch
from tests.compile.running import run
from torch import fx
from torch.func import vmap

from tegu.compile.tracing import capture as recording
from tegu.compile.tracing.trace import GraphSource, trace
from tegu.compile.tracing.views_in_place import without_views_in_place


def squeezed(values):
    x = values["x"].unsqueeze(1).unsqueeze(-1) * 2
    x.squeeze_()
    return {"y": x + 1}


def one_axis(values):
    x = values["x"].unsqueeze(1) * 2
    x.squeeze_(1)
    x.unsqueeze_(-1)
    return {"y": x.sum(-1)}


def no_axis(values):
    x = values["x"] * 2
    x.squeeze_(1)
    return {"y": x + 1}


def products(values):
    return {"y": vmap(lambda own: own @ values["matrix"])(values["x"])}


def view_taken_before(values):
    x = values["x"].unsqueeze(1) * 2
    before = x.view(-1)
    x.squeeze_(1)
    x.mul_(3)
    return {"y": x + before.reshape(x.shape)}


@pytest.mark.parametrize(
    ("function", "recordings"),
    [(squeezed, 2), (one_axis, 1), (no_axis, 1), (products, 1), (view_taken_before, 2)],
)
def test_the_results_are_those_of_torch(function, recordings: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEGU_CACHE", "off")
    recorded, calls = recording._recorded, []
    monkeypatch.setattr(recording, "_recorded", lambda *given, **named: calls.append(1) or recorded(*given, **named))
    inputs = {"x": torch.randn(5, 3), "matrix": torch.randn(3, 4)}
    model = trace({"graph": GraphSource(function, inputs, {"x": (0,)})})["graph"]
    assert len(calls) == recordings
    case = {"x": torch.randn(7, 3), "matrix": inputs["matrix"]}
    found = run(model.SerializeToString(), **{name: value.numpy() for name, value in case.items()})["y"]
    torch.testing.assert_close(torch.from_numpy(found), function(case)["y"])


def test_a_change_stays_where_the_old_name_is_read_later() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    x.meta["val"] = torch.empty(3, 1)
    changed = graph.call_function(torch.ops.aten.squeeze_.dim, (x, 1))
    graph.output((changed, graph.call_function(torch.ops.aten.relu.default, (x,))))
    module = fx.GraphModule(torch.nn.Module(), graph)
    without_views_in_place(module)
    assert [node.target for node in graph.nodes if node.op == "call_function"] == [
        torch.ops.aten.squeeze_.dim,
        torch.ops.aten.relu.default,
    ]
