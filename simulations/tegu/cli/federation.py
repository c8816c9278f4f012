"""The commands of a federation that one file describes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tegu.cli.requirements import require_federated
from tegu.core.errors import require

__all__ = ["federation", "nodes"]

federation = typer.Typer()
nodes = typer.Typer(help="Register, list and remove the nodes of a federation.", no_args_is_help=True)
federation.add_typer(nodes, name="nodes")

File = Annotated[Path, typer.Argument(help="A TOML file that describes the federation.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Without TLS and without authentication of nodes.")]
BeyondLoopback = Annotated[
    bool, typer.Option("--beyond-loopback", help="With --insecure: beyond this machine too. Anyone may then take part.")
]


@federation.command()
def certificates(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")] = Path("keys"),
    host: Annotated[
        list[str] | None,
        typer.Option(
            help="Name or address under which nodes reach the server. May be repeated. This machine's loopback is "
            "always there."
        ),
    ] = None,
    node: Annotated[list[str] | None, typer.Option(help="Make a key for this node. May be repeated.")] = None,
    days: Annotated[int, typer.Option(min=1, help="How long the server's certificate is valid.")] = 397,
    server: Annotated[bool, typer.Option(help="Make the authority and the server's certificate.")] = True,
    renew: Annotated[bool, typer.Option("--renew", help="Replace the server's certificate and its key.")] = False,
) -> None:
    """Make a certificate authority, the server's certificate, and the nodes' keys. Existing files are kept.

    Nodes need `ca.crt` and their own key. `ca.key` makes certificates: keep it away from the server.
    """
    require_federated()
    from tegu.cli.commands.federation import certificates_command  # noqa: PLC0415 # keeps --help quick

    certificates_command(folder, host or [], node or [], days=days, server=server, renew=renew)


@federation.command()
def serve(file: File, insecure: Insecure = False, beyond_loopback: BeyondLoopback = False) -> None:
    """Run the server of the federation that the TOML file FILE describes, until its result is written.

    TLS and authentication of nodes are on. Stop it with Control-C: checkpoints are kept, and the same command again
    goes on where it was.
    """
    for module in ("torch", "flwr"):
        require(module, "server")
    require_federated()
    from tegu.cli.commands.federation import serve_command  # noqa: PLC0415 # torch and flwr

    serve_command(file, insecure=insecure, beyond_loopback=beyond_loopback)


@federation.command()
def join(
    file: File,
    key: Annotated[Path | None, typer.Option(help="The node's private key, in place of the file's.")] = None,
    data: Annotated[Path | None, typer.Option(help="The users' rows, in place of the file's.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle, in place of the file's.")] = None,
    insecure: Insecure = False,
    beyond_loopback: BeyondLoopback = False,
) -> None:
    """Take part as a node in the federation that the TOML file FILE describes, and come back when its server does.

    Stop it with Control-C.
    """
    require_federated()
    from tegu.cli.commands.federation import join_command  # noqa: PLC0415 # flwr

    given = {("node", "key"): key, ("node", "data"): data, ("node", "bundle"): bundle}
    overrides = {place: str(path) for place, path in given.items() if path is not None}
    join_command(file, overrides, insecure=insecure, beyond_loopback=beyond_loopback)


@federation.command()
def status(
    file: File,
    insecure: Insecure = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the round of the federation that FILE describes, its nodes, refused replies and last checkpoint.

    Run it on the server's machine.
    """
    require_federated()
    from tegu.cli.commands.federation import status_command  # noqa: PLC0415 # flwr

    found, lines = status_command(file, insecure=insecure)
    typer.echo(json.dumps(found) if as_json else "\n".join(lines))


@nodes.command("add")
def add(
    file: File,
    key: Annotated[list[Path], typer.Argument(help="A node's public key, NAME.pub. Several may be given.")],
    insecure: Insecure = False,
) -> None:
    """Let nodes with these keys, each a NAME.pub, take part in the federation of FILE.

    Run it on the server's machine while the server runs.
    """
    require_federated()
    from tegu.cli.commands.federation import add_nodes_command  # noqa: PLC0415 # flwr

    add_nodes_command(file, key, insecure=insecure)


@nodes.command("list")
def list_(file: File, insecure: Insecure = False) -> None:
    """List the registered nodes of the federation of FILE. Run it on the server's machine while the server runs."""
    require_federated()
    from tegu.cli.commands.federation import list_nodes_command  # noqa: PLC0415 # flwr

    list_nodes_command(file, insecure=insecure)


@nodes.command("remove")
def remove(
    file: File,
    node: Annotated[list[str], typer.Argument(help="A node's id or name, or its public key. Several may be given.")],
    insecure: Insecure = False,
) -> None:
    """Let these nodes, by id, name or key, take part in the federation of FILE no longer.

    Run it on the server's machine while the server runs.
    """
    require_federated()
    from tegu.cli.commands.federation import remove_nodes_command  # noqa: PLC0415 # flwr

    remove_nodes_command(file, node, insecure=insecure)
