"""What `Personalizer.open` refuses, and that it leaves nothing open then."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.client.graphs import linear_bundle, linear_rows

from tegu.client import Personalizer
from tegu.core.bundle.file import write_bundle
from tegu.core.errors import BundleError, RuntimeFailure, SignatureError, StoreError

X, Y = linear_rows(7)


def test_an_absent_or_damaged_bundle_is_a_bundle_error(linear_file: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot read"):
        Personalizer.open(tmp_path / "none.tegu")
    linear_file.write_bytes(linear_file.read_bytes()[:-100])
    with pytest.raises(BundleError):
        Personalizer.open(linear_file, tmp_path / "me.db")
    assert not (tmp_path / "me.db").exists()


def test_a_public_key_asks_for_a_signature(linear_file: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    for unsigned in (linear_file, linear_bundle()):
        with pytest.raises(SignatureError):
            Personalizer.open(unsigned, public_key=public)
    write_bundle(tmp_path / "signed.tegu", linear_bundle(), key.private_bytes_raw())
    with Personalizer.open(tmp_path / "signed.tegu", public_key=public) as p:
        p.predict(X)
        with pytest.raises(SignatureError):
            p.upgrade(linear_file)


def test_an_unknown_provider_is_named_with_those_available() -> None:
    with pytest.raises(RuntimeFailure, match=r"NoSuchProvider.*CPUExecutionProvider"):
        Personalizer.open(linear_bundle(), providers=["NoSuchProvider"])


def test_no_connection_is_left_open_by_a_store_that_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def recording(*args: object, **kwargs: object) -> sqlite3.Connection:
        opened.append(connect(*args, **kwargs))  # type: ignore[arg-type]
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", recording)
    Personalizer.open(linear_bundle(), tmp_path / "me.db").close()
    with pytest.raises(StoreError):
        Personalizer.open(linear_bundle(seed=1), tmp_path / "me.db")
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(StoreError):
        Personalizer.open(linear_bundle(), tmp_path / "text.db")
    with closing(connect(tmp_path / "me.db")) as connection, connection:
        connection.execute("INSERT INTO personal VALUES (1, 'damaged', 1)")
    with pytest.raises(StoreError):
        Personalizer.open(linear_bundle(), tmp_path / "me.db")
    assert len(opened) == 4
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
