"""Without TLS only on this machine, and never with a certificate that nodes would not accept."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.core.samples import refused

from tegu.core.errors import FederationError
from tegu.server.serving.certificates import make_server_certificate
from tegu.server.serving.security import (
    Address,
    check_server_certificate,
    is_loopback,
    own_address,
    parse_address,
    require_tls_or_words,
)
from tegu.server.serving.settings import read_federation


def test_addresses() -> None:
    assert parse_address("a.example:80") == Address("a.example", 80)
    assert parse_address("[::1]:8000") == Address("::1", 8000)
    assert str(parse_address("[::1]:8000")) == "[::1]:8000"


@pytest.mark.parametrize("text", ["a", "a:", ":80", "a:b", "a:0", "a:65536", ""])
def test_what_is_no_address(text: str) -> None:
    with refused(FederationError, repr(text), "expected a host and a port"):
        parse_address(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.9.9.9", True), ("0.0.0.0", False),
     ("10.0.0.1", False), ("a.example", False), ("localhost.example", False), ("::", False)],
)  # fmt: skip
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_insecure_needs_a_second_word_beyond_loopback() -> None:
    require_tls_or_words(("0.0.0.0",), insecure=False, beyond_loopback=False)
    require_tls_or_words(("127.0.0.1", "localhost"), insecure=True, beyond_loopback=False)
    require_tls_or_words(("0.0.0.0",), insecure=True, beyond_loopback=True)
    with refused(FederationError, "--insecure with a.example", "--beyond-loopback"):
        require_tls_or_words(("127.0.0.1", "a.example"), insecure=True, beyond_loopback=False)
    with refused(FederationError, "without --insecure"):
        require_tls_or_words(("127.0.0.1",), insecure=False, beyond_loopback=True)


@pytest.mark.parametrize(
    ("listen", "expected"), [("0.0.0.0", "127.0.0.1:80"), ("::", "[::1]:80"), ("10.0.0.3", "10.0.0.3:80"), ("", "a:80")]
)
def test_the_servers_own_address(tmp_path: Path, listen: str, expected: str) -> None:
    file = tmp_path / "federation.toml"
    file.write_text(f"[server]\naddress = 'a:80'\nlisten = '{listen}'")
    assert str(own_address(read_federation(file, None, {}))) == expected


def test_a_certificate_is_checked_before_a_node_meets_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "federation.toml"
    file.write_text("")
    federation = read_federation(file, None, {})
    with refused(FederationError, "[tls] certificate", "no such file"):
        check_server_certificate(federation, "127.0.0.1")
    make_server_certificate(tmp_path / "keys", ["a.example"])
    check_server_certificate(federation, "a.example")
    assert not caplog.text
    with refused(FederationError, "nodes reach the server at b.example", "--host b.example"):
        check_server_certificate(federation, "b.example")
    make_server_certificate(tmp_path / "keys", days=3, renew=True)
    with caplog.at_level("INFO", "tegu"):
        check_server_certificate(federation, "127.0.0.1")
    assert "server.crt ends on" in caplog.text
    make_server_certificate(tmp_path / "keys", days=0, renew=True)
    with refused(FederationError, "is valid from", "--renew"):
        check_server_certificate(federation, "127.0.0.1")
