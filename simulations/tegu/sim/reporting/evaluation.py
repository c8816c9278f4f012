"""The evaluation of a run: a table that prints, in a terminal and in a notebook, and the numbers behind it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tegu.core.files import atomic_write
from tegu.server.evaluation.validation import Validation
from tegu.sim.evaluation.heldout import HeldoutResults
from tegu.sim.reporting.calibrated import frontier_line, frontier_rows, unshown_line
from tegu.sim.reporting.report import html_table, render_report
from tegu.sim.reporting.table import decline_line, gap_line, markdown, table_rows

__all__ = ["Evaluation"]


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Results of a run and its baselines on held-out users.

    Attributes:
        metrics: all figures, as in `metrics.json`; see `curve`.
        results: each user's gain and, for classification, the reliability.
        validations: those during training, in order of rounds.
    """

    metrics: Mapping[str, Any]
    results: HeldoutResults
    validations: tuple[Validation, ...]

    @property
    def curve(self) -> Sequence[Mapping[str, Any]]:
        """One entry for each number of interactions `k`.

        It has the metric of `personalised`, `initialisation` and each of `baselines`, the mean `gain` with its
        confidence interval, the shares of users with a `materially_hurt` figure and with `any_decline`, and the
        `harm_ratio`.
        """
        curve: Sequence[Mapping[str, Any]] = self.metrics["curve"]
        return curve

    def __repr__(self) -> str:
        return f"Evaluation(metric={self.metrics['metric']!r}, {self.results!r})"

    def __str__(self) -> str:
        frontier = frontier_rows(self.metrics)
        second = [f"{frontier_line(self.metrics)}:", markdown(frontier)] if frontier else []
        return "\n\n".join([self._caption, markdown(table_rows(self.metrics)), *second, *self._notes])

    def _repr_markdown_(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        lines = [f"<p>{html.escape(line)}</p>" for line in (self._caption, *self._notes)]
        frontier = frontier_rows(self.metrics)
        second = f"<p>{frontier_line(self.metrics)}:</p>{html_table(frontier)}" if frontier else ""
        return lines[0] + html_table(table_rows(self.metrics)) + second + "".join(lines[1:])

    def write(self, path: str | Path) -> None:
        """Write one page of HTML with the table and plots.

        Raises:
            FileError: the file cannot be written.
        """
        page = render_report(self.metrics, self.validations, self.results.gains, self.results.reliability)
        atomic_write(Path(path), page.encode())

    @property
    def _caption(self) -> str:
        found = self.metrics
        better = "higher is better" if found["higher_is_better"] else "lower is better"
        return f"{found['learner']}: {found['metric']} ({better}) on {found['heldout_users']} held-out users"

    @property
    def _notes(self) -> list[str]:
        found = self.metrics
        return [line for line in (unshown_line(found), gap_line(found), decline_line(found)) if line]
