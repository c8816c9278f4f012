"""`tegu bench` and its options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tegu.cli.requirements import require_sim
from tegu.core.errors import require

__all__ = ["benchmarks"]

benchmarks = typer.Typer()


@benchmarks.command()
def bench(
    name: Annotated[
        str,
        typer.Argument(help="simulate, device, start, scale, wire, convolution, default, training, learners or soak."),
    ],
    pairs: Annotated[int, typer.Option(min=1, help="Timed runs of each implementation. They alternate: A B A B.")] = 5,
    task: Annotated[
        list[str] | None, typer.Option(help="Run this task only. May be repeated. By default, all tasks.")
    ] = None,
    peer: Annotated[
        list[str] | None, typer.Option(help="Run this peer only. May be repeated. By default, all peers.")
    ] = None,
    install: Annotated[bool, typer.Option(help="Create environments for peers that are not installed.")] = True,
    out: Annotated[
        Path | None, typer.Option(help="Plot to write, .svg or .html. The result is written beside it as .json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as the last line of stdout.")] = False,
    learner: Annotated[
        list[str] | None, typer.Option(help="learners: measure this one only. May be repeated. By default, all.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="learners: the folder with Omniglot's archives.")] = None,
    ways: Annotated[
        int | None, typer.Option(min=2, help="learners: characters of an Omniglot task; 5 by default.")
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="learners: held-out Omniglot tasks; 1,000 by default.")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, help="learners, soak: rounds of training; by default what each learner recommends, 200."),
    ] = None,
    seed: Annotated[int, typer.Option(help="learners: of the runs. soak: of the faults.")] = 0,
    short: Annotated[bool, typer.Option(help="soak: three minutes at most.")] = False,
) -> None:
    """Compare Tegu with peers in the same run: medians and ratios of paired runs.

    NAME is `simulate` (simulated rounds of many users), `device` (adapting to one user), `start` (from the start of a
    process to its first personalised prediction), `scale` (populations of up to a million users) or `wire` (quantised
    updates). If a peer is not installed, the command says how to install it and leaves it out.

    NAME `learners` compares Tegu's learners with each other on sine, Omniglot (with --data) and movielens, one process
    for each. Results are kept in the folder named like --out, or in `runs/learners`: a later run goes on from there.

    NAME `soak` runs a federation of 20 devices on this machine, with TLS and node authentication, while devices and
    server are killed at random. It prints faults, rounds and interactions lost, refusals and memory.
    """
    if name == "soak":
        require("psutil", "sim")  # torch stays out of this process, whose memory is that of the devices
        from tegu.cli.commands.bench_soak import bench_soak_command  # noqa: PLC0415

        soaked = bench_soak_command(short=short, seed=seed, rounds=rounds)
        if as_json:
            typer.echo(json.dumps(soaked))
        return
    require_sim()
    if name == "learners":
        from tegu.cli.commands.bench_learners import bench_learners_command  # noqa: PLC0415 # torch

        compared = bench_learners_command(
            tasks=task or [],
            learners=learner or [],
            seed=seed,
            rounds=rounds,
            omniglot={"data": data, "ways": ways, "episodes": episodes},
            out=out,
        )
        if as_json:
            typer.echo(json.dumps(compared))
        return
    from tegu.cli.commands.bench import bench_command  # noqa: PLC0415 # torch

    result = bench_command(name, pairs=pairs, tasks=task or [], peers=peer or [], install=install, out=out)
    if as_json:
        typer.echo(json.dumps(result))
