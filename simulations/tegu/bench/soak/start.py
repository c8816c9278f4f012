"""Writes the bundle that a soak starts from, in a process of its own: compiling needs torch, and devices have none.

`python -m tegu.bench.soak.start FILE`
"""

from __future__ import annotations

import sys
from pathlib import Path

from tegu.core.errors import require

__all__ = ["main"]


def main() -> None:
    """Write the bundle to the path that the command line names."""
    require("torch", "sim")
    from torch import nn  # noqa: PLC0415 # only the program needs these

    from tegu.compile import make_bundle  # noqa: PLC0415
    from tegu.core import Spec, write_bundle  # noqa: PLC0415
    from tegu.learners import reptile  # noqa: PLC0415

    learner = reptile(nn.Linear(4, 1, bias=False), Spec.regression((4,)))
    write_bundle(Path(sys.argv[1]), make_bundle(learner, learner.init(0)))


if __name__ == "__main__":
    main()
