"""The entry point of `tegu`. A `TeguError` ends the process with one line on stderr and exit code 1."""

from __future__ import annotations

import sys

from tegu.core.errors import TeguError, require

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    try:
        require("rich", "cli")
        require("typer", "cli")  # which imports rich itself
        from tegu.cli.app import app  # noqa: PLC0415 # after the check that typer is installed

        app()
    except TeguError as error:
        print(f"tegu: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
