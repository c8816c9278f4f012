"""`tegu`: the way in. Errors that Tegu raises on purpose end the process with one line and exit code 1."""

from __future__ import annotations

import sys

from tegu.core.errors import TeguError, require

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    try:
        require("rich", "cli")
        require("typer", "cli")  # which imports rich itself
        from tegu.cli.app import app  # noqa: PLC0415 # after typer is known to be there

        app()
    except TeguError as error:
        print(f"tegu: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
