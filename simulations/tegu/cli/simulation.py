"""`tegu simulate` and its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tegu.cli.learners import LEARNERS
from tegu.cli.requirements import require_sim

__all__ = ["simulation"]

simulation = typer.Typer()
_OMNIGLOT, _HARM, _EXECUTION = "Options of omniglot", "Limits on harm", "Execution"  # panels of `--help`
_OUTPUT, _ATTACK, _PRIVACY = "Output", "False users", "Privacy"


@simulation.command()
def simulate(
    experiment: Annotated[
        str,
        typer.Argument(
            help="movielens, ratings, insteval, catsup, exercises, shakespeare, omniglot, sine, two_groups, one_group "
            "or changing_sines."
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            help="The folder with the official archives (images_*.zip, all_runs.zip).",
            rich_help_panel=_OMNIGLOT,
        ),
    ] = None,
    ways: Annotated[
        int | None, typer.Option(min=2, help="Characters of a task; 5 by default.", rich_help_panel=_OMNIGLOT)
    ] = None,
    shots: Annotated[
        str | None,
        typer.Option(help="Examples of each character to evaluate at; 1,5 by default.", rich_help_panel=_OMNIGLOT),
    ] = None,
    rotations: Annotated[
        bool | None,
        typer.Option(
            "--rotations/--no-rotations",
            help="Characters turned by quarters are further classes in training; so by default.",
            rich_help_panel=_OMNIGLOT,
        ),
    ] = None,
    episodes: Annotated[
        int | None,
        typer.Option(min=1, help="Held-out tasks to evaluate on; 1,000 by default.", rich_help_panel=_OMNIGLOT),
    ] = None,
    heldout: Annotated[
        str | None,
        typer.Option(
            help="Alphabets to hold out, such as 'Sanskrit,Tagalog'; see the reference by default.",
            rich_help_panel=_OMNIGLOT,
        ),
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
            "query row's worth. The experiment's own by default.",
            rich_help_panel=_HARM,
        ),
    ] = None,
    material: Annotated[
        float | None,
        typer.Option(
            help="Share of a user's own figure whose loss is material. The experiment's own by default.",
            rich_help_panel=_HARM,
        ),
    ] = None,
    harm_ratio: Annotated[
        float | None,
        typer.Option(
            help="Largest ratio of losers' losses to gainers' gains. The experiment's own by default.",
            rich_help_panel=_HARM,
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="Confidence with which the risk is to be shown, or an error tells how many users it takes. By "
            "default 0.9 and no error.",
            rich_help_panel=_HARM,
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
        str,
        typer.Option(
            help="inprocess, or ray for Flower's simulation with a process per participant.", rich_help_panel=_EXECUTION
        ),
    ] = "inprocess",
    engine: Annotated[
        str | None,
        typer.Option(
            help="onnx, onnx-loop, torch-vmap, torch-loop, or auto for the fastest. The experiment's own by default: "
            "torch-vmap for omniglot, onnx for the others.",
            rich_help_panel=_EXECUTION,
        ),
    ] = None,
    memory: Annotated[
        str, typer.Option(help="Memory limit for users processed at once, such as 500MiB.", rich_help_panel=_EXECUTION)
    ] = "2GiB",
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; runs/EXPERIMENT by default.", rich_help_panel=_OUTPUT)
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            help="Demand that the folder holds this run already, and resume it. Without it, an unfinished run is "
            "resumed too, another unfinished run is refused, and a finished one is replaced.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    precision: Annotated[
        str,
        typer.Option(
            help="Precision of the parameters in init.tegu: float32, float16 or int8.", rich_help_panel=_OUTPUT
        ),
    ] = "float32",
    attack: Annotated[
        str | None,
        typer.Option(
            help="Let some training users be false, and print what it costs: signflip, scale, noise, labelflip or nan.",
            rich_help_panel=_ATTACK,
        ),
    ] = None,
    attackers: Annotated[
        float, typer.Option(help="With --attack: share of the training users who are false.", rich_help_panel=_ATTACK)
    ] = 0.2,
    aggregation: Annotated[
        str | None,
        typer.Option(
            help="With --attack: rules to compare with the mean, separated by commas: trimmed_mean, median, krum, "
            "multi_krum.",
            rich_help_panel=_ATTACK,
        ),
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(
            help="Protect each training user by noise with this epsilon, and print what that costs beside a training "
            "without noise.",
            rich_help_panel=_PRIVACY,
        ),
    ] = None,
    delta: Annotated[
        float, typer.Option(help="With --epsilon or --noise: delta of the guarantee.", rich_help_panel=_PRIVACY)
    ] = 1e-5,
    noise: Annotated[
        float | None,
        typer.Option(
            help="Noise multiplier. By default, the least with which the planned rounds keep --epsilon.",
            rich_help_panel=_PRIVACY,
        ),
    ] = None,
    local_noise: Annotated[
        float | None,
        typer.Option(
            help="Noise multiplier that each device adds to its own update. Needs --clip.", rich_help_panel=_PRIVACY
        ),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(
            help="Largest norm of a user's update. By default none, and adaptive with --epsilon.",
            rich_help_panel=_PRIVACY,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print metrics.json as the last line of stdout.", rich_help_panel=_OUTPUT)
    ] = False,
) -> None:
    """Train on many simulated users and compare with baselines on held-out users.

    EXPERIMENT is `movielens` (film clicks), `ratings` (film ratings), `insteval` (ratings of lecturers), `catsup`
    (households' brand choices, in order), `exercises` (movements seen by a watch), `shakespeare` (the next character),
    `omniglot` (few-shot classification of characters, with --data), `sine` (few-shot regression), `two_groups` (two
    groups of users with opposite preferences), `one_group` (one of these groups) or `changing_sines` (users whose
    preferences change).

    Writes `init.tegu`, `metrics.json`, `report.html` and `checkpoints/`. Progress goes to stderr.
    """
    require_sim()
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
