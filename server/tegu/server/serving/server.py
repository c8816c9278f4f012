"""What a server needs, read from the federation's file and checked before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tegu.core.bundle.file import Bundle, read_bundle
from tegu.core.errors import FederationError
from tegu.server.app import RESULT, plan_of
from tegu.server.run_config import to_config
from tegu.server.serving.security import (
    Address,
    check_server_certificate,
    own_address,
    parse_address,
    require_tls_or_words,
)
from tegu.server.serving.settings import Federation
from tegu.server.training.automatic import settled
from tegu.server.training.plan import TrainingPlan
from tegu.server.training.run_folder import is_done
from tegu.server.training.run_record import bundle_record

__all__ = ["Server", "prepare_server"]


@dataclass(frozen=True)
class Server:
    """What a server needs, read and checked.

    Attributes:
        listen: where the SuperLink listens.
        own: where the server's own processes reach it.
        ca: certificate of the authority; None without TLS.
        certificate: the server's certificate.
        key: its private key.
        state: folder for the database and the logs.
        start: the bundle to start from.
        plan: of the run.
        config: the run configuration.
        out: folder for the result.
        signing_key: the key that signs the result; None for no signature.
        tensorboard: folder for TensorBoard's event files; None for none.
        mlflow: address of MLflow's tracking server or store; empty for none.
    """

    listen: Address
    own: Address
    ca: Path | None
    certificate: Path
    key: Path
    state: Path
    start: Bundle
    plan: TrainingPlan
    config: Mapping[str, Any]
    out: Path
    signing_key: bytes | None = field(repr=False)
    tensorboard: Path | None = None
    mlflow: str = ""

    def __repr__(self) -> str:
        return f"Server({self.listen}, {settled(self.plan).rounds} rounds to {self.out})"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints and the journal."""
        return self.out / "checkpoints"

    @property
    def is_done(self) -> bool:
        """Whether the result is written, and was made with these very settings."""
        return (self.out / RESULT).exists() and is_done(self.checkpoints, bundle_record(self.start, self.plan))


def prepare_server(federation: Federation, *, insecure: bool = False, beyond_loopback: bool = False) -> Server:
    """Read and check everything that the server needs, before anything is started.

    Args:
        federation: the file.
        insecure: `--insecure` was said.
        beyond_loopback: `--beyond-loopback` was said.

    Raises:
        FederationError: a setting or a certificate is missing or wrong, or TLS is off beyond this machine.
        BundleError: the bundle cannot be read.
    """
    address = parse_address(federation.text("server", "address"))
    listen = Address(federation.text("server", "listen") or address.host, address.port)
    require_tls_or_words((listen.host, address.host), insecure=insecure, beyond_loopback=beyond_loopback)
    ca = None if insecure else federation.file("tls", "ca")
    if not insecure:
        check_server_certificate(federation, address.host)
    start = read_bundle(federation.file("run", "bundle"))
    plan = _validated_often(plan_of(federation.run_config))
    out = federation.folder("run", "out")
    paths = {"bundle": str(federation.file("run", "bundle")), "out": str(out)}
    return Server(
        listen=listen,
        own=own_address(federation),
        ca=ca,
        certificate=federation.folder("tls", "certificate"),
        key=federation.folder("tls", "key"),
        state=federation.folder("server", "state") / "server",
        start=start,
        plan=plan,
        config={**to_config(plan), **paths},
        out=out,
        signing_key=_signing_key(federation),
        tensorboard=federation.folder("run", "tensorboard") if federation.text("run", "tensorboard") else None,
        mlflow=federation.text("run", "mlflow"),
    )


def _signing_key(federation: Federation) -> bytes | None:
    """The key in a file of 64 hexadecimal digits, which this user alone may read."""
    if not federation.text("run", "signing-key"):
        return None
    path = federation.file("run", "signing-key")
    if path.stat().st_mode & 0o077:
        raise FederationError(f"{path} can be read by others, who could sign with it: chmod 600 {path}")
    try:
        key = bytes.fromhex(path.read_text("ascii"))
    except (OSError, ValueError) as error:
        raise FederationError(f"{path} is not a private key: expected a file with 64 hexadecimal digits") from error
    if len(key) != 32:
        raise FederationError(f"{path} holds {len(key)} bytes: expected an Ed25519 key of 32, in 64 hexadecimal digits")
    return key


def _validated_often(plan: TrainingPlan) -> TrainingPlan:
    """The plan with about twenty validations where that is automatic: a run's lines then have a figure of quality."""
    if not plan.calibration.left_out(0).share:
        return plan
    interval = plan.early_stopping.interval(settled(plan).rounds, by_default=True)
    return replace(plan, early_stopping=replace(plan.early_stopping, validate_every=interval))
