"""`tegu keygen` and `tegu sign`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import CommandResult

from tegu.core.bundle.file import read_bundle
from tegu.core.errors import SignatureError

Run = Callable[..., CommandResult]


@pytest.fixture
def key(tegu: Run, tmp_path: Path) -> tuple[Path, str]:
    """The file of a private key, and the public key."""
    made = tegu("keygen", tmp_path / "publisher.key")
    assert (made.code, made.err) == (0, "")
    return tmp_path / "publisher.key", made.out.strip()


def test_a_signed_bundle_is_the_same_and_opens_with_the_public_key(
    tegu: Run, bundles: dict[str, Path], key: tuple[Path, str], tmp_path: Path
) -> None:
    path, before = tmp_path / "signed.tegu", read_bundle(bundles["ranking"])
    for _ in range(2):  # a signature is replaced
        signed = tegu("sign", bundles["ranking"] if not path.exists() else path, "--key", key[0], "--out", path)
        assert (signed.code, signed.out) == (0, f"signed {path}\n")
    assert read_bundle(path, bytes.fromhex(key[1])).manifest == before.manifest
    assert tegu("inspect", path, "--public-key", key[1]).code == 0
    with pytest.raises(SignatureError, match="is not signed"):
        read_bundle(bundles["ranking"], bytes.fromhex(key[1]))


def test_the_key_is_its_owners_alone_and_is_never_replaced_or_shown(
    tegu: Run, bundles: dict[str, Path], key: tuple[Path, str]
) -> None:
    file, public = key
    secret = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    again = tegu("keygen", file)
    assert (again.code, file.read_text()) == (1, secret)
    assert "exists: a key is never replaced" in again.err
    file.chmod(0o644)
    refused = tegu("sign", bundles["ranking"], "--key", file)
    assert refused.code == 1
    assert "others may read the key" in refused.err
    file.chmod(0o600)
    file.write_text(f"{secret.strip()}00")
    damaged = tegu("sign", bundles["ranking"], "--key", file)
    assert "holds no private key" in damaged.err
    assert secret.strip() not in again.err + refused.err + damaged.err + public
