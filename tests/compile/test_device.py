"""The graphs of a bundle compared with torch, for many families of models."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from tests.compile.families import BATCHED, FAMILIES, SINGLE, SLOW
from tests.compile.running import (
    NO_NOISE,
    DeviceGraphsOf,
    assert_close,
    input_names,
    knobs,
    rows,
    run,
    start,
    tensors,
    torch_batch,
    update_of,
)

from tegu.compile import compile_learner, make_bundle

SIZES = [(1, 1, 0), (3, 2, 2), (16, 9, 0)]


@pytest.mark.parametrize("name", [*BATCHED, *SINGLE, *SLOW])
def test_graphs_equal_torch_at_any_number_of_rows(name: str, device_graphs: DeviceGraphsOf) -> None:
    learner, graphs = FAMILIES[name].learner(), device_graphs(name)
    for seed, (support, query, padding) in enumerate(SIZES):
        meta = start(learner, seed)
        batches = rows(learner.spec, support, seed, padding), rows(learner.spec, query, seed + 50)
        values = knobs(learner, steps=2, lr=0.05)
        state = learner.adapt(
            tensors(meta), torch_batch(batches[0]), {"steps": 2, "lr": 0.05, "prior": learner.knobs["prior"]}, NO_NOISE
        )
        assert_close(run(graphs["adapt"], meta=meta, support=batches[0], knob=values), "state", state)
        update = update_of(learner, meta, *batches)
        assert_close(run(graphs["update"], meta=meta, support=batches[0], query=batches[1]), "update", update)
        output = learner.predict(tensors(meta), state, torch_batch(batches[1]).x)
        numpy_state = {n: v.detach().numpy() for n, v in state.items()}
        found = run(graphs["predict"], meta=meta, state=numpy_state, x=batches[1].x)
        assert_close({f"o.{n}": v for n, v in found.items()}, "o", {"output": output})


@pytest.mark.parametrize("name", ["relu", "groupnorm_momentum", "adam", "ranking"])
@pytest.mark.parametrize("steps", [0, 1, 7])
def test_the_number_of_steps_is_an_input(name: str, steps: int, device_graphs: DeviceGraphsOf) -> None:
    learner = FAMILIES[name].learner()
    meta, support = start(learner), rows(learner.spec, 5)
    found = run(device_graphs(name)["adapt"], meta=meta, support=support, knob=knobs(learner, steps=steps))
    expected = learner.adapt(tensors(meta), torch_batch(support), {**learner.knobs, "steps": steps}, NO_NOISE)
    assert_close(found, "state", expected)
    moved = any(not np.array_equal(value, meta[n.removeprefix("state.")]) for n, value in found.items())
    assert moved == (steps > 0)


@pytest.mark.parametrize("changed", [{"lr": 0.7}, {"prior": 9.0}, {"lr": 0.3, "prior": 0.0}])
def test_knobs_are_inputs(changed: dict[str, float], device_graphs: DeviceGraphsOf) -> None:
    learner = FAMILIES["relu"].learner()
    meta, support = start(learner), rows(learner.spec, 5)
    found = run(device_graphs("relu")["adapt"], meta=meta, support=support, knob=knobs(learner, **changed))
    assert_close(
        found, "state", learner.adapt(tensors(meta), torch_batch(support), {**learner.knobs, **changed}, NO_NOISE)
    )


BATCH = {f"{part}.{field}" for part in ("support", "query") for field in ("x", "y", "mask")}
SUPPORT = {name for name in BATCH if name.startswith("support")}
ALL = {f"{layer}.{kind}" for layer in "02" for kind in ("weight", "bias")}


def test_graphs_have_the_documented_inputs(device_graphs: DeviceGraphsOf) -> None:
    graphs = device_graphs("relu")
    meta = {f"meta.{name}" for name in ALL}
    assert input_names(graphs["adapt"]) == meta | SUPPORT | {"knob.steps", "knob.lr", "knob.prior"}
    assert input_names(graphs["update"]) == meta | BATCH
    assert input_names(graphs["predict"]) == {f"state.{name}" for name in ALL} | {"x"}


def test_parameters_that_are_not_adapted_are_read_from_meta(device_graphs: DeviceGraphsOf) -> None:
    graphs = device_graphs("second_order")
    names = input_names(graphs["predict"])
    assert names == {"meta.0.weight", "meta.0.bias", "state.2.weight", "state.2.bias", "x"}


def test_graphs_use_only_standard_onnx_operators(device_graphs: DeviceGraphsOf) -> None:
    for name in ("relu", "ranking", "maxpool_overlapping"):
        for graph in device_graphs(name).values():
            model = onnx.load_from_string(graph)
            onnx.checker.check_model(model, full_check=True)
            assert {entry.domain for entry in model.opset_import} == {""}
            assert not model.functions


def test_a_ranking_predicts_one_score_per_item(device_graphs: DeviceGraphsOf) -> None:
    learner = FAMILIES["ranking"].learner()
    meta = start(learner)
    found = run(device_graphs("ranking")["predict"], meta=meta, state={"user": meta["user"]}, x=np.arange(12))
    np.testing.assert_allclose(found["output"], meta["items.weight"] @ meta["user"], rtol=1e-4, atol=1e-5)


def test_a_bundle_has_the_graphs_and_their_manifest(device_graphs: DeviceGraphsOf) -> None:
    learner = FAMILIES["second_order"].learner()
    meta = learner.init(0)
    bundle = make_bundle(learner, meta, device_graphs("second_order"))
    assert bundle.graphs == device_graphs("second_order")
    assert bundle.meta is meta
    assert (bundle.manifest.learner, bundle.manifest.adapted_parameters) == ("reptile", ("2.weight", "2.bias"))
    assert bundle.manifest.knobs == learner.knobs


def test_compiling_twice_gives_the_same_bytes() -> None:
    """A bundle's identity depends on the bytes: otherwise a store would refuse the same model compiled again."""
    first, second = (compile_learner(FAMILIES["relu"].learner()) for _ in range(2))
    assert first == second
