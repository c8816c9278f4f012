"""Reads, verifies and loads bundles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tegu.client.adaptation.model import Model
from tegu.client.runtimes.limits.bundle_rules import check_bundle
from tegu.client.runtimes.limits.run_limits import RunLimits
from tegu.client.runtimes.onnx_runtime import OnnxRuntime, Provider
from tegu.client.runtimes.runtime import Runtime
from tegu.core.bundle.file import Bundle, BundleSource, read_bundle
from tegu.core.errors import SignatureError

__all__ = ["BundleLoader"]


@dataclass(frozen=True)
class BundleLoader:
    """Loads bundles with the options that an application chose on opening. Upgrades use the same options.

    Attributes:
        public_key: Ed25519 key that must have signed every bundle; None for no check.
        providers: ONNX Runtime execution providers; None for the CPU.
        threads: of ONNX Runtime within one operator.
        runtime: runs every bundle instead of ONNX Runtime; None for ONNX Runtime.
        cache: folder for graphs as optimised by ONNX Runtime; None for no cache.
    """

    public_key: bytes | None = None
    providers: Sequence[Provider] | str | None = None
    threads: int = 1
    runtime: Runtime | None = None
    cache: Path | None = None

    def load(self, bundle: BundleSource | Bundle) -> Model:
        """Read and verify a bundle, and prepare its runtime.

        Raises:
            BundleError: the bundle cannot be read or is damaged, or asks for more than a device gives.
            SignatureError: the signature is absent or wrong, or the bundle is in memory although a key was given.
            RuntimeFailure: a provider is not available.
        """
        if not isinstance(bundle, Bundle):
            bundle = read_bundle(bundle, self.public_key)
        elif self.public_key is not None:
            raise SignatureError(
                "a bundle in memory has no signature, but a public key was given: pass the bundle's path"
            )
        check_bundle(bundle)
        limits = RunLimits()
        runtime = self.runtime or OnnxRuntime(bundle.graphs, self.providers, self.threads, self.cache, limits)
        return Model(bundle, runtime)
