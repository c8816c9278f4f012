"""The names and the order of a graph's outputs, and what a graph does not store."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from tests.compile.running import run

from tegu.compile.named_tensors import Named
from tegu.compile.tracing.trace import GraphSource, trace


def test_equal_outputs_keep_their_names_and_order() -> None:
    def equal_outputs(values: Named) -> Named:
        both = values["x"] + 1
        return {"third": both * 2, "first": both.clone(), "second": both.clone()}

    model = trace({"equal_outputs": GraphSource(equal_outputs, {"x": torch.ones(13, 2)}, {"x": (0,)})})["equal_outputs"]
    onnx.checker.check_model(model, full_check=True)
    assert [output.name for output in model.graph.output] == ["third", "first", "second"]
    found = run(model.SerializeToString(), x=np.full((5, 2), 3, np.float32))
    assert {name: float(value[4, 1]) for name, value in found.items()} == {"third": 8, "first": 4, "second": 4}


def test_a_table_of_one_number_is_not_stored() -> None:
    """The gradient of a look-up begins with a table of zeros, and that of a sum with one of ones."""

    def gradient(values: Named) -> Named:
        def loss(table: torch.Tensor) -> torch.Tensor:
            return table[values["ids"]].square().sum() + 3 * table.sum()

        return {"slope": torch.func.grad(loss)(values["table"])}

    inputs = {"table": torch.ones(400, 30), "ids": torch.arange(13)}
    data = trace({"gradient": GraphSource(gradient, inputs, {"ids": (0,)})})["gradient"].SerializeToString()
    assert len(data) < 400 * 30
    table = np.random.default_rng(0).normal(size=(400, 30)).astype(np.float32)
    expected = np.full_like(table, 3)
    expected[[5, 7]] += 2 * table[[5, 7]]
    np.testing.assert_allclose(run(data, table=table, ids=np.asarray([5, 7]))["slope"], expected, rtol=1e-6)
