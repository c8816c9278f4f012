"""Progress of a run on stderr: round, users per second, the metric, and the time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from tegu.server.progress import Progress, RoundProgress

__all__ = ["show_progress"]


@contextmanager
def show_progress(metric: str) -> Iterator[Progress]:
    """Show a progress bar for each stage, or one line per stage if stderr is not a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("rounds · {task.fields[figures]} ·"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with RichProgress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield _ProgressBars(bars, console, metric)


class _ProgressBars:
    """One progress bar at a time; a new stage replaces the previous bar."""

    def __init__(self, bars: RichProgress, console: Console, metric: str) -> None:
        self._bars, self._console, self._metric = bars, console, metric
        self._current = bars.add_task("starting", total=None, figures="")

    def stage(self, text: str) -> None:
        """Print the stage and start its bar."""
        self._bars.remove_task(self._current)
        self._console.print(f"[bold]{text}[/bold]", highlight=False)
        self._current = self._bars.add_task(text.split(":", maxsplit=1)[0], total=None, figures="")

    def round(self, progress: RoundProgress) -> None:
        """Advance the bar."""
        rate = progress.user_rounds / max(progress.seconds, 1e-9)
        figures = f"{rate:,.0f} users/s"
        if (latest := progress.validation) is not None:
            figures += f" · {self._metric} {latest.initialisation:.3f} → {latest.personalised:.3f} (calibration users)"
        self._bars.update(self._current, completed=progress.round, total=progress.rounds, figures=figures)
