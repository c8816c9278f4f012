"""Personalises a model for one user, on the device."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tegu.client.adaptation.budget import check_budget
from tegu.client.adaptation.inputs import input_rows, interaction_rows
from tegu.client.adaptation.loader import BundleLoader
from tegu.client.adaptation.model import Model
from tegu.client.adaptation.own_words import labels_of, own_items, titles_of, values_of
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
    """The model and state in use. Replaced as a whole, so that no prediction in another thread mixes two models."""

    model: Model
    state: Tree | None


class Personalizer:
    """One user's model. It predicts from the start, and better after adapting to observed interactions.

    Create it with `open`. Methods may be called from any thread. Several processes may share one store; each predicts
    with the state that it loaded on opening or adapted itself.
    """

    def __init__(self, loader: BundleLoader, model: Model, store: Store, half_life: float | None = None) -> None:
        personal = store.personal()
        self._loader = loader
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
            store: the user's SQLite file, created if absent; None keeps the interactions in memory. Large graphs are
                cached in `<store>.graphs/` as optimised by ONNX Runtime, so that the next start is faster. That folder
                may be deleted at any time.
            public_key: Ed25519 key that must have signed this bundle and every upgrade; None for no check.
            providers: ONNX Runtime execution providers, the preferred first; None for the CPU.
            threads: of ONNX Runtime within one operator.
            runtime: runs the model instead of ONNX Runtime.
            half_life: in interactions, for a user whose taste may change. An interaction followed by this many others
                has weight 1/2 in adapting, one followed by twice as many 1/4. None for equal weights.

        Raises:
            DataError: the half-life is not above 0.
            BundleError: the bundle cannot be read or is damaged.
            SignatureError: its signature is absent or wrong.
            RuntimeFailure: a provider is not available.
            OtherModelError: the store belongs to another model.
            StoreError: the store cannot be used.
        """
        check_half_life(half_life)
        cache = None if store is None else Path(f"{store}.graphs")
        loader = BundleLoader(public_key, providers, threads, runtime, cache)
        model = loader.load(bundle)
        opened = Store(store, model.identity, model.spec)
        try:
            return cls(loader, model, opened, half_life)
        except BaseException:
            opened.close()
            raise

    def __repr__(self) -> str:
        model, state = self._current.model, "initialisation" if self._current.state is None else "adapted"
        return f"Personalizer({model!r}, {self._store!r}, half_life={self._half_life}, state={state!r})"

    @property
    def manifest(self) -> Manifest:
        """The manifest of the bundle in use."""
        return self._current.model.manifest

    @property
    def spec(self) -> Spec:
        """The layout of inputs and targets."""
        return self._current.model.spec

    @property
    def interactions(self) -> int:
        """The number of interactions in the store."""
        return self._store.count()

    def predict(self, x: Any) -> Array:
        """Predict with the personal state, or with the initialisation before the first adaptation.

        Args:
            x: `[rows, *spec.x.shape]`; a single input may omit the axis of rows. A mapping from names to arrays, or a
                tuple of arrays, for a spec with several inputs. For a bundle that holds names: a table with these
                names in any order (a data frame, a mapping, a list of mappings), or items by id or title.

        Returns:
            float32 `[rows, spec.outputs]`: logits or values; for ranking, scores `[rows]`.

        Raises:
            DataError: `x` does not fit the spec.
            RuntimeFailure: the graphs do not run.
        """
        return self._outputs(x)[1]

    def predict_labels(self, x: Any) -> Array:
        """The most likely label of each row, as the labels were given in training; class numbers where they were that.

        Args:
            x: as in `predict`.

        Returns:
            `[rows]`, of the labels' own dtype.

        Raises:
            DataError: the model does not classify, or as `predict`.
            RuntimeFailure: the graphs do not run.
        """
        model, outputs = self._outputs(x)
        return labels_of(model.spec, model.manifest.encoding, outputs)

    def predict_values(self, x: Any) -> dict[str, Array]:
        """The targets of each row by name: whole numbers, real numbers or dates, as they were given in training.

        Args:
            x: as in `predict`.

        Returns:
            `[rows]` for each target.

        Raises:
            DataError: the model predicts no values, or as `predict`.
            RuntimeFailure: the graphs do not run.
        """
        model, outputs = self._outputs(x)
        return values_of(model.spec, model.manifest.encoding, outputs)

    def _outputs(self, x: Any) -> tuple[Model, Array]:
        current = self._current
        rows = input_rows(current.model.spec, x, current.model.manifest.encoding)
        return current.model, current.model.predict(current.state, rows)

    def recommend(self, n: int, exclude_seen: bool = True) -> tuple[Array, Array]:
        """The `n` best items of the catalogue.

        Args:
            n: number of items. Fewer are returned where fewer are left.
            exclude_seen: leave out observed items.

        Returns:
            Ids as they were given in training, and float32 scores, best first; of equal scores, the lower id first.

        Raises:
            DataError: the spec has no items, or `n` is less than 1.
            RuntimeFailure: the graphs do not run.
            StoreError: the store cannot be read.
        """
        check_can_recommend(self.spec, n)
        current = self._current
        scores = current.model.predict(current.state, np.arange(self.spec.items)).reshape(-1)
        seen = self._store.load().x if exclude_seen else np.empty(0, np.int64)
        best, of_best = best_items(scores, seen, n)
        return own_items(current.model.manifest.encoding, best), of_best

    def titles(self, items: Any) -> list[str]:
        """The titles of items, as `recommend` returns them; the ids as text where the bundle has no titles.

        Raises:
            DataError: an item is not known.
        """
        return titles_of(self.manifest.encoding, items)

    def observe(self, x: Any, y: Any = None) -> None:
        """Store interactions. All of them are on the disk when this returns.

        Args:
            x: as in `predict`; a single interaction may omit the axis of rows, here and in `y`.
            y: `[rows, *spec.y.shape]`; may be omitted for ranking, where it then is a weight of 1. For a bundle that
                holds names: labels as they were given in training, or values by the targets' names.

        Raises:
            DataError: the rows do not fit the spec; none was stored.
            StoreError: the store cannot be written; none was stored.
        """
        self._store.append(*interaction_rows(self.spec, x, y, self.manifest.encoding))

    def adapt(self, budget_ms: float | None = None) -> AdaptReport:
        """Adapt the initialisation to all interactions. The new state is on the disk when this returns.

        Args:
            budget_ms: time limit in milliseconds; at least one step is taken regardless. None for no limit.

        Returns:
            What was done, and whether the new state is in use. A state that is not finite is discarded.

        Raises:
            DataError: there are no interactions, or the budget is negative.
            RuntimeFailure: the graphs do not run; the previous state stays in use.
            StoreError: the store cannot be used; the previous state stays in use.
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
        """Return to the initialisation and keep the interactions.

        Raises:
            StoreError: the store cannot be written; the previous state stays in use.
        """
        with self._changing:
            self._store.delete_personal()
            self._current = replace(self._current, state=None)

    def forget(self) -> None:
        """Return to the initialisation and erase all interactions, including their bytes in the store's files.

        The graphs cached in `<store>.graphs/` stay. They come from the bundle and contain nothing of the user.

        Raises:
            StoreError: the store cannot be written; or everything was deleted, but another process is reading the
                store, so that deleted bytes may remain in its files. The message says which.
        """
        with self._changing:
            self._store.delete_all()
            self._current = replace(self._current, state=None)
            self._store.erase_deleted()

    def upgrade(self, bundle: str | Path | Bundle) -> AdaptReport | None:
        """Change to a newer bundle of the same spec, and adapt it to the stored interactions.

        After an error the old bundle stays in use, in memory and in the store.

        Args:
            bundle: as in `open`; signed by the same key if `open` was given one.

        Returns:
            The report of adapting; None where there are no interactions.

        Raises:
            BundleError: the bundle cannot be read or is damaged.
            SignatureError: its signature is absent or wrong.
            StoreError: its spec differs from the store's, or the store cannot be used.
            RuntimeFailure: its graphs do not run, or its adapted state is not finite.
        """
        with self._changing:
            model = self._loader.load(bundle)
            if model.spec != self.spec:
                raise StoreError(
                    f"the store holds rows of {self.spec}, not of {model.spec}: open the new bundle with another store"
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
            raise RuntimeFailure(f"the new bundle cannot be used: {report.reason}")
        return PersonalState(state, report.interactions), report, rows.erasures

    def _support(self, interactions: Interactions) -> NumpyBatch:
        return Batch(interactions.x, interactions.y, recency_weights(len(interactions.x), self._half_life))

    def close(self) -> None:
        """Close the store. Closing it twice is allowed."""
        self._store.close()

    def __enter__(self) -> Personalizer:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
