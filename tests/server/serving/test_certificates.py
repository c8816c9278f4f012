"""Certificates and keys: openssl and ssh-keygen agree on what they are, and nothing is lost."""

from __future__ import annotations

import datetime
import stat
import subprocess
from pathlib import Path

import pytest
from tests.core.samples import refused

from tegu.core.errors import FederationError
from tegu.server.serving.certificates import make_node_key, make_server_certificate, names_of, read_certificate


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def said(*command: str, folder: Path) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_openssl_accepts_the_chain(tmp_path: Path) -> None:
    make_server_certificate(tmp_path, ["federation.example", "10.0.0.3"])
    for host in ("-verify_ip 127.0.0.1", "-verify_hostname federation.example", "-verify_ip 10.0.0.3"):
        checks = ["-x509_strict", "-purpose", "sslserver", *host.split()]
        assert "OK" in said("openssl", "verify", "-CAfile", "ca.crt", *checks, "server.crt", folder=tmp_path)
    with pytest.raises(subprocess.CalledProcessError):
        said("openssl", "verify", "-CAfile", "ca.crt", "-verify_hostname", "other.example", "server.crt",
             folder=tmp_path)  # fmt: skip


def test_a_node_key_is_what_flower_asks_for(tmp_path: Path) -> None:
    """Flower's guide: ssh-keygen -t ecdsa -b 384."""
    make_node_key(tmp_path, "phone-7")
    shown = said("ssh-keygen", "-l", "-f", "phone-7.pub", folder=tmp_path)
    assert shown.startswith("384 ")
    assert shown.rstrip().endswith("phone-7 (ECDSA)")
    public = said("ssh-keygen", "-y", "-f", "phone-7", folder=tmp_path)
    assert public.split()[:2] == (tmp_path / "phone-7.pub").read_text().split()[:2]


def test_private_keys_are_for_this_user_alone(tmp_path: Path) -> None:
    make_server_certificate(tmp_path)
    make_node_key(tmp_path, "node")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert {modes[name] for name in ("ca.key", "server.key", "node")} == {0o600}
    assert {modes[name] for name in ("ca.crt", "server.crt", "node.pub")} == {0o644}


def test_what_exists_is_kept_and_said_to_be(tmp_path: Path) -> None:
    make_server_certificate(tmp_path)
    make_node_key(tmp_path, "node")
    before = contents(tmp_path)
    made = [*make_server_certificate(tmp_path), *make_node_key(tmp_path, "node")]
    assert contents(tmp_path) == before
    assert {each.what for each in made} == {"kept"}
    assert f"kept {tmp_path}/ca.crt, valid until " in str(made[0])


def test_renewing_keeps_the_authority_and_the_nodes(tmp_path: Path) -> None:
    make_server_certificate(tmp_path)
    make_node_key(tmp_path, "node")
    before = contents(tmp_path)
    made = make_server_certificate(tmp_path, ["new.example"], days=10, renew=True)
    changed = {name for name, data in contents(tmp_path).items() if data != before[name]}
    assert changed == {"server.crt", "server.key"}
    assert [each.what for each in made] == ["kept", "kept", "replaced", "replaced"]
    certificate = read_certificate(tmp_path / "server.crt")
    assert "new.example" in names_of(certificate)
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert 9 < left.total_seconds() / 86400 < 10.01
    assert "OK" in said("openssl", "verify", "-CAfile", "ca.crt", "server.crt", folder=tmp_path)


def test_a_kept_certificate_without_the_host_is_refused(tmp_path: Path) -> None:
    make_server_certificate(tmp_path)
    before = contents(tmp_path)
    with refused(FederationError, "server.crt does not name new.example", "--renew"):
        make_server_certificate(tmp_path, ["new.example"])
    assert contents(tmp_path) == before


@pytest.mark.parametrize("absent", ["ca.crt", "ca.key", "server.crt", "server.key", "node", "node.pub"])
def test_a_half_pair_is_refused_and_left_alone(tmp_path: Path, absent: str) -> None:
    """A new authority would lock out all nodes, and a new node key would lock out the node."""
    make_server_certificate(tmp_path)
    make_node_key(tmp_path, "node")
    (tmp_path / absent).unlink()
    before = contents(tmp_path)
    with refused(FederationError, absent, "bring it back"):
        make_server_certificate(tmp_path)
        make_node_key(tmp_path, "node")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["../key", "", "a b", "-x", "a/b"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with refused(FederationError, repr(name), "use letters"):
        make_node_key(tmp_path, name)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    make_server_certificate(tmp_path)
    (tmp_path / "ca.key").write_text("nothing")
    with refused(FederationError, "ca.key is not a readable private key"):
        make_server_certificate(tmp_path, renew=True)
    with refused(FederationError, "absent.crt is not a readable certificate"):
        read_certificate(tmp_path / "absent.crt")
