"""Progress of a run on stderr: round, people a second, the metric, time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from tegu.server.progress import Progress, RoundProgress

__all__ = ["watching"]


@contextmanager
def watching(metric: str) -> Iterator[Progress]:
    """Progress with a bar for each stage; on a stream that is no terminal, a line for each stage."""
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
        yield _Bars(bars, console, metric)


class _Bars:
    """A bar for each stage, in place of the last one's."""

    def __init__(self, bars: RichProgress, console: Console, metric: str) -> None:
        self._bars, self._console, self._metric = bars, console, metric
        self._current = bars.add_task("starting", total=None, figures="")

    def stage(self, text: str) -> None:
        """Print it, and begin a bar."""
        self._bars.remove_task(self._current)
        self._console.print(f"[bold]{text}[/bold]", highlight=False)
        self._current = self._bars.add_task(text.split(":", maxsplit=1)[0], total=None, figures="")

    def round(self, progress: RoundProgress) -> None:
        """Move the bar."""
        rate = progress.user_rounds / max(progress.seconds, 1e-9)
        figures = f"{rate:,.0f} people/s"
        if (look := progress.look) is not None:
            figures += f" · {self._metric} {look.initialisation:.3f} → {look.personalised:.3f} (held out to calibrate)"
        self._bars.update(self._current, completed=progress.round, total=progress.rounds, figures=figures)
