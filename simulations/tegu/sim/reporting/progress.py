"""Progress of a run on stderr: round, users per second, the metric, and the time left.

A terminal shows a bar, a notebook one line that changes, and a log a line now and then.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from tegu.server.progress import Progress, RoundProgress

__all__ = ["progress_or_default", "show_progress"]

_SHARES = 10  # a log has a line for each tenth of the rounds,
_AT_MOST = 30.0  # and one after this many seconds if a tenth takes longer,
_AT_LEAST = 1.0  # but none before this many seconds have passed since the last
_REDRAW = 0.2  # seconds between changes of a notebook's line


@contextmanager
def progress_or_default(progress: Progress | None, metric: str) -> Iterator[Progress]:
    """`progress`, or that of `show_progress` if it is None."""
    if progress is not None:
        yield progress
        return
    with show_progress(metric) as shown:
        yield shown


@contextmanager
def show_progress(metric: str) -> Iterator[Progress]:
    """Show progress on stderr, in the form that fits a terminal, a notebook or a log.

    Args:
        metric: name of the figure that validations report.
    """
    console = Console(stderr=True)
    if _in_notebook():
        line = _ChangingLine(metric)
        yield line
        line.end()
    elif not console.is_terminal:
        yield _Lines(metric)
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("rounds · {task.fields[figures]} ·"),
            TimeRemainingColumn(),
            TextColumn("left"),
        )
        with RichProgress(*columns, console=console, transient=True) as bars:
            yield _ProgressBars(bars, console, metric)


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook. Nothing is imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


class _ProgressBars:
    """One progress bar at a time; a new stage replaces the previous bar."""

    def __init__(self, bars: RichProgress, console: Console, metric: str) -> None:
        self._bars, self._console, self._metric = bars, console, metric
        self._current = bars.add_task("starting", total=None, figures="")

    def stage(self, text: str) -> None:
        """Print the stage and start its bar."""
        self._bars.remove_task(self._current)
        self._console.print(text, style="bold", highlight=False, markup=False)
        self._current = self._bars.add_task(_name(text), total=None, figures="")

    def round(self, progress: RoundProgress) -> None:
        """Advance the bar."""
        figures = _figures(progress, self._metric)
        self._bars.update(self._current, completed=progress.round, total=progress.rounds, figures=figures)


class _Lines:
    """A line at the start of each stage, and few of its rounds."""

    def __init__(self, metric: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._metric, self._clock = metric, clock
        self._stage, self._share, self._printed, self._pace = "", 0, clock(), _Pace()

    def stage(self, text: str) -> None:
        """Print the stage."""
        print(text, file=sys.stderr, flush=True)
        self._stage, self._share, self._printed, self._pace = _name(text), 0, self._clock(), _Pace()

    def round(self, progress: RoundProgress) -> None:
        """Print the round if a line is due."""
        left = self._pace.left(progress)
        share, waited = progress.round * _SHARES // progress.rounds, self._clock() - self._printed
        if (share > self._share and waited >= _AT_LEAST) or waited >= _AT_MOST:
            print(_line(self._stage, progress, self._metric, left), file=sys.stderr, flush=True)
            self._share, self._printed = share, self._clock()


class _ChangingLine:
    """A line for each stage, and one that changes with the rounds."""

    def __init__(self, metric: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._metric, self._clock = metric, clock
        self._stage, self._width, self._drawn, self._pace = "", 0, -_REDRAW, _Pace()

    def stage(self, text: str) -> None:
        """Print the stage below what is there."""
        self.end()
        print(text, file=sys.stderr, flush=True)
        self._stage, self._pace = _name(text), _Pace()

    def round(self, progress: RoundProgress) -> None:
        """Change the line."""
        left = self._pace.left(progress)
        if self._clock() - self._drawn >= _REDRAW or progress.round == progress.rounds:
            text = _line(self._stage, progress, self._metric, left)
            print(f"\r{text.ljust(self._width)}", end="", file=sys.stderr, flush=True)
            self._width, self._drawn = len(text), self._clock()

    def end(self) -> None:
        """End the line."""
        if self._width:
            print(file=sys.stderr, flush=True)
        self._width, self._drawn = 0, -_REDRAW


class _Pace:
    """Time left, from the rounds since the stage began; a resumed run's earlier rounds took none of it."""

    def __init__(self) -> None:
        self._before: int | None = None

    def left(self, progress: RoundProgress) -> float:
        """Seconds left."""
        if self._before is None:
            self._before = progress.round - 1
        return progress.seconds / max(progress.round - self._before, 1) * (progress.rounds - progress.round)


def _line(stage: str, progress: RoundProgress, metric: str, left: float) -> str:
    remaining = f" · {_duration(left)} left" if progress.round < progress.rounds else ""
    return f"{stage}: {progress.round}/{progress.rounds} rounds · {_figures(progress, metric)}{remaining}"


def _name(stage: str) -> str:
    return stage.split(":", maxsplit=1)[0]


def _figures(progress: RoundProgress, metric: str) -> str:
    rate = progress.user_rounds / max(progress.seconds, 1e-9)
    figures = f"{rate:,.0f} users/s"
    if (latest := progress.validation) is not None:
        figures += f" · {metric} {latest.initialisation:.3f} → {latest.personalised:.3f} (calibration users)"
    if progress.epsilon is not None:
        figures += f" · epsilon {progress.epsilon:.3g}"
    return figures


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
