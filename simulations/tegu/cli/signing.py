"""`tegu keygen` and `tegu sign`: a publisher's key, and bundles signed with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["signing"]


signing = typer.Typer()


@signing.command()
def keygen(
    key: Annotated[Path, typer.Argument(help="A new file for the private key.")],
) -> None:
    """Write a new Ed25519 private key to the file KEY, which must not exist, and print the public key for apps."""
    from tegu.core.bundle.key_file import make_key_file  # noqa: PLC0415 # keeps --help quick

    typer.echo(make_key_file(key))


@signing.command()
def sign(
    bundle: Annotated[Path, typer.Argument(help="A .tegu file.")],
    key: Annotated[Path, typer.Option(help="File with the private key, as `tegu keygen` writes it.")],
    out: Annotated[Path | None, typer.Option(help="File to write. By default, BUNDLE is replaced.")] = None,
) -> None:
    """Sign the .tegu file BUNDLE. A signature that it has is replaced; all else stays as it is."""
    from tegu.core.bundle.file import sign_bundle  # noqa: PLC0415 # keeps --help quick
    from tegu.core.bundle.key_file import read_key_file  # noqa: PLC0415 # as above

    path = bundle if out is None else out
    sign_bundle(bundle, path, read_key_file(key))
    typer.echo(f"signed {path}")
