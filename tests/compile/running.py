"""Helpers to run graphs and to draw random rows, independent of the compiler's own examples and checks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort
import torch

from tegu.compile import CohortGraphs
from tegu.core.data.batch import Array, Batch, NumpyBatch
from tegu.core.data.spec import Field, Spec
from tegu.core.data.tree import Tree
from tegu.learners.learner import Learner, TorchBatch, TorchTree

DeviceGraphsOf: TypeAlias = Callable[[str], dict[str, bytes]]
CohortGraphsOf: TypeAlias = Callable[[str], CohortGraphs]

NO_NOISE = torch.zeros(0)


def run(graph: bytes, **groups: Any) -> Tree:
    """The graph's outputs by name. A group of inputs is a batch, a tree or an array; unused inputs are left out."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, _feeds(session, groups)), strict=True))


def operators_run(graph: bytes, folder: Path, **groups: Any) -> set[str]:
    """The operators that ONNX Runtime runs for these inputs, from its own profile, which it writes to `folder`."""
    options = ort.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    session.run(None, _feeds(session, groups))
    events = json.loads(Path(session.end_profiling()).read_text())
    return {event["args"]["op_name"] for event in events if "op_name" in event.get("args", {})}


def _feeds(session: ort.InferenceSession, groups: Mapping[str, Any]) -> dict[str, Array]:
    values: dict[str, Array] = {}
    for group, content in groups.items():
        entries = content._asdict() if isinstance(content, Batch) else content
        values |= {f"{group}.{k}": v for k, v in entries.items()} if isinstance(entries, dict) else {group: entries}
    return {i.name: values[i.name] for i in session.get_inputs()}


def input_names(graph: bytes) -> set[str]:
    return {value.name for value in ort.InferenceSession(graph).get_inputs()}


def knobs(learner: Learner, **changed: float) -> dict[str, Array]:
    values = {**learner.knobs, **changed}
    return {name: np.asarray(v, np.int64 if name == "steps" else np.float32) for name, v in values.items()}


def _field(field: Field, count: int, rng: np.random.Generator) -> Array:
    if field.dtype == "int64":
        return rng.integers(field.size, size=(count, *field.shape))
    return rng.standard_normal((count, *field.shape)).astype(np.float32)


def rows(spec: Spec, count: int, seed: int = 0, padding: int = 0) -> NumpyBatch:
    rng = np.random.default_rng(seed)
    mask = np.ones(count + padding, np.float32)
    mask[count:] = 0
    return Batch(_field(spec.x, count + padding, rng), _field(spec.y, count + padding, rng), mask)


def start(learner: Learner, seed: int = 0) -> dict[str, Array]:
    """Random parameters near the initialisation."""
    rng = np.random.default_rng(seed + 100)
    return {n: np.asarray(v + 0.2 * rng.standard_normal(v.shape), np.float32) for n, v in learner.init(seed).items()}


def stacked(batches: list[NumpyBatch]) -> NumpyBatch:
    return Batch(*(np.stack(parts) for parts in zip(*batches, strict=True)))


def tensors(tree: Tree) -> TorchTree:
    return {name: torch.from_numpy(value) for name, value in tree.items()}


def torch_batch(batch: NumpyBatch) -> TorchBatch:
    return Batch(*map(torch.from_numpy, batch))


def update_of(learner: Learner, meta: Tree, support: NumpyBatch, query: NumpyBatch) -> TorchTree:
    """The update that the learner sends to the server, with whole tables, as in `meta`."""
    update = learner.update(tensors(meta), torch_batch(support), torch_batch(query), NO_NOISE)
    for name in [name.removesuffix("/rows") for name in update if name.endswith("/rows")]:
        ids, rows = update.pop(f"{name}/ids"), update.pop(f"{name}/rows")
        update[name] = torch.zeros(meta[name].shape).index_add(0, ids, rows)
    return update


def assert_close(found: Tree, prefix: str, expected: TorchTree) -> None:
    """Assert that `found` has exactly the entries `prefix.<name>`, with the expected values up to float32 rounding."""
    assert {name.removeprefix(f"{prefix}.") for name in found} == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(
            found[f"{prefix}.{name}"], value.detach().numpy(), rtol=1e-3, atol=2e-5, err_msg=name
        )
