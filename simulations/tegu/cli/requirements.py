"""Packages that commands need."""

from __future__ import annotations

from tegu.core.errors import require

__all__ = ["require_federated", "require_sim"]


def require_federated() -> None:
    """Check for the packages of the extra `federated`.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    for module in ("flwr", "psutil", "cryptography"):
        require(module, "federated")


def require_sim() -> None:
    """Check for the packages of the extra `sim`.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    for module in ("torch", "flwr", "onnxscript", "matplotlib"):
        require(module, "sim")
