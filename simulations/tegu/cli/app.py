"""The command line, put together. A command is imported when it is called, so that it loads only its own libraries."""

from __future__ import annotations

import typer

from tegu.cli.benchmarks import benchmarks
from tegu.cli.device import device
from tegu.cli.federation import federation
from tegu.cli.signing import signing
from tegu.cli.simulation import simulation

__all__ = ["app"]

app = typer.Typer(
    name="tegu",
    help="On-device federated personalisation: learn an initialisation from many users, adapt it to one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for group in (simulation, device, benchmarks, federation, signing):
    app.add_typer(group)
