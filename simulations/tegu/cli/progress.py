"""Progress of a run on stderr: round, people a second, the metric, time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tegu.server.evaluation.validation import Look
from tegu.sim.run_experiment import Watch
from tegu.sim.training.in_process import Progress as TrainingProgress

__all__ = ["watching"]


@contextmanager
def watching(metric: str) -> Iterator[Watch]:
    """A `Watch` that draws a bar for each stage; on a stream that is no terminal, a line for each stage."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("rounds · {task.fields[figures]} ·"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        current = [bars.add_task("starting", total=None, figures="")]

        def stage(text: str) -> None:
            bars.remove_task(current[0])
            console.print(f"[bold]{text}[/bold]", highlight=False)
            current[0] = bars.add_task(text.split(":", maxsplit=1)[0], total=None, figures="")

        def point(progress: TrainingProgress, latest: Look | None) -> None:
            rate = progress.user_rounds / max(progress.seconds, 1e-9)
            figures = f"{rate:,.0f} people/s"
            if latest is not None:
                figures += (
                    f" · {metric} {latest.initialisation:.3f} → {latest.personalised:.3f} (held out to calibrate)"
                )
            bars.update(current[0], completed=progress.round, total=progress.rounds, figures=figures)

        yield Watch(stage, point)
