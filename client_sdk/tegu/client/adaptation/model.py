"""A bundle together with the runtime that runs it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import numpy as np

from tegu.client.adaptation.budget import adapt_within
from tegu.client.adaptation.catalogue import Catalogue, catalogue_of
from tegu.client.adaptation.evidence import Evidence, correction_note, evidence_from
from tegu.client.adaptation.inputs import empty_support
from tegu.client.adaptation.report import AdaptReport
from tegu.client.adaptation.typicality import atypical_note, typicality
from tegu.client.runtimes.limits.bundle_rules import check_state
from tegu.client.runtimes.runtime import Runtime
from tegu.core.bundle.file import Bundle
from tegu.core.bundle.manifest import Manifest, knobs_for, steps_of, with_steps
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.recency import effective_sample_size
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.errors import DataError, RuntimeFailure
from tegu.core.sampling.keyed_random import NO_NOISE, draw_noise
from tegu.core.scalars import whole_number

__all__ = ["Model"]


class Model:
    """A runnable bundle. It never changes: an upgrade creates another model.

    Attributes:
        bundle: that it runs.
        manifest: of the bundle.
        identity: `Bundle.identity`.
        catalogue: what its items and classes are called.
    """

    def __init__(self, bundle: Bundle, runtime: Runtime) -> None:
        self.bundle = bundle
        self.manifest: Manifest = bundle.manifest
        self.identity: str = bundle.identity
        self._meta = bundle.meta
        self._runtime = runtime
        self._initial: Tree | None = None
        self.catalogue: Catalogue = catalogue_of(self.manifest)

    def __repr__(self) -> str:
        return f"Model(learner={self.manifest.learner!r}, kind={self.spec.kind!r}, identity={self.identity[:12]!r})"

    @property
    def spec(self) -> Spec:
        """The layout of inputs and targets."""
        return self.manifest.spec

    def predict(self, state: Tree | None, x: Array) -> Array:
        """Outputs `[rows, outputs]`, or scores `[rows]` for ranking. A state of None means the initialisation.

        Raises:
            RuntimeFailure: the graphs do not run, or the output has an unexpected shape.
        """
        expected = (len(x),) if self.spec.kind == "ranking" else (len(x), self.spec.outputs)
        if not len(x):
            return np.zeros(expected, np.float32)
        output = self._runtime.predict(self._meta, self.initial() if state is None else state, x)
        if output.shape != expected or output.dtype.kind != "f":
            raise RuntimeFailure(
                f"the output has shape {output.shape} and dtype {output.dtype}: expected {expected} and float32; "
                "export the bundle again"
            )
        return output

    def spread(self, state: Tree | None, x: Array, samples: int) -> tuple[Array, Array]:
        """Mean and standard deviation over the first `samples` members of the state; see `Personalizer.predict`.

        Raises:
            DataError: the learner has no members, or fewer.
            RuntimeFailure: the runtime does not give the members' outputs, or the graphs do not run.
        """
        known, found = self.manifest.state_members, whole_number("samples", samples)
        if not 2 <= found <= known:
            raise DataError(
                f"samples is {found} and the bundle's learner, {self.manifest.learner}, holds {known or 1} of a user: "
                + (f"expected 2 to {known}" if known else "train with platipus or bayesian_maml, which hold several")
            )
        members: Callable[[Tree, Tree, Array], Array] | None = getattr(self._runtime, "members", None)
        if members is None:
            raise RuntimeFailure(
                f"the runtime {type(self._runtime).__name__} does not give the members' outputs: use OnnxRuntime"
            )
        outputs = members(self._meta, self.initial() if state is None else state, x)[:found].astype(np.float64)
        to_probabilities = _PROBABILITIES.get(self.spec.kind)
        values = outputs if to_probabilities is None else to_probabilities(outputs)
        return values.mean(0).astype(np.float32), values.std(0, ddof=1).astype(np.float32)

    def adapt(self, support: NumpyBatch, budget_ms: float | None, started: float) -> tuple[Tree, AdaptReport]:
        """Adapt to a user with the knobs that the schedule sets for the user's effective number of rows.

        Args:
            support: all rows of the user, at least one, the newest last; the mask is the weight of each.
            budget_ms: milliseconds since `started`; None for no limit.
            started: reading of `time.perf_counter`, in seconds.

        Returns:
            The state and the report. Use the state only where `kept` is True.

        Raises:
            RuntimeFailure: the graphs do not run.
        """
        support = NumpyBatch(*(part[-self.manifest.window :] for part in support))  # a window of 0 keeps all rows
        rows, sample_size = len(support.mask), effective_sample_size(support.mask)
        counted = round(sample_size)  # weights close to 1 select the same entry as weights of 1
        knobs = knobs_for(self.manifest, counted)
        adapts = knobs != self.manifest.unadapted
        scheduled = (steps_of(knobs) or 1) if adapts else 0
        noise = self._noise(support)

        def run(steps: int) -> Tree:
            return self._runtime.adapt(self._meta, support, with_steps(knobs, steps), noise)

        state, steps = adapt_within(run, scheduled, budget_ms, started) if adapts else (self.initial(), 0)
        check_state(state)
        kept, reason = _outcome(state, steps, scheduled, rows)
        evidence = evidence_from(self.manifest, state, knobs, counted) if steps else Evidence()
        if kept and steps and evidence.loo_improvement is not None:
            reason = correction_note(evidence, rows)
        if sample_size < rows:
            reason += f" Older interactions have less weight: {rows} interactions count as {sample_size:.3g}."
        milliseconds = 1000 * (time.perf_counter() - started)
        p = typicality(self.manifest, support, lambda x: self.predict(None, x))
        reason += atypical_note(p)
        lr = knobs.get("lr")
        return state, AdaptReport(steps, scheduled, rows, lr, milliseconds, kept, reason, *evidence, p, sample_size)

    def initial(self) -> Tree:
        """The state of a user without interactions; computed once.

        Raises:
            RuntimeFailure: the adapt graph does not run.
        """
        if self._initial is None:
            none, noise = empty_support(self.spec), np.zeros(self.manifest.noise, np.float32)
            self._initial = self._runtime.adapt(self._meta, none, self.manifest.unadapted, noise)
        return self._initial

    def check(self) -> None:
        """Run adapt and predict once, on a padding row.

        Raises:
            RuntimeFailure: the graphs do not run, or their results are not finite.
        """
        output = self.predict(None, empty_support(self.spec).x)
        if not _finite(self.initial()) or not np.isfinite(output).all():
            raise RuntimeFailure("the initialisation predicts values that are not finite: use another bundle")

    def _noise(self, support: NumpyBatch) -> Array:
        """The learner's noise. Rows and bundle determine it, so that adapting again gives the same state."""
        if not self.manifest.noise:
            return NO_NOISE
        rows = hashlib.sha256(b"".join(part.tobytes() for part in support)).hexdigest()
        return draw_noise(self.manifest.noise, "device", self.identity, rows)


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def _sigmoid(logits: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))


_PROBABILITIES: dict[str, Callable[[Array], Array]] = {"classification": _softmax, "multilabel": _sigmoid}


def _outcome(state: Tree, steps: int, scheduled: int, rows: int) -> tuple[bool, str]:
    if not _finite(state):
        return (
            False,
            f"The state after {steps} steps is not finite, so the previous one stays in use. Lower lr or rescale.",
        )
    if steps == 0:
        return True, f"The schedule sets no steps for {rows} interactions, so the initialisation is used unchanged."
    if steps < scheduled:
        return True, f"Took {steps} of {scheduled} steps: the time budget ran out."
    return True, f"Took all {steps} steps."


def _finite(tree: Tree) -> bool:
    return all(bool(np.isfinite(array).all()) for array in tree.values())
