"""The names and the order of a graph's outputs."""

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
