"""A model that becomes one user's own, on the device."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tegu.client.adaptation.budget import check_budget
from tegu.client.adaptation.inputs import input_rows, interaction_rows
from tegu.client.adaptation.loader import BundleLoader
from tegu.client.adaptation.model import Model
from tegu.client.adaptation.recommend import best_items, check_can_recommend
from tegu.client.adaptation.report import AdaptReport
from tegu.client.runtimes.onnx_runtime import Provider
from tegu.client.runtimes.runtime import Runtime
from tegu.client.store.store import Interactions, PersonalState, Store
from tegu.core.bundle.file import Bundle
from tegu.core.bundle.manifest import Manifest
from tegu.core.data.batch import Array, Batch, NumpyBatch
from tegu.core.data.recency import check_half_life, recency_weights
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError, RuntimeFailure, StoreError

__all__ = ["Personalizer"]


@dataclass(frozen=True)
class _Current:
    """What predicts. Replaced as a whole, so that a prediction in another thread never mixes two models."""

    model: Model
    state: Tree | None


class Personalizer:
    """One user's model: predicts from the start, and better once it has adapted to what was observed.

    Made by `open`. Methods may be called from any thread. Several processes may share one store, each predicting
    with the state it opened or adapted itself.
    """

    def __init__(self, source: BundleLoader, model: Model, store: Store, half_life: float | None = None) -> None:
        personal = store.personal()
        self._source = source
        self._store = store
        self._half_life = half_life
        self._current = _Current(model, None if personal is None else personal.state)
        self._changing = threading.RLock()

    @classmethod
    def open(
        cls,
        bundle: str | Path | Bundle,
        store: str | Path | None = None,
        *,
        public_key: bytes | None = None,
        providers: Sequence[Provider] | None = None,
        threads: int = 1,
        runtime: Runtime | None = None,
        half_life: float | None = None,
    ) -> Personalizer:
        """Open an initialisation and the user's store.

        Args:
            bundle: the `.tegu` file, or a bundle in memory.
            store: the user's SQLite file, made where it is absent; None keeps the interactions in memory. Large graphs
                are kept in `<store>.graphs/` as ONNX Runtime optimised them, so that the next start is faster; that
                folder may be deleted at any time.
            public_key: where given, this bundle and any it is upgraded to must carry this Ed25519 key's signature.
            providers: ONNX Runtime's execution providers, the preferred first; the CPU where it is None.
            threads: threads that ONNX Runtime may use within an operator.
            runtime: what runs the model in place of ONNX Runtime.
            half_life: for a user whose taste may change: an interaction that is followed by so many counts half in
                adapting, and one that is followed by twice as many a quarter; None for all to count alike.

        Raises:
            DataError: a half-life that is not above 0.
            BundleError: the bundle cannot be read or trusted.
            SignatureError: its signature is absent or wrong.
            RuntimeFailure: a provider that is not available.
            OtherModelError: the store belongs to another model.
            StoreError: the store cannot be used.
        """
        check_half_life(half_life)
        cache = None if store is None else Path(f"{store}.graphs")
        source = BundleLoader(public_key, providers, threads, runtime, cache)
        model = source.model(bundle)
        opened = Store(store, model.identity, model.spec)
        try:
            return cls(source, model, opened, half_life)
        except BaseException:
            opened.close()
            raise

    @property
    def manifest(self) -> Manifest:
        """What the bundle in use says of itself."""
        return self._current.model.manifest

    @property
    def spec(self) -> Spec:
        """What the model takes and gives."""
        return self._current.model.spec

    @property
    def interactions(self) -> int:
        """The number of interactions in the store."""
        return self._store.count()

    def predict(self, x: ArrayLike) -> Array:
        """Predict with the personal state, or with the initialisation's where there is none yet.

        Args:
            x: `[rows, *spec.x.shape]`; a single input may leave out the axis of rows.

        Returns:
            float32 `[rows, spec.outputs]`: logits or values; for ranking, scores `[rows]`.

        Raises:
            DataError: `x` does not fit the spec.
            RuntimeFailure: the graphs do not run.
        """
        current = self._current
        return current.model.predict(current.state, input_rows(current.model.spec, x))

    def recommend(self, n: int, exclude_seen: bool = True) -> tuple[Array, Array]:
        """The `n` best items of the catalogue.

        Args:
            n: how many, at most as many as there are.
            exclude_seen: leave out items that were observed.

        Returns:
            int64 ids and float32 scores, the best first, and the lower id first on a tie.

        Raises:
            DataError: the spec has no items, or `n` is less than 1.
            RuntimeFailure: the graphs do not run.
            StoreError: the store cannot be read.
        """
        check_can_recommend(self.spec, n)
        scores = self.predict(np.arange(self.spec.items)).reshape(-1)
        seen = self._store.load().x if exclude_seen else np.empty(0, np.int64)
        return best_items(scores, seen, n)

    def observe(self, x: ArrayLike, y: ArrayLike | None = None) -> None:
        """Store interactions; they are on the disk, all of them, when this returns.

        Args:
            x: `[rows, *spec.x.shape]`; a single interaction may leave out the axis of rows, here and in `y`.
            y: `[rows, *spec.y.shape]`; may be left out for ranking, and is then a weight of 1.

        Raises:
            DataError: the rows do not fit the spec; none was stored.
            StoreError: the store cannot be written; none was stored.
        """
        self._store.append(*interaction_rows(self.spec, x, y))

    def adapt(self, budget_ms: float | None = None) -> AdaptReport:
        """Adapt the initialisation to all interactions; durable when it returns.

        Args:
            budget_ms: milliseconds it may take, though a first step is never left out; None for no limit.

        Returns:
            What was done, and whether it is in use: a state that is not finite is dropped.

        Raises:
            DataError: there are no interactions, or the budget is negative.
            RuntimeFailure: the graphs do not run; the state from before stays.
            StoreError: the store cannot be used; the state from before stays.
        """
        check_budget(budget_ms)
        started = time.perf_counter()
        with self._changing:
            rows = self._store.load()
            if not len(rows.x):
                raise DataError("empty support: observe at least one interaction before adapting")
            state, report = self._current.model.adapt(self._support(rows), budget_ms, started)
            if report.kept:
                self._store.save_personal(PersonalState(state, report.interactions), rows.erasures)
                self._current = replace(self._current, state=state)
        return report

    def reset(self) -> None:
        """Go back to the initialisation; the interactions are kept.

        Raises:
            StoreError: the store cannot be written; the state from before stays.
        """
        with self._changing:
            self._store.delete_personal()
            self._current = replace(self._current, state=None)

    def forget(self) -> None:
        """Go back to the initialisation and erase all interactions, down to their bytes in the store's files.

        The graphs kept in `<store>.graphs/` stay: they are the bundle's, and hold nothing of the user.

        Raises:
            StoreError: the store cannot be written; or everything is deleted, but another process reads the
                store all the while, so that bytes may still be in its files: the message tells which.
        """
        with self._changing:
            self._store.delete_all()
            self._current = replace(self._current, state=None)
            self._store.erase_deleted()

    def upgrade(self, bundle: str | Path | Bundle) -> AdaptReport | None:
        """Change to a newer initialisation of the same spec, and adapt it to what is stored.

        Whatever is raised, the old initialisation stays in use, in memory and in the store.

        Args:
            bundle: as in `open`; signed by the same key, where `open` was given one.

        Returns:
            What adapting did; None where there is nothing to adapt to.

        Raises:
            BundleError: the bundle cannot be read or trusted.
            StoreError: its spec differs from the store's, or the store cannot be used.
            RuntimeFailure: its graphs do not run, or adapt to numbers that are not finite.
        """
        with self._changing:
            model = self._source.model(bundle)
            if model.spec != self.spec:
                raise StoreError(
                    f"the store holds rows of {self.spec}, not of {model.spec}: open the new bundle with another"
                )
            model.check()
            personal, report, erasures = self._adapted(model)
            self._store.replace_model(model.identity, personal, erasures)
            self._current = _Current(model, None if personal is None else personal.state)
        return report

    def _adapted(self, model: Model) -> tuple[PersonalState | None, AdaptReport | None, int]:
        rows = self._store.load()
        if not len(rows.x):
            return None, None, rows.erasures
        state, report = model.adapt(self._support(rows), None, time.perf_counter())
        if not report.kept:
            raise RuntimeFailure(f"the new initialisation is refused: {report.reason}")
        return PersonalState(state, report.interactions), report, rows.erasures

    def _support(self, rows: Interactions) -> NumpyBatch:
        return Batch(rows.x, rows.y, recency_weights(len(rows.x), self._half_life))

    def close(self) -> None:
        """Close the store; closing twice does no harm."""
        self._store.close()

    def __enter__(self) -> Personalizer:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
