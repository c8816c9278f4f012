"""What a federation may do without TLS, and which certificates a server may use."""

from __future__ import annotations

import datetime
import ipaddress
from typing import NamedTuple

from tegu.core.errors import FederationError
from tegu.core.notes import note
from tegu.server.serving.certificates import names_of, read_certificate
from tegu.server.serving.settings import Federation

__all__ = ["Address", "check_server_certificate", "is_loopback", "own_address", "parse_address", "require_tls_or_words"]

_SOON = datetime.timedelta(days=30)
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 # compared, not listened at


class Address(NamedTuple):
    """A host name or address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The parts of an address such as "federation.example:8000" or "[::1]:8000".

    Raises:
        FederationError: there is no host or no port.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise FederationError(f"the address is {text!r}: expected a host and a port, such as federation.example:8000")
    return Address(host, int(port))


def own_address(federation: Federation) -> Address:
    """Where this machine reaches the server that it runs."""
    address = parse_address(federation.text("server", "address"))
    listen = federation.text("server", "listen") or address.host
    return Address(_ANYWHERE.get(listen, listen), address.port)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_tls_or_words(hosts: tuple[str, ...], *, insecure: bool, beyond_loopback: bool) -> None:
    """Refuse to work without TLS beyond this machine unless that is said with two words.

    Args:
        hosts: where the server listens and where nodes reach it.
        insecure: `--insecure` was said.
        beyond_loopback: `--beyond-loopback` was said.

    Raises:
        FederationError: the second word is missing, or is said without the first.
    """
    if beyond_loopback and not insecure:
        raise FederationError("--beyond-loopback was said without --insecure: leave it out, since TLS is on")
    far = [host for host in hosts if not is_loopback(host)]
    if insecure and far and not beyond_loopback:
        raise FederationError(
            f"--insecure with {', '.join(far)} lets everyone on the way read and change the model, and any machine "
            "take part: leave out --insecure, or say --beyond-loopback too"
        )


def check_server_certificate(federation: Federation, host: str) -> None:
    """Check that the server's certificate is valid today and names the host. A note says if it ends soon.

    Raises:
        FederationError: it is not, it does not, or a file is missing.
    """
    path = federation.file("tls", "certificate")
    federation.file("tls", "key")
    certificate, now = read_certificate(path), datetime.datetime.now(datetime.UTC)
    end = certificate.not_valid_after_utc
    if now > end or now < certificate.not_valid_before_utc:
        raise FederationError(
            f"{path} is valid from {certificate.not_valid_before_utc:%Y-%m-%d} to {end:%Y-%m-%d}: "
            "make another one with tegu certificates --renew"
        )
    names = names_of(certificate)
    if host not in names:
        raise FederationError(
            f"{path} is for {', '.join(names)}, and nodes reach the server at {host}: make another one with "
            f"tegu certificates --renew --host {host}"
        )
    if end - now < _SOON:
        note(f"{path} ends on {end:%Y-%m-%d}: make another one with tegu certificates --renew and start serve again")
