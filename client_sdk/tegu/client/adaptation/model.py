"""One initialisation together with the runtime that runs it."""

from __future__ import annotations

import time

import numpy as np

from tegu.client.adaptation.budget import adapt_within
from tegu.client.adaptation.evidence import Evidence, corrected, evidence_from
from tegu.client.adaptation.inputs import empty_support
from tegu.client.adaptation.report import AdaptReport
from tegu.client.adaptation.typicality import typical, unlike
from tegu.client.runtimes.runtime import Runtime
from tegu.core.bundle.file import Bundle
from tegu.core.bundle.manifest import Manifest, knobs_for
from tegu.core.data.batch import Array, NumpyBatch
from tegu.core.data.recency import effective_sample_size
from tegu.core.data.spec import Spec
from tegu.core.data.tree import Tree
from tegu.core.errors import RuntimeFailure

__all__ = ["Model"]


class Model:
    """A bundle that runs. It never changes: an upgrade is another model.

    Attributes:
        manifest: what the bundle says of itself.
        identity: of the bundle.
    """

    def __init__(self, bundle: Bundle, runtime: Runtime) -> None:
        self.manifest: Manifest = bundle.manifest
        self.identity: str = bundle.identity
        self._meta = bundle.meta
        self._runtime = runtime
        self._initial: Tree | None = None

    @property
    def spec(self) -> Spec:
        """What the model takes and gives."""
        return self.manifest.spec

    def predict(self, state: Tree | None, x: Array) -> Array:
        """Outputs `[rows, outputs]`, or scores `[rows]` for ranking; a state of None is the initialisation's.

        Raises:
            RuntimeFailure: the graphs do not run, or give an output of another shape.
        """
        output = self._runtime.predict(self._meta, self.initial() if state is None else state, x)
        expected = (len(x),) if self.spec.kind == "ranking" else (len(x), self.spec.outputs)
        if output.shape != expected:
            raise RuntimeFailure(f"the output has shape {output.shape}: expected {expected}; export the bundle again")
        return output

    def adapt(self, support: NumpyBatch, budget_ms: float | None, started: float) -> tuple[Tree, AdaptReport]:
        """Adapt to a user, with the knobs that the schedule has for their effective number of rows.

        Args:
            support: all rows of the user, at least one, the newest last; the mask is what each counts for.
            budget_ms: milliseconds since `started`; None for no limit.
            started: of `time.perf_counter`, in seconds.

        Returns:
            The state and the account of it; the state is of use only where the account says `kept`.

        Raises:
            RuntimeFailure: the graphs do not run.
        """
        support = NumpyBatch(*(part[-self.manifest.most :] for part in support))  # of 0, all
        rows, effective = len(support.mask), effective_sample_size(support.mask)
        counted = round(effective)  # what hardly fades is as what does not
        knobs = knobs_for(self.manifest, counted)
        wanted = int(knobs.get("steps", 1))
        calibrated = self._calibrated(counted)

        def run(steps: int) -> Tree:
            return self._runtime.adapt(self._meta, support, {**knobs, "steps": float(steps)})

        state, steps = adapt_within(run, wanted, budget_ms, started) if calibrated else (self.initial(), 0)
        kept, reason = _verdict(state, steps, wanted, rows)
        known = evidence_from(self.manifest, state, knobs, counted) if steps else Evidence()
        if kept and steps and known.evidence is not None:
            reason = corrected(known, rows)
        if effective < rows:
            reason += f"; older ones count less: {rows} interactions are as good as {effective:.3g}"
        milliseconds = 1000 * (time.perf_counter() - started)
        alike = typical(self.manifest, support, lambda x: self.predict(None, x))
        reason += unlike(alike)
        lr = knobs.get("lr")
        return state, AdaptReport(steps, wanted, rows, lr, milliseconds, kept, reason, *known, alike, effective)

    def initial(self) -> Tree:
        """The state of a user of whom nothing is known; computed once.

        Raises:
            RuntimeFailure: the adapt graph does not run.
        """
        if self._initial is None:
            knobs = {**knobs_for(self.manifest, 0), "steps": 0.0}
            self._initial = self._runtime.adapt(self._meta, empty_support(self.spec), knobs)
        return self._initial

    def check(self) -> None:
        """Run adapt and predict once, on a row that counts for nothing.

        Raises:
            RuntimeFailure: they do not run, or give something that cannot be used.
        """
        output = self.predict(None, empty_support(self.spec).x)
        if not _finite(self.initial()) or not np.isfinite(output).all():
            raise RuntimeFailure("the initialisation predicts numbers that are not finite: use another bundle")

    def _calibrated(self, rows: int) -> bool:
        # knobs_for says "no steps" below the first entry; a learner that has no steps would not hear it.
        schedule = self.manifest.schedule
        return not schedule or rows >= schedule[0].k


def _verdict(state: Tree, steps: int, wanted: int, rows: int) -> tuple[bool, str]:
    if not _finite(state):
        return False, f"the state after {steps} steps is not finite: the one from before stays; lower lr or rescale"
    if steps == 0:
        return True, f"the schedule takes no step at {rows} interactions: the initialisation serves as it is"
    if steps < wanted:
        return True, f"adapted by {steps} of {wanted} steps: the budget allowed no more"
    return True, f"adapted by all {steps} steps"


def _finite(tree: Tree) -> bool:
    return all(bool(np.isfinite(array).all()) for array in tree.values())
