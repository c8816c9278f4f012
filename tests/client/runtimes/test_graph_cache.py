"""Optimised graphs are kept beside the store, used again only where nothing has changed, and never needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.client.graphs import linear_bundle, linear_rows
from tests.compile.families import FAMILIES
from tests.compile.running import rows

from tegu.client import OnnxRuntime, Personalizer
from tegu.client.runtimes.graph_cache import MIN_CACHED_BYTES, open_with_cache
from tegu.client.runtimes.limits.run_limits import RunLimits
from tegu.compile import make_bundle
from tegu.core.bundle.file import Bundle
from tegu.core.errors import RuntimeFailure

X, Y = linear_rows(7)
GRAPH = b"graph" * 10


class Opener:
    """In place of ONNX Runtime: the session is the graph, optimising makes it upper case, and calls are noted."""

    def __init__(self, refuses: bytes = b"") -> None:
        self.refuses = refuses
        self.opened: list[tuple[bytes, bool]] = []

    def __call__(self, graph: bytes, *, optimised: bool = False, save_to: Path | None = None) -> bytes:
        self.opened.append((graph, optimised))
        if self.refuses and graph.startswith(self.refuses):
            raise ValueError("refused")
        if save_to is not None:
            save_to.write_bytes(graph.upper())
        return graph.upper()


def opened(file: Path, graph: bytes = GRAPH, runtime: str = "1", refuses: bytes = b"") -> list[tuple[bytes, bool]]:
    """What is opened to get a session, in one start."""
    opener = Opener(refuses)
    assert open_with_cache(opener, graph, file, runtime) == graph.upper()
    return opener.opened


ANEW = [(GRAPH, False)]
KEPT = [(GRAPH.upper(), True)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An optimised graph that was kept."""
    path = tmp_path / "me.db.graphs" / "adapt"
    assert opened(path) == ANEW
    return path


def test_the_second_start_opens_what_was_kept(file: Path) -> None:
    before = file.stat()
    assert opened(file) == KEPT
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_only_the_user_may_read_it_and_nothing_else_is_left(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert list(file.parent.iterdir()) == [file]


def test_another_graph_or_runtime_is_optimised_anew_in_its_place(file: Path) -> None:
    assert opened(file, graph=GRAPH + b"x") == [(GRAPH + b"x", False)]
    assert opened(file) == ANEW
    assert opened(file, runtime="2") == ANEW
    assert opened(file, runtime="2") == KEPT
    assert list(file.parent.iterdir()) == [file]


def test_another_processor_optimises_anew(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "show_config", lambda mode: {"SIMD Extensions": {"baseline": ["SSE"]}})
    assert opened(file) == ANEW
    assert opened(file) == KEPT


def test_where_the_processor_is_not_known_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "show_config", lambda mode: {})
    assert opened(tmp_path / "graphs" / "adapt") == ANEW
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("at", [0, 31, 32, -1])
def test_a_byte_that_changed_is_noticed(file: Path, at: int) -> None:
    sound = file.read_bytes()
    damaged = bytearray(sound)
    damaged[at] ^= 1
    file.write_bytes(damaged)
    assert opened(file) == ANEW
    assert file.read_bytes() == sound
    assert opened(file) == KEPT


@pytest.mark.parametrize("left", [0, 5, 32, 60])
def test_a_file_cut_short_is_noticed(file: Path, left: int) -> None:
    file.write_bytes(file.read_bytes()[:left])
    assert opened(file) == ANEW
    assert opened(file) == KEPT


def test_what_is_kept_for_one_graph_does_not_serve_another(file: Path) -> None:
    other = file.with_name("predict")
    other.write_bytes(file.read_bytes())
    other.chmod(0o600)
    assert opened(other, graph=b"predict") == [(b"predict", False)]


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_may_write_is_not_trusted(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert opened(file) == ANEW
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_of_another_user_is_not_trusted(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = file.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert opened(file) == ANEW


def test_what_is_kept_and_yet_refused_is_optimised_anew(file: Path) -> None:
    assert opened(file, refuses=GRAPH.upper()) == [*KEPT, *ANEW]


def test_a_graph_that_cannot_be_opened_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "graphs" / "adapt"
    with pytest.raises(ValueError, match="refused"):
        open_with_cache(Opener(refuses=b"graph"), GRAPH, file, "1")
    assert not list(file.parent.iterdir())


def test_a_folder_that_cannot_be_written_is_done_without(
    shared_folder: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    shared_folder.chmod(0o555)
    with unprivileged():
        assert opened(shared_folder / "graphs" / "adapt") == ANEW
        assert opened(shared_folder / "adapt") == ANEW
    assert not list(shared_folder.iterdir())


def test_something_else_in_its_place_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("mine")
    (tmp_path / "graphs" / "adapt").mkdir(parents=True)
    for file in (tmp_path / "text" / "adapt", tmp_path / "absent" / "graphs" / "adapt", tmp_path / "graphs" / "adapt"):
        assert opened(file) == ANEW
    assert (tmp_path / "text").read_text() == "mine"
    assert [path.name for path in (tmp_path / "graphs").iterdir()] == ["adapt"]


def large(bundle: Bundle) -> Bundle:
    """The same with graphs that are worth keeping."""

    def grown(graph: bytes) -> bytes:
        model = onnx.load_model_from_string(graph)
        model.doc_string = "-" * MIN_CACHED_BYTES
        return bytes(model.SerializeToString())

    return replace(bundle, graphs={name: grown(graph) for name, graph in bundle.graphs.items()})


def used(bundle: Bundle, store: Path | None) -> list[Any]:
    """A start: observe, adapt, predict."""
    with Personalizer.open(bundle, store) as p:
        p.observe(X, Y)
        p.adapt()
        return p.predict(X).tolist()


@pytest.mark.parametrize("name", ["relu", "gru", "conv_strided_groupnorm", "maxpool", "rows_adam"])
def test_results_are_the_same_bits_with_and_without_and_under_limits(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    learner = family.learner()
    bundle = large(make_bundle(learner, learner.init(0)))
    support = rows(family.spec, 6)
    caches = [None, tmp_path / "graphs", tmp_path / "graphs"]
    results = []
    runtimes = [OnnxRuntime(bundle.graphs, cache=cache) for cache in caches]
    for runtime in (*runtimes, OnnxRuntime(bundle.graphs, limits=RunLimits())):
        state = runtime.adapt(bundle.meta, support, bundle.manifest.knobs)
        results.append({**state, "output": runtime.predict(bundle.meta, state, support.x)})
    assert sorted(path.name for path in (tmp_path / "graphs").iterdir()) == ["adapt", "predict"]
    for result in results[1:]:
        assert {name: value.tobytes() for name, value in result.items()} == {
            name: value.tobytes() for name, value in results[0].items()
        }


def test_graphs_are_kept_beside_the_store(tmp_path: Path) -> None:
    bundle = large(linear_bundle())
    expected = used(bundle, None)
    assert not list(tmp_path.iterdir())
    assert used(bundle, tmp_path / "me.db") == expected
    folder = tmp_path / "me.db.graphs"
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(kept) == {"adapt", "predict"}
    (folder / "adapt").write_bytes(b"damaged")
    (tmp_path / "me.db").unlink()
    assert used(bundle, tmp_path / "me.db") == expected
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept


def test_small_graphs_are_not_kept(tmp_path: Path) -> None:
    used(linear_bundle(), tmp_path / "me.db")
    assert not (tmp_path / "me.db.graphs").exists()


def test_graphs_for_providers_with_options_are_not_kept(tmp_path: Path) -> None:
    runtime = OnnxRuntime(large(linear_bundle()).graphs, [("CPUExecutionProvider", {})], cache=tmp_path / "graphs")
    runtime.load("predict")
    assert not list(tmp_path.iterdir())


def test_an_upgrade_keeps_the_new_graphs_and_forgetting_leaves_them(tmp_path: Path) -> None:
    old, new = large(linear_bundle()), large(linear_bundle(seed=1))
    other = onnx.load_model_from_string(new.graphs["predict"])
    other.producer_name = "another"
    new = replace(new, graphs={**new.graphs, "predict": other.SerializeToString()})
    used(old, tmp_path / "me.db")
    kept = (tmp_path / "me.db.graphs" / "predict").read_bytes()
    with Personalizer.open(old, tmp_path / "me.db") as p:
        p.upgrade(new)
        changed = (tmp_path / "me.db.graphs" / "predict").read_bytes()
        p.forget()
    assert changed != kept
    assert (tmp_path / "me.db.graphs" / "predict").read_bytes() == changed


def test_a_damaged_bundle_is_still_the_error_that_it_was(tmp_path: Path) -> None:
    runtime = OnnxRuntime({"predict": b"broken" * MIN_CACHED_BYTES}, cache=tmp_path / "graphs")
    with pytest.raises(RuntimeFailure, match="cannot load the predict graph"):
        runtime.load("predict")
