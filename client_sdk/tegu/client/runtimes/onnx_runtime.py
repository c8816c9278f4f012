"""Runs a bundle's graphs with ONNX Runtime: adapt, predict and, for training, update.

Inputs and outputs are identified by name. A graph lists the inputs that it reads, and receives exactly those:

    meta.<name>  support.x|y|mask  query.x|y|mask  knob.<name>  noise  state.<name>  x
    state.<name> (adapt)           output (predict)             update.<name> (update)

Of a large table the state holds only the personal rows: `state.<name>/ids` and `state.<name>/rows`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tegu.client.runtimes.changed_rows import find_changed_rows
from tegu.client.runtimes.graph_cache import MIN_CACHED_BYTES, open_with_cache
from tegu.client.runtimes.limits.graph_rules import check_graph
from tegu.client.runtimes.limits.run_limits import RunLimits, StoppedRun
from tegu.core.bundle.manifest import STEPS, Knobs
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.tree import Tree
from tegu.core.errors import RuntimeFailure, require
from tegu.core.sampling.keyed_random import NO_NOISE
from tegu.core.scalars import whole_number

__all__ = ["OnnxRuntime", "Provider"]

Provider: TypeAlias = "str | tuple[str, dict[str, Any]]"

_CPU = "CPUExecutionProvider"
_FATAL_ONLY = 4  # log level; the exceptions of ONNX Runtime contain what it would log


class LoadedGraph(NamedTuple):
    """A graph's session with the names of its inputs and outputs."""

    session: Any
    inputs: list[str]
    outputs: list[str]


class OnnxRuntime:
    """Runs a bundle's graphs. Each graph is loaded on first use.

    Args:
        graphs: serialised ONNX by name: `adapt`, `predict`, `update`; graphs that are never used may be absent.
        providers: execution providers of ONNX Runtime, the preferred first, each a name or a pair of name and
            options; or one name; None for the CPU.
        threads: within one operator; 1 gives reproducible bits.
        cache: folder for optimised graphs, created if absent; None for no cache. Used for the CPU only, because
            graphs compiled by other providers cannot be saved.
        limits: what graphs from a publisher who need not be trusted may take. Graphs are also checked before they are
            loaded (`tegu.client.runtimes.limits`). None for graphs of one's own.

    Raises:
        RuntimeFailure: a provider is not available, or `threads` is less than 1.
        DataError: `threads` is not a whole number.
        MissingExtraError: ONNX Runtime is not installed; raised on first use where `providers` is None.
    """

    def __init__(
        self,
        graphs: Mapping[str, bytes],
        providers: Sequence[Provider] | str | None = None,
        threads: int = 1,
        cache: Path | None = None,
        limits: RunLimits | None = None,
    ) -> None:
        if whole_number("threads", threads) < 1:
            raise RuntimeFailure(f"threads is {threads}: expected at least 1")
        if isinstance(providers, str):
            providers = [providers]
        if providers is not None:
            _check_providers(providers)
        self._graphs = graphs
        self._providers = [_CPU] if providers is None else list(providers)
        self._cache = cache if self._providers == [_CPU] else None
        self._threads = threads
        self._limits = limits
        self._loaded: dict[str, LoadedGraph] = {}

    def __repr__(self) -> str:
        names = [provider if isinstance(provider, str) else provider[0] for provider in self._providers]
        return f"OnnxRuntime({', '.join(sorted(self._graphs))}; {', '.join(names)}, threads={self._threads})"

    def adapt(self, meta: Tree, support: NumpyBatch, knobs: Knobs, noise: Array = NO_NOISE) -> Tree:
        """The personal state; see `Runtime.adapt`."""
        sources = {"meta": meta, "support": support._asdict(), "knob": _knob_arrays(knobs), "noise": {"": noise}}
        return _without_prefix(self.run("adapt", sources), "state.")

    def predict(self, meta: Tree, state: Tree, x: Array) -> Array:
        """Outputs for the rows of `x`; see `Runtime.predict`."""
        outputs = self.run("predict", {"meta": meta, "state": state, "x": {"": x}})
        if "output" not in outputs:
            raise RuntimeFailure(
                f"the predict graph returns {sorted(outputs)}: expected 'output'; export the bundle again"
            )
        return outputs["output"]

    def members(self, meta: Tree, state: Tree, x: Array) -> Array:
        """The output of each member of the state, `[members, rows, ...]`, for a bundle with `Manifest.state_members`.

        Raises:
            RuntimeFailure: as `predict`, or the graph has no members.
        """
        outputs = self.run("predict", {"meta": meta, "state": state, "x": {"": x}})
        if "members" not in outputs:
            raise RuntimeFailure(
                f"the predict graph returns {sorted(outputs)}: expected 'members'; train with platipus or bayesian_maml"
            )
        return outputs["members"]

    def update(self, meta: Tree, support: NumpyBatch, query: NumpyBatch, noise: Array = NO_NOISE) -> Tree:
        """The update direction that the server subtracts, a tree with the layout of `meta`.

        Args:
            meta: what the server sent.
            support: rows to adapt on.
            query: rows that evaluate the adaptation.
            noise: standard normal, float32 `[Manifest.noise]`.

        Raises:
            RuntimeFailure: the graph cannot be loaded or run on these arguments.
        """
        rows = {"support": support._asdict(), "query": query._asdict()}
        sources = {"meta": meta, **rows, "noise": {"": noise}}
        return _without_prefix(self.run("update", sources), "update.")

    def run(self, graph: str, sources: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
        """A graph's outputs by name.

        Args:
            graph: its name.
            sources: inputs by the part of their names before the dot, then by the part after it (`""` for no dot).

        Raises:
            RuntimeFailure: the graph cannot be loaded, or an input is absent or has the wrong shape or dtype.
        """
        loaded = self.load(graph)
        feed = {name: _find(graph, name, sources) for name in loaded.inputs}
        try:
            values = self._values(loaded, feed)
        except StoppedRun as error:
            raise StoppedRun(f"the {graph} graph took too long: {error}") from error
        except Exception as error:  # ONNX Runtime's exceptions have no common base class
            raise RuntimeFailure(
                f"the {graph} graph failed ({error}): check that arrays and graphs come from one bundle"
            ) from error
        return dict(zip(loaded.outputs, values, strict=True))

    def _values(self, loaded: LoadedGraph, feed: Mapping[str, Array]) -> list[Array]:
        if self._limits is None:
            return list(loaded.session.run(loaded.outputs, feed))
        options = require("onnxruntime", "onnx").RunOptions()
        with self._limits.while_running(options):
            return list(loaded.session.run(loaded.outputs, feed, options))

    def load(self, graph: str) -> LoadedGraph:
        """The graph's session, made on first use. Call it once before several threads share the runtime.

        Raises:
            RuntimeFailure: the graph is absent or cannot be loaded.
        """
        if graph not in self._loaded:
            session = self._new_session(graph)
            # Looking up the names takes as long as running several nodes.
            inputs, outputs = ([item.name for item in items] for items in (session.get_inputs(), session.get_outputs()))
            self._loaded[graph] = LoadedGraph(session, inputs, outputs)
        return self._loaded[graph]

    def _new_session(self, graph: str) -> Any:
        if graph not in self._graphs:
            raise RuntimeFailure(f"there is no {graph} graph, only {sorted(self._graphs)}: export the bundle again")
        ort, serialised = require("onnxruntime", "onnx"), self._graphs[graph]
        if self._limits is not None:
            _check(graph, serialised)
        try:
            if self._cache is None or len(serialised) < MIN_CACHED_BYTES:
                return self._open(serialised)
            build = f"{ort.__version__} {ort.get_build_info()}"
            return open_with_cache(self._open, serialised, self._cache / graph, build)
        except StoppedRun as error:
            raise StoppedRun(f"the {graph} graph took too long to load: {error}") from error
        except Exception as error:  # no common base class, as above
            raise RuntimeFailure(
                f"ONNX Runtime {ort.__version__} cannot load the {graph} graph ({error}): "
                "upgrade onnxruntime, or fetch the bundle again"
            ) from error

    def _open(self, graph: bytes, *, optimised: bool = False, save_to: Path | None = None) -> Any:
        ort = require("onnxruntime", "onnx")
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL_ONLY
        if optimised:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if save_to is not None:
            options.optimized_model_filepath = str(save_to)
        fixed = {"providers": self._providers, "enable_fallback": False}
        if self._limits is None:
            return ort.InferenceSession(graph, options, **fixed)
        self._limits.restrict(options)
        with self._limits.while_loading(options):
            return ort.InferenceSession(graph, options, **fixed, disabled_optimizers=self._limits.left_out)


def _check(name: str, graph: bytes) -> None:
    try:
        check_graph(graph)
    except RuntimeFailure as error:
        raise RuntimeFailure(
            f"cannot load the {name} graph, which is damaged or not allowed ({error}): fetch the bundle again, or ask "
            "its publisher; run a bundle that you trust without limits, runtime=OnnxRuntime(bundle.graphs)"
        ) from error


def _check_providers(providers: Sequence[Provider]) -> None:
    if not isinstance(providers, list | tuple) or not all(map(_is_provider, providers)):
        raise RuntimeFailure(
            f"providers is {reprlib.repr(providers)}: expected a list of names, such as ['CPUExecutionProvider'], or "
            "of pairs (name, options)"
        )
    available = require("onnxruntime", "onnx").get_available_providers()
    names = [provider if isinstance(provider, str) else provider[0] for provider in providers]
    unknown = [name for name in names if name not in available]
    if unknown or not names:
        raise RuntimeFailure(
            f"providers {unknown or names} are not available: expected some of {', '.join(available)}; "
            "for a GPU, pip install 'tegu[onnx-gpu]' in place of tegu[onnx]"
        )


def _is_provider(provider: object) -> bool:
    name = provider[0] if isinstance(provider, tuple) and len(provider) == 2 else provider
    return isinstance(name, str)


def _knob_arrays(knobs: Knobs) -> dict[str, Array]:
    return {name: np.asarray(value, np.int64 if name == STEPS else np.float32) for name, value in knobs.items()}


def _find(graph: str, name: str, sources: Mapping[str, Mapping[str, Array]]) -> Array:
    source, _, key = name.partition(".")
    found = sources.get(source, {}).get(key)
    if found is None and source == "state":
        found = find_changed_rows(key, sources)
    if found is None:
        given = sorted(f"{source}.{key}" if key else source for source in sources for key in sources[source])
        raise RuntimeFailure(
            f"the {graph} graph reads {name!r}, which is not among {', '.join(given)}: "
            "upgrade tegu, or export the bundle again"
        )
    return found


def _without_prefix(outputs: Mapping[str, Array], prefix: str) -> Tree:
    return {name.removeprefix(prefix): value for name, value in outputs.items()}
