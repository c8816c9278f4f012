"""One's own run: judge it on held-out users, write its page, take its parameters back to torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from tegu.core.data.tree import Tree
from tegu.core.errors import DataError
from tegu.learners.default_dtype import float32_by_default
from tegu.learners.learner import Learner, Source
from tegu.learners.modules.trained import own_state, trained_module
from tegu.server.progress import Progress
from tegu.sim.evaluation.baselines.run_baselines import Compared, run_baselines
from tegu.sim.evaluation.heldout import evaluate_heldout
from tegu.sim.evaluation.run_metrics import run_metrics
from tegu.sim.experiments.baselines.for_spec import classical_for
from tegu.sim.reporting.evaluation import Evaluation
from tegu.sim.reporting.progress import progress_or_default
from tegu.sim.run_result import RunResult

__all__ = ["Run"]


@dataclass(frozen=True, repr=False)
class Run(RunResult):
    """Outcome of a simulation.

    Attributes:
        initialisations: number of initialisations.
        single: the learner with one initialisation; None means `learner` itself.
    """

    initialisations: int = 1
    single: Learner | None = None

    @float32_by_default()
    def evaluate(self, *, baselines: bool = True, progress: Progress | None = None) -> Evaluation:
        """Evaluate on the held-out users: the table of the built-in experiments, for this run.

        Baselines are tuned on users that are not held out, which takes up to as long as the run did. Those that need
        the module are left out for a learner that does not know its module (`Learner.source`).

        Args:
            baselines: whether to train and evaluate them.
            progress: receives stages and rounds. None shows them as `simulate` does; `SILENT` shows nothing.

        Returns:
            An object that prints as the table and has the numbers.
        """
        learner = self.single or self.learner
        compared = Compared(learner, self.initialisations, classical_for(learner.spec))
        with progress_or_default(progress, self.metric.name) as shown:
            trained = run_baselines(compared, self, shown) if baselines else {}
            shown.stage("evaluating on held-out users")
            results = evaluate_heldout(self, trained)
        return Evaluation(run_metrics("run", self, results), results, self.trained.validations)

    def report(self, path: str | Path, evaluation: Evaluation | None = None) -> None:
        """Write one page of HTML with the table and plots.

        Args:
            path: the file to write.
            evaluation: what `evaluate` gave. None evaluates now.

        Raises:
            FileError: the file cannot be written.
        """
        (evaluation or self.evaluate()).write(path)

    def state_dict(self, initialisation: int | None = None) -> dict[str, Tensor]:
        """The initialisation as torch tensors under the module's own names, buffers included.

        `module.load_state_dict(run.state_dict())` works. If inputs or targets were standardised, the module with these
        parameters maps standardised inputs to standardised outputs; `module` gives the whole function.

        Args:
            initialisation: which one, from 0. None for a run with one.

        Raises:
            DataError: the learner does not know its module, or no such initialisation.
        """
        return own_state(self._source().module, self._parameters(initialisation))

    def module(self, initialisation: int | None = None) -> nn.Module:
        """A module that computes the initialisation's outputs for unscaled inputs, in evaluation mode.

        It is a copy of the module with the trained parameters. If inputs or targets were standardised, the scaling is
        part of it, and the module is its submodule `model`.

        Args:
            initialisation: which one, from 0. None for a run with one.

        Raises:
            DataError: as `state_dict`.
        """
        return trained_module(self._source().module, self._parameters(initialisation))

    def _source(self) -> Source:
        if self.learner.source is None:
            raise DataError(
                f"the learner {self.learner.name!r} does not know the module that it was built from: expected "
                "Learner(source=Source(module, loss)); run.bundle.meta holds the parameters as arrays"
            )
        return self.learner.source

    def _parameters(self, initialisation: int | None) -> Tree:
        count, meta = self.initialisations, self.bundle.meta
        if not (0 <= (initialisation or 0) < count and (initialisation is not None or count == 1)):
            raise DataError(
                f"initialisation is {initialisation} and the run has {count}: expected a number from 0 to {count - 1}"
            )
        if count == 1:
            return meta
        prefix = f"{initialisation}/"
        own = {name.removeprefix(prefix): value for name, value in meta.items() if name.startswith(prefix)}
        return {
            **own,
            **{name: meta[name] for name in self.learner.fixed_parameters},
        }  # all initialisations share these
