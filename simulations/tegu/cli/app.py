"""The commands and their options. A command is imported when it is called, so that it loads only its own libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tegu.cli.federation import federation
from tegu.cli.learners import LEARNERS
from tegu.cli.signing import signing
from tegu.core.errors import require

__all__ = ["app"]

app = typer.Typer(
    name="tegu",
    help="On-device federated personalisation: learn an initialisation from many users, adapt it to one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(federation)
app.add_typer(signing)


def _require_sim() -> None:
    for module in ("torch", "flwr", "onnxscript", "matplotlib"):
        require(module, "sim")


@app.command()
def simulate(
    experiment: Annotated[
        str,
        typer.Argument(
            help="movielens, ratings, insteval, catsup, exercises, shakespeare, omniglot, sine, two_groups, one_group "
            "or changing_sines."
        ),
    ],
    data: Annotated[
        Path | None, typer.Option(help="omniglot: the folder with the official archives (images_*.zip, all_runs.zip).")
    ] = None,
    ways: Annotated[int | None, typer.Option(min=2, help="omniglot: characters of a task; 5 by default.")] = None,
    shots: Annotated[
        str | None, typer.Option(help="omniglot: examples of each character to evaluate at; 1,5 by default.")
    ] = None,
    rotations: Annotated[
        bool | None,
        typer.Option(
            "--rotations/--no-rotations",
            help="omniglot: characters turned by quarters are further classes in training; so by default.",
        ),
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="omniglot: held-out tasks to evaluate on; 1,000 by default.")
    ] = None,
    heldout: Annotated[
        str | None,
        typer.Option(help="omniglot: alphabets to hold out, such as 'Sanskrit,Tagalog'; see the reference by default."),
    ] = None,
    learner: Annotated[
        str | None,
        typer.Option(help=LEARNERS),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Number of rounds; the experiment's own by default.")
    ] = None,
    cohort: Annotated[int | None, typer.Option(min=1, help="Users per round; the experiment's own by default.")] = None,
    patience: Annotated[
        int,
        typer.Option(
            min=0,
            help="Stop after this many validations without improvement, once the figure has clearly declined, and keep "
            "the best round; 0 runs every round.",
        ),
    ] = 0,
    folds: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Cross-fitting folds. For each fold, train once more without its users and calibrate on them. 0 uses "
            "separate calibration users. The experiment's own by default, and 0 with --patience.",
        ),
    ] = None,
    risk: Annotated[
        str | None,
        typer.Option(
            help="Largest share of users that adapting may materially hurt, or 'strict' for nobody by more than one "
            "query row's worth. The experiment's own by default."
        ),
    ] = None,
    material: Annotated[
        float | None,
        typer.Option(help="Share of a user's own figure whose loss is material. The experiment's own by default."),
    ] = None,
    harm_ratio: Annotated[
        float | None,
        typer.Option(help="Largest ratio of losers' losses to gainers' gains. The experiment's own by default."),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="Confidence with which the risk is to be shown, or an error tells how many users it takes. By "
            "default 0.9 and no error."
        ),
    ] = None,
    initialisations: Annotated[
        int, typer.Option(min=1, help="Number of initialisations in one bundle, for different groups of users.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Determines splits, first parameters, cohorts and draws.")] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            help="Number of runs with successive seeds, from --seed on. Each has its own folder; means are printed.",
        ),
    ] = 1,
    backend: Annotated[
        str, typer.Option(help="inprocess, or ray for Flower's simulation with a process per participant.")
    ] = "inprocess",
    engine: Annotated[
        str | None,
        typer.Option(
            help="onnx, onnx-loop, torch-vmap, torch-loop, or auto for the fastest. The experiment's own by default: "
            "torch-vmap for omniglot, onnx for the others."
        ),
    ] = None,
    memory: Annotated[str, typer.Option(help="Memory limit for users processed at once, such as 500MiB.")] = "2GiB",
    out: Annotated[Path | None, typer.Option(help="Folder to write; runs/EXPERIMENT by default.")] = None,
    resume: Annotated[
        bool,
        typer.Option(
            help="Demand that the folder holds this run already, and resume it. Without it, an unfinished run is "
            "resumed too, another unfinished run is refused, and a finished one is replaced."
        ),
    ] = False,
    precision: Annotated[
        str, typer.Option(help="Precision of the parameters in init.tegu: float32, float16 or int8.")
    ] = "float32",
    attack: Annotated[
        str | None,
        typer.Option(
            help="Let some training users be false, and print what it costs: signflip, scale, noise, labelflip or nan."
        ),
    ] = None,
    attackers: Annotated[float, typer.Option(help="With --attack: share of the training users who are false.")] = 0.2,
    aggregation: Annotated[
        str | None,
        typer.Option(
            help="With --attack: rules to compare with the mean, separated by commas: trimmed_mean, median, krum, "
            "multi_krum."
        ),
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(
            help="Protect each training user by noise with this epsilon, and print what that costs beside a training "
            "without noise."
        ),
    ] = None,
    delta: Annotated[float, typer.Option(help="With --epsilon or --noise: delta of the guarantee.")] = 1e-5,
    noise: Annotated[
        float | None,
        typer.Option(help="Noise multiplier. By default, the least with which the planned rounds keep --epsilon."),
    ] = None,
    local_noise: Annotated[
        float | None, typer.Option(help="Noise multiplier that each device adds to its own update. Needs --clip.")
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(help="Largest norm of a user's update. By default none, and adaptive with --epsilon."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json as the last line of stdout.")] = False,
) -> None:
    """Train on many simulated users and compare with baselines on held-out users.

    EXPERIMENT is `movielens` (film clicks), `ratings` (film ratings), `insteval` (ratings of lecturers), `catsup`
    (households' brand choices, in order), `exercises` (movements seen by a watch), `shakespeare` (the next character),
    `omniglot` (few-shot classification of characters, with --data), `sine` (few-shot regression), `two_groups` (two
    groups of users with opposite preferences), `one_group` (one of these groups) or `changing_sines` (users whose
    preferences change).

    Writes `init.tegu`, `metrics.json`, `report.html` and `checkpoints/`. Progress goes to stderr.
    """
    _require_sim()
    if attack is not None or aggregation is not None:
        from tegu.cli.commands.attack import attack_command  # noqa: PLC0415 # torch and flwr

        attack_command(
            experiment,
            attack=attack,
            attackers=attackers,
            aggregation=aggregation,
            rounds=rounds,
            cohort=cohort,
            seed=seed,
            learner=learner,
            as_json=as_json,
        )
        return
    from tegu.cli.commands.simulate import simulate_command  # noqa: PLC0415 # torch and flwr
    from tegu.cli.parsing.numbers import parse_numbers  # noqa: PLC0415 # keeps --help quick

    simulate_command(
        experiment,
        own={
            "data": data,
            "ways": ways,
            "shots": parse_numbers("shots", shots) if shots else None,
            "rotations": rotations,
            "heldout": [name.strip() for name in heldout.split(",") if name.strip()] if heldout else None,
            "episodes": episodes,
        },
        learner=learner,
        rounds=rounds,
        patience=patience,
        folds=folds,
        privacy=None
        if epsilon is None and noise is None and local_noise is None
        else {"epsilon": epsilon, "delta": delta, "noise": noise, "local_noise": local_noise or 0.0},
        clip=clip,
        harm={"risk": risk, "material": material, "harm_ratio": harm_ratio, "confidence": confidence},
        cohort=cohort,
        initialisations=initialisations,
        seed=seed,
        seeds=seeds,
        backend=backend,
        engine=engine,
        memory=memory,
        out=out,
        resume=resume,
        precision=precision,
        as_json=as_json,
    )


@app.command()
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


@app.command()
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


@app.command()
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
    _require_sim()
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
