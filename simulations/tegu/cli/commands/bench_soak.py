"""`tegu bench soak`."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from tegu.bench.soak.soak import LONG, SHORT, soak
from tegu.core.errors import RuntimeFailure

__all__ = ["bench_soak_command"]


def bench_soak_command(*, short: bool, seed: int, rounds: int | None) -> dict[str, Any]:
    """Run the soak, print what came of it, and return it for `--json`.

    Args:
        short: three minutes at most.
        seed: of the faults and their moments.
        rounds: of the run; None for those of the plan.

    Raises:
        RuntimeFailure: a round or an interaction was lost, a reply is unaccounted for, the run did not end, or memory
            has grown by more than 5% from the second quarter of the time to the last.
    """
    stderr, stdout = Console(stderr=True, soft_wrap=True), Console(soft_wrap=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with the processes that it has started
    plan = SHORT if short else LONG
    plan = plan if rounds is None else plan._replace(rounds=rounds)
    with tempfile.TemporaryDirectory(prefix="tegu-soak-") as folder:
        found = soak(plan, Path(folder), seed, lambda text: stderr.print(text, highlight=False, markup=False))
    for line in found.lines():
        stdout.print(line, highlight=False, markup=False)
    if not found.lost_nothing:
        raise RuntimeFailure("the soak has lost something: see the lines above")
    if not short and not found.is_flat:
        raise RuntimeFailure("memory has grown by more than 5%: see the lines above")
    return {"bench": "soak", **found.as_json()}
