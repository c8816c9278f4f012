"""Public objects print as one short line without arrays."""

from __future__ import annotations

from pathlib import Path

from tests.client.graphs import linear_bundle, linear_rows

from tegu.client import OnnxRuntime, Personalizer, Store
from tegu.client.adaptation.model import Model


def test_a_bundle_and_what_runs_it() -> None:
    bundle = linear_bundle()
    sizes = {name: len(graph) for name, graph in bundle.graphs.items()}
    assert repr(bundle) == (
        "Bundle(learner='reptile', kind='regression', parameters=4, graphs="
        f"(adapt: {sizes['adapt']} bytes, predict: {sizes['predict']} bytes, update: {sizes['update']} bytes))"
    )
    runtime = OnnxRuntime(bundle.graphs)
    assert repr(runtime) == "OnnxRuntime(adapt, predict, update; CPUExecutionProvider, threads=1)"
    model = f"learner='reptile', kind='regression', identity='{bundle.identity[:12]}'"
    assert repr(Model(bundle, runtime)) == f"Model({model})"


def test_a_personalizer_says_whether_it_has_adapted(tmp_path: Path) -> None:
    bundle, path = linear_bundle(), tmp_path / "me.db"
    with Personalizer.open(bundle, path) as person:
        assert f"Store({path}, model='{bundle.identity[:12]}')" in repr(person)
        assert "state='initialisation'" in repr(person)
        person.observe(*linear_rows(3))
        person.adapt()
        assert "state='adapted'" in repr(person)


def test_a_store_in_memory() -> None:
    bundle = linear_bundle()
    store = Store(None, bundle.identity, bundle.manifest.spec)
    assert repr(store) == f"Store(in memory, model='{bundle.identity[:12]}')"
    store.close()
