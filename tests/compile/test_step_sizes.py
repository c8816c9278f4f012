"""Learned step sizes in graphs, in a bundle, and on the device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.compile.families import BATCHED, mlp, wide
from tests.compile.running import DeviceGraphsOf, input_names, rows, start
from torch import nn

from tegu.client import Personalizer
from tegu.client.runtimes.torch_runtime import TorchRuntime
from tegu.compile import compile_cohort, compile_cohort_updates, make_bundle
from tegu.core.bundle.file import read_bundle, write_bundle
from tegu.core.compression.precision import Precision
from tegu.core.data.spec import Spec
from tegu.core.errors import RuntimeFailure
from tegu.learners import fedavg, reptile

LAYERS = BATCHED["learned_layers"]


def test_adapt_and_update_read_learned_step_sizes_and_predict_does_not(device_graphs: DeviceGraphsOf) -> None:
    learned = {"meta./log_prior", *(f"meta.{n}.{kind}/log_lr" for n in "02" for kind in ("weight", "bias"))}
    graphs = device_graphs("learned_layers")
    assert learned <= input_names(graphs["adapt"])
    assert learned <= input_names(graphs["update"])
    assert not learned & input_names(graphs["predict"])
    assert not any("log_" in name for graph in device_graphs("relu").values() for name in input_names(graph))


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_device_uses_the_learned_step_sizes(
    precision: Precision, device_graphs: DeviceGraphsOf, tmp_path: Path
) -> None:
    learner, graphs = LAYERS.learner(), device_graphs("learned_layers")
    still = {f"{n}.{kind}/log_lr": np.asarray(-30.0, np.float32) for n in "02" for kind in ("weight", "bias")}
    meta = {**learner.init(0), **still, "2.bias/log_lr": np.asarray(1.5, np.float32)}
    write_bundle(tmp_path / "init.tegu", make_bundle(learner, meta, graphs), precision=precision)
    support = rows(learner.spec, 8)
    with Personalizer.open(tmp_path / "init.tegu", store=tmp_path / "me.db") as person:
        before = person.predict(support.x)
        person.observe(support.x, support.y)
        assert person.adapt().kept
        moved = person.predict(support.x) - before
    # Only the last bias changes, so the logits of all rows change by the same amount.
    assert np.abs(moved).max() > 1e-3
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:1], moved.shape), atol=1e-6)


@pytest.mark.parametrize("name", ["learned_layers", "learned_parameters", "learned_in_part", "learned_rows"])
def test_the_torch_runtime_uses_the_same_step_sizes(name: str, device_graphs: DeviceGraphsOf, tmp_path: Path) -> None:
    family = BATCHED[name]
    learner = family.learner()
    write_bundle(tmp_path / "init.tegu", make_bundle(learner, start(learner), device_graphs(name)))
    bundle = read_bundle(tmp_path / "init.tegu")
    support, query = rows(learner.spec, 6), rows(learner.spec, 9, seed=1)
    momentum = {"momentum": family.options.get("momentum", 0.0)}
    outputs = []
    for runtime in (None, TorchRuntime(family.model, bundle.manifest, options=momentum)):
        with Personalizer.open(bundle, runtime=runtime) as person:
            person.observe(support.x, support.y)
            before = person.predict(query.x)
            person.adapt()
            outputs.append(person.predict(query.x))
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-5)
    assert np.abs(outputs[0] - before).max() > 1e-3


def test_the_torch_runtime_scales_the_steps_of_any_optimiser() -> None:
    learner = reptile(mlp(nn.Tanh()), LAYERS.spec, learn_step_sizes="layers", init="fresh")
    manifest = make_bundle(learner, learner.init(0), {}).manifest
    runtime = TorchRuntime(mlp(nn.Tanh()), manifest, optimiser="Adam")
    meta, knobs = dict(learner.init(0)), {"steps": 1.0, "lr": 0.01}
    half = {**meta, **{name: np.asarray(np.log(0.5), np.float32) for name in meta if "/" in name}}
    support = rows(LAYERS.spec, 6)
    whole, part = (runtime.adapt(tree, support, knobs) for tree in (meta, half))
    for name in learner.adapted_parameters:
        np.testing.assert_allclose(part[name] - meta[name], 0.5 * (whole[name] - meta[name]), atol=1e-7)
    with pytest.raises(RuntimeFailure, match="parameter 'other' is absent in the module"):
        runtime.adapt({**meta, "other": meta["0.bias"]}, support, knobs)


def test_a_baseline_of_a_learner_with_learned_step_sizes_compiles() -> None:
    learner = reptile(wide(), Spec.classification((16,), 3), steps=2, learn_step_sizes="layers", init="fresh")
    averaged = fedavg(wide(), learner)
    graphs = compile_cohort_updates(averaged, compile_cohort(learner))
    assert averaged.execution.summed_update is not None
    assert graphs.summed_update is not None
    assert graphs.summed_update_rows == 24
