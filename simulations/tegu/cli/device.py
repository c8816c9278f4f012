"""`tegu personalise` and `tegu inspect`: what needs no torch and no flwr."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["device"]

device = typer.Typer()


@device.command()
def personalise(
    bundle: Annotated[Path, typer.Argument(help="A .tegu file.")],
    interactions: Annotated[
        Path,
        typer.Option(
            help="CSV file. Columns go by the names in the bundle; without names there, y, y0, y1... or target are "
            "targets and the others inputs."
        ),
    ],
    inputs: Annotated[
        Path | None, typer.Option(help="CSV file of inputs to predict for. Not needed for ranking.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write predictions to. By default, stdout.")] = None,
    store: Annotated[
        Path | None, typer.Option(help="SQLite file that stores the interactions. By default, they are not stored.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Ranking: number of items to recommend.")] = 10,
    titles: Annotated[
        Path | None, typer.Option(help="Ranking: CSV file with the columns item and title, to show titles.")
    ] = None,
    later: Annotated[
        Path | None, typer.Option(help="Ranking: CSV file of items that the user chose later, to mark hits.")
    ] = None,
    public_key: Annotated[
        str | None,
        typer.Option(help="Ed25519 public key in hexadecimal. The bundle must be signed with its private key."),
    ] = None,
) -> None:
    """Adapt the .tegu file BUNDLE to one user's interactions and predict, without torch."""
    from tegu.cli.commands.personalise import personalise_command  # noqa: PLC0415 # keeps --help quick

    personalise_command(
        bundle,
        interactions,
        inputs=inputs,
        out=out,
        store=store,
        top=top,
        titles=titles,
        later=later,
        public_key=public_key,
    )


@device.command()
def inspect(
    bundle: Annotated[Path, typer.Argument(help="A .tegu file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
    public_key: Annotated[
        str | None,
        typer.Option(help="Ed25519 public key in hexadecimal. The bundle must be signed with its private key."),
    ] = None,
) -> None:
    """Verify the .tegu file BUNDLE and show its manifest and parameters."""
    from tegu.cli.commands.inspect import inspect_command  # noqa: PLC0415 # keeps --help quick

    inspect_command(bundle, as_json=as_json, public_key=public_key)
