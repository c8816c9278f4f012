"""The entry point of `tegu`.

A `TeguError` ends the process with one line on stderr and exit code 1. SIGTERM first ends the processes that the
command has started, which would otherwise go on alone, and then the command, with exit code 143. `tegu serve` and
`tegu join` handle it themselves and have exit code 130.
"""

from __future__ import annotations

import signal
import sys
from typing import Any, Never

from tegu.core.errors import TeguError, require

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    before = signal.signal(signal.SIGTERM, _end)
    try:
        require("rich", "cli")
        require("typer", "cli")  # which imports rich itself
        from tegu.cli.app import app  # noqa: PLC0415 # after the check that typer is installed

        app()
    except TeguError as error:
        print(f"tegu: {error}", file=sys.stderr)
        sys.exit(1)
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(*_: Any) -> Never:
    sys.exit(128 + signal.SIGTERM)  # as a shell reports it


if __name__ == "__main__":
    main()
