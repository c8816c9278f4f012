"""How bundles become models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tegu.client.adaptation.model import Model
from tegu.client.runtimes.onnx_runtime import OnnxRuntime, Provider
from tegu.client.runtimes.runtime import Runtime
from tegu.core.bundle.file import Bundle, read_bundle
from tegu.core.errors import SignatureError

__all__ = ["BundleLoader"]


@dataclass(frozen=True)
class BundleLoader:
    """What an application decides once and an upgrade must abide by.

    Attributes:
        public_key: Ed25519 key that every bundle must be signed by; None for no check.
        providers: ONNX Runtime's execution providers; None for the CPU.
        threads: that ONNX Runtime may use within an operator.
        runtime: what runs every bundle in place of ONNX Runtime.
        cache: folder to keep ONNX Runtime's optimised graphs in; None keeps none.
    """

    public_key: bytes | None = None
    providers: Sequence[Provider] | None = None
    threads: int = 1
    runtime: Runtime | None = None
    cache: Path | None = None

    def model(self, bundle: str | Path | Bundle) -> Model:
        """The bundle, read and verified, with its runtime.

        Raises:
            BundleError: it cannot be read or trusted.
            SignatureError: its signature is absent or wrong, or it is in memory where a key was given.
            RuntimeFailure: a provider that is not available.
        """
        if not isinstance(bundle, Bundle):
            bundle = read_bundle(bundle, self.public_key)
        elif self.public_key is not None:
            raise SignatureError("a bundle in memory carries no signature, and a public key was given: pass its path")
        runtime = self.runtime or OnnxRuntime(bundle.graphs, self.providers, self.threads, self.cache)
        return Model(bundle, runtime)
