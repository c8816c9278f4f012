from __future__ import annotations

import sys

import numpy as np
import pytest
from onnx import TensorProto, helper
from tests.client.graphs import (
    ITEMS,
    linear_adapt,
    linear_bundle,
    linear_gradient,
    linear_predict,
    linear_rows,
    ranking_bundle,
)

from tegu.client import OnnxRuntime
from tegu.core.data.batch import Batch, full_batch
from tegu.core.errors import MissingExtraError, RuntimeFailure

BUNDLE = linear_bundle()
X, Y = linear_rows(6)
SUPPORT = full_batch(X, Y)
KNOBS = {"steps": 3.0, "lr": 0.1, "unread": 7.0}


def test_adapt_takes_the_knobs_steps() -> None:
    runtime = OnnxRuntime(BUNDLE.graphs)
    for steps in (0, 1, 8):
        state = runtime.adapt(BUNDLE.meta, SUPPORT, {**KNOBS, "steps": steps})
        expected = linear_adapt(BUNDLE.meta, SUPPORT, steps, 0.1)
        assert sorted(state) == ["bias", "weight"]
        for name, value in expected.items():
            np.testing.assert_allclose(state[name], value, atol=1e-5)


def test_padding_does_not_count() -> None:
    padded = Batch(np.concatenate([X, X + 9]), np.concatenate([Y, Y - 9]), np.repeat([1, 0], 6).astype(np.float32))
    runtime = OnnxRuntime(BUNDLE.graphs)
    a, b = (runtime.adapt(BUNDLE.meta, batch, KNOBS) for batch in (SUPPORT, padded))
    for name in a:
        np.testing.assert_allclose(a[name], b[name], atol=1e-6)


def test_update_is_fed_what_its_graph_reads() -> None:
    update = OnnxRuntime(BUNDLE.graphs).update(BUNDLE.meta, SUPPORT, full_batch(X[:2], Y[:2]))
    for name, value in linear_gradient(BUNDLE.meta, full_batch(X[:2], Y[:2])).items():
        assert update[name].shape == BUNDLE.meta[name].shape
        np.testing.assert_allclose(update[name], value, atol=1e-5)


def test_the_result_shares_no_memory_with_the_arguments() -> None:
    state = OnnxRuntime(BUNDLE.graphs).adapt(BUNDLE.meta, SUPPORT, {**KNOBS, "steps": 0})
    for name, value in state.items():
        np.testing.assert_array_equal(value, BUNDLE.meta[name])
        assert not np.shares_memory(value, BUNDLE.meta[name])


def test_arrays_that_cannot_be_written_or_lie_askew_will_do() -> None:
    meta = {name: value.copy() for name, value in BUNDLE.meta.items()}
    for value in meta.values():
        value.flags.writeable = False
    askew = np.asfortranarray(X)
    state = OnnxRuntime(BUNDLE.graphs).adapt(meta, full_batch(askew, Y), KNOBS)
    np.testing.assert_allclose(
        OnnxRuntime(BUNDLE.graphs).predict(meta, state, askew),
        linear_predict(linear_adapt(meta, SUPPORT, 3, 0.1), X),
        atol=1e-5,
    )


def test_two_runs_give_the_same_bits() -> None:
    a, b = (OnnxRuntime(BUNDLE.graphs).adapt(BUNDLE.meta, SUPPORT, KNOBS) for _ in range(2))
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_a_graph_is_loaded_only_when_it_is_used() -> None:
    runtime = OnnxRuntime({"predict": BUNDLE.graphs["predict"], "adapt": b"broken"})
    assert runtime.predict(BUNDLE.meta, BUNDLE.meta, X).shape == (6, 1)
    with pytest.raises(RuntimeFailure, match="cannot load the adapt graph"):
        runtime.adapt(BUNDLE.meta, SUPPORT, KNOBS)
    with pytest.raises(RuntimeFailure, match=r"there is no update graph, only \['adapt', 'predict'\]"):
        runtime.update(BUNDLE.meta, SUPPORT, SUPPORT)


def test_providers_may_be_given_with_options() -> None:
    runtime = OnnxRuntime(BUNDLE.graphs, [("CPUExecutionProvider", {}), "CPUExecutionProvider"][:1], threads=2)
    assert runtime.predict(BUNDLE.meta, BUNDLE.meta, X).shape == (6, 1)


@pytest.mark.parametrize("providers", [["NoSuch"], [("NoSuch", {})], ["CPUExecutionProvider", "NoSuch"], []])
def test_providers_that_are_not_there_are_named(providers: list[str]) -> None:
    with pytest.raises(RuntimeFailure, match=r"expected some of .*CPUExecutionProvider") as raised:
        OnnxRuntime(BUNDLE.graphs, providers)
    assert "NoSuch" in str(raised.value) or not providers


def test_threads_are_at_least_one() -> None:
    with pytest.raises(RuntimeFailure, match="threads is 0"):
        OnnxRuntime(BUNDLE.graphs, threads=0)


def test_what_a_graph_reads_and_is_not_given_is_named() -> None:
    runtime = OnnxRuntime(BUNDLE.graphs)
    with pytest.raises(RuntimeFailure, match=r"reads 'knob\.lr', which is not among .*knob\.steps"):
        runtime.adapt(BUNDLE.meta, SUPPORT, {"steps": 1})
    with pytest.raises(RuntimeFailure, match=r"reads 'state\.bias'"):
        runtime.predict(BUNDLE.meta, {"weight": BUNDLE.meta["weight"]}, X)


def test_rows_that_the_graph_cannot_take_are_a_runtime_failure_and_no_noise(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeFailure, match="the predict graph failed"):
        OnnxRuntime(BUNDLE.graphs).predict(BUNDLE.meta, BUNDLE.meta, X.astype(np.float64))
    ranking = ranking_bundle()
    with pytest.raises(RuntimeFailure, match="the predict graph failed"):
        OnnxRuntime(ranking.graphs).predict(ranking.meta, ranking.meta, np.array([ITEMS]))
    assert capfd.readouterr().err == ""


def test_a_predict_graph_without_output_is_refused() -> None:
    unary = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])],
    )
    graph = helper.make_model(unary, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    with pytest.raises(RuntimeFailure, match=r"returns \['y'\]: expected 'output'"):
        OnnxRuntime({"predict": graph}).predict(BUNDLE.meta, BUNDLE.meta, X)


def test_without_onnx_runtime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tegu\[onnx\]'"):
        OnnxRuntime(BUNDLE.graphs).predict(BUNDLE.meta, BUNDLE.meta, X)
