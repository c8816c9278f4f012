"""What an application gets wrong, and the error or the forgiveness that it meets."""

from __future__ import annotations

import copy
import io
import pickle
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.client.graphs import ITEMS, linear_bundle, linear_predict, linear_rows, ranking_bundle

from tegu.client import OnnxRuntime, Personalizer, TorchRuntime
from tegu.client.store.damage import faults
from tegu.core.bundle.file import read_bundle
from tegu.core.errors import BundleError, DataError, RuntimeFailure, SignatureError, StoreError

X, Y = linear_rows(7)
BUNDLE = linear_bundle()


@pytest.mark.parametrize("number", [10.0, "x", True, None, [3], 2.5, np.float64(3), np.bool_(True)])
def test_a_number_of_items_is_whole(number: Any) -> None:
    with (
        Personalizer.open(ranking_bundle()) as p,
        pytest.raises(DataError, match=r"n is .*: expected a whole number of at least 1"),
    ):
        p.recommend(number)


def test_a_whole_number_of_numpy_is_one() -> None:
    with Personalizer.open(ranking_bundle()) as p:
        assert len(p.recommend(np.int64(3))[0]) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize("bundle", [BUNDLE, ranking_bundle()])
@pytest.mark.parametrize("empty", [[], (), np.array([])])
def test_no_rows_are_none_added(bundle: Any, empty: Any) -> None:
    with Personalizer.open(bundle) as p:
        assert p.observe(empty) == (0, 0, 0, 0)
        assert p.observe(empty, empty) == (0, 0, 0, 0)
        assert p.observe(empty, empty, ids=[]) == (0, 0, 0, 0)
        assert p.remove([]) == (0, 0)
        assert len(p.predict(empty)) == 0
        assert p.predict(empty).dtype == np.float32
        with pytest.raises(DataError):
            p.observe(X[:2] if bundle is BUNDLE else [1, 2], [])


def test_tensors_with_a_gradient_and_in_bfloat16_are_read() -> None:
    expected = linear_predict(BUNDLE.meta, X)
    with Personalizer.open(BUNDLE) as p:
        for x in (torch.tensor(X).requires_grad_(), [torch.tensor(row).requires_grad_() for row in X]):
            np.testing.assert_allclose(p.predict(x), expected, atol=1e-6)
        rounded = torch.tensor(X).bfloat16()
        np.testing.assert_allclose(p.predict(rounded), linear_predict(BUNDLE.meta, rounded.float().numpy()), atol=1e-6)
        with pytest.raises(DataError, match=r"call to_dense\(\)"):
            p.predict(torch.tensor(X).to_sparse())


def test_a_store_called_memory_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Personalizer.open(BUNDLE, store=":memory:") as p:
        assert p.observe(X, Y).stored == 7
        p.adapt()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["a\0b.db", 3, b"me.db", ["me.db"]])
def test_what_is_no_path_of_a_store(tmp_path: Path, path: Any) -> None:
    with pytest.raises(StoreError, match=r"the store's path is .*: expected the path of a file"):
        Personalizer.open(BUNDLE, tmp_path / path if isinstance(path, str) else path)


@pytest.mark.parametrize("attempt", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_personalizer_is_opened_again_rather_than_copied(attempt: Callable[[Any], Any]) -> None:
    with Personalizer.open(BUNDLE) as p:
        with pytest.raises(StoreError, match=r"call Personalizer\.open in the other process"):
            attempt(p)
        with pytest.raises(StoreError, match="open it again where it is needed"):
            attempt(p._store)


def test_one_provider_needs_no_list() -> None:
    with Personalizer.open(BUNDLE, providers="CPUExecutionProvider") as p:
        np.testing.assert_allclose(p.predict(X), linear_predict(BUNDLE.meta, X), atol=1e-6)
    with pytest.raises(RuntimeFailure, match=r"providers \['CUDA'\] are not available"):
        OnnxRuntime(BUNDLE.graphs, "CUDA")


def test_a_bundle_in_bytes_or_in_a_file_object(linear_file: Path, tmp_path: Path) -> None:
    content = linear_file.read_bytes()
    with linear_file.open("rb") as opened, Personalizer.open(opened, tmp_path / "me.db") as p:
        p.observe(X, Y)
        assert not opened.closed
    for source in (
        content,
        bytearray(content),
        memoryview(content),
        io.BytesIO(content),
        linear_file,
        str(linear_file),
    ):
        with Personalizer.open(source, tmp_path / "me.db") as p:  # the same model, or the store would refuse
            assert p.count == 7
            p.upgrade(content)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "the bundle is a int: expected a path, bytes, or a file opened for reading bytes"),
        (None, "the bundle is a NoneType"),
        (io.StringIO("text"), r"a file opened for str: expected .*\('rb'\)"),
        (b"no bundle", "the bundle in bytes is truncated or not a bundle"),
        (b"", "the bundle in bytes is truncated or not a bundle"),
        (io.BytesIO(b"no bundle"), "the bundle in a file object is truncated"),
        ("a\0b.tegu", "cannot read a.*embedded null"),
        ("/nowhere/init.tegu", r"cannot read /nowhere/init\.tegu .No such file.*check the path"),
        ("/", "cannot read / .Is a directory"),
    ],
)
def test_what_is_no_bundle(source: Any, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        Personalizer.open(source)


def test_a_closed_file_and_one_that_is_too_long(linear_file: Path) -> None:
    opened = linear_file.open("rb")
    opened.close()
    with pytest.raises(BundleError, match="open the file again"):
        read_bundle(opened)
    for source in (linear_file.read_bytes(), io.BytesIO(linear_file.read_bytes())):
        with pytest.raises(BundleError, match="more than the 100 allowed"):
            read_bundle(source, max_bytes=100)


@pytest.mark.parametrize("graph", [b"", b"no graph", BUNDLE.graphs["predict"][:90]])
def test_a_damaged_graph_prints_nothing(graph: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    damaged = replace(BUNDLE, graphs={**BUNDLE.graphs, "predict": graph})
    renamed = BUNDLE.graphs["adapt"].replace(b"Gemm", b"G\xebmm")  # no text: here ONNX Runtime would print a banner
    with Personalizer.open(damaged) as p, pytest.raises(RuntimeFailure, match="cannot load the predict graph"):
        p.predict(X)
    with pytest.raises(RuntimeFailure, match="cannot load the adapt graph"):
        OnnxRuntime({"adapt": renamed}, ["CPUExecutionProvider"]).load("adapt")
    with Personalizer.open(BUNDLE, runtime=OnnxRuntime(BUNDLE.graphs)) as p, pytest.raises(RuntimeFailure):
        p._current.model._runtime.predict(BUNDLE.meta, {"weight": np.zeros((1, 9), np.float32)}, X)
    assert capfd.readouterr() == ("", "")


class _Failing(sqlite3.Connection):
    """A disk that fails when the write-ahead log is made."""

    def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
        if "journal_mode" in sql:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
            raise error
        return super().execute(sql, *arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(("free", "advice"), [(1000, "free some space and try again"), (1 << 30, "check the disk")])
def test_a_full_disk_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, advice: str) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "factory": _Failing}))
    monkeypatch.setattr(faults, "_free_bytes", lambda path: free)
    with pytest.raises(StoreError, match=rf"me\.db cannot be used \(disk I/O error\): .*{advice}") as raised:
        Personalizer.open(BUNDLE, tmp_path / "me.db")
    assert "delete" not in str(raised.value)
    assert "repair" not in str(raised.value)


MANY = """
import resource, sys
from tegu.client import Personalizer
from tegu.core import StoreError
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
opened = []
try:
    while True:
        opened.append(Personalizer.open(sys.argv[1], f"{sys.argv[2]}/{len(opened)}.db"))
except StoreError as error:
    print(error)
for each in opened:
    each.close()
Personalizer.open(sys.argv[1], sys.argv[2] + "/more.db").close()
print(len(opened))
"""


def test_too_many_open_stores_are_named_as_the_cause(
    run_script: Callable[..., subprocess.Popen[str]], linear_file: Path, tmp_path: Path
) -> None:
    out, err = run_script(MANY, linear_file, tmp_path).communicate(timeout=60)
    assert err == ""
    message, opened = out.splitlines()
    assert "no files of its 64 left, and each open store takes 3: close stores that are not in use" in message
    assert int(opened) > 15


def test_items_are_those_of_the_catalogue() -> None:
    with (
        Personalizer.open(ranking_bundle()) as p,
        pytest.raises(DataError, match=f"expected ids from 0 to {ITEMS - 1}"),
    ):
        p.observe([ITEMS])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"half_life": "ten"}, DataError, "half_life is 'ten' .str.: expected a number"),
        ({"half_life": True}, DataError, "half_life is True"),
        ({"threads": "2"}, DataError, "threads is '2' .str.: expected a whole number"),
        ({"threads": 1.5}, DataError, r"threads is 1\.5"),
        (
            {"providers": 3},
            RuntimeFailure,
            r"providers is 3: expected a list of names, such as \['CPUExecutionProvider'",
        ),
        ({"providers": [None]}, RuntimeFailure, r"providers is \[None\]"),
        ({"runtime": "torch"}, RuntimeFailure, "runtime is a str: expected an object with adapt and predict"),
    ],
)
def test_options_of_another_type(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Personalizer.open(BUNDLE, **options)


def test_a_key_in_hexadecimal_is_told_of_bytes(linear_file: Path) -> None:
    with pytest.raises(SignatureError, match=r"the public key is a str: expected 32 raw bytes; bytes\.fromhex"):
        Personalizer.open(linear_file, public_key="00" * 32)  # type: ignore[arg-type]


@pytest.mark.parametrize("budget", ["50", [50], True])
def test_a_budget_of_another_type(budget: Any) -> None:
    with Personalizer.open(BUNDLE) as p:
        p.observe(X, Y)
        with pytest.raises(DataError, match=r"budget_ms is .*: expected a number"):
            p.adapt(budget)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "net"}, r"the model is a str: expected a torch\.nn\.Module, or a Learner"),
        ({"manifest": BUNDLE}, r"manifest is a Bundle: expected a bundle's, bundle\.manifest"),
        ({"loss": 3}, "loss is 3: expected a name, or a callable"),
        ({"device": ["cpu"]}, "is not available: use one of cpu"),
        ({"options": [1]}, r"options is \[1\]: expected a mapping"),
    ],
)
def test_a_torch_runtime_of_something_else(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeFailure, match=message):
        TorchRuntime(**{"model": torch.nn.Linear(3, 1), "manifest": BUNDLE.manifest, **arguments})
