"""Few-shot classification of characters: tasks of N characters, K drawings of each (Lake et al. 2015).

A user is a task. Alphabets are held out as a whole, so that a held-out task's characters are new in kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tegu.core.data.spec import Spec
from tegu.core.errors import DataError
from tegu.core.sampling.episode import EpisodeRule
from tegu.core.scalars import whole_number
from tegu.learners.catalogue import find_learner
from tegu.server.training.calibration_plan import CalibrationPlan
from tegu.server.training.plan import CohortPlan, EarlyStopping, TrainingPlan
from tegu.sim.data.few_shot.tasks import Tasks, few_shot_population
from tegu.sim.data.population import Population
from tegu.sim.experiments.experiment import Experiment
from tegu.sim.experiments.omniglot.alphabets import split_characters
from tegu.sim.experiments.omniglot.archive import Drawings, read_drawings
from tegu.sim.experiments.omniglot.distortion import distorted
from tegu.sim.experiments.omniglot.network import four_convolutions
from tegu.sim.experiments.omniglot.pixels import nearest_pixels
from tegu.sim.experiments.omniglot.recipes import Recipe, recipe_for
from tegu.sim.experiments.omniglot.runs import official_runs

__all__ = ["Numbers", "character_tasks", "omniglot"]

_TURNS = (1, 2, 3)  # quarter turns that make further classes
_QUERY = 5  # drawings of each character beside the largest support, as in Snell et al. 2017
_WAYS_OF_RUNS = 20
_OWN = "prototypical_networks"


class Numbers(NamedTuple):
    """Numbers of tasks."""

    train: int = 2000
    calibration: int = 60
    heldout: int = 1000


_NUMBERS = Numbers()


def character_tasks(
    drawings: Drawings,
    *,
    ways: int,
    shots: int,
    seed: int,
    train_ways: int | None = None,
    train_rows: int | None = None,
    rotations: bool = False,
    copies: int = 0,
    heldout: Sequence[str] | None = None,
    numbers: Numbers = _NUMBERS,
) -> Population:
    """Tasks of `ways` characters; those that train, calibrate and are held out have different characters.

    Args:
        drawings: all drawings.
        ways: characters of a task.
        shots: most examples of a character that will be adapted on.
        seed: of all draws.
        train_ways: characters of a task that trains; None for `ways`. Labels are as many as the larger of both.
        train_rows: drawings of each character in a task that trains; None for all.
        rotations: whether characters turned by 90, 180 and 270 degrees are further classes in training (Santoro et al.
            2016, arXiv:1605.06065).
        copies: distorted copies of each drawing that trains (`distorted`), which are of the same character.
        heldout: alphabets to hold out; see `split_characters`.
        numbers: of tasks.

    Raises:
        DataError: too few characters or drawings.
        UnknownNameError: no such alphabet.
    """
    characters = split_characters(drawings, ways, seed, heldout)
    x, label, train = drawings.x, drawings.character, list(characters.train)
    if rotations:
        turned = np.isin(label, train)
        names = [np.char.add(label[turned], f" turned {turns}") for turns in _TURNS]
        x = np.concatenate([x, *(np.rot90(x[turned], turns, (2, 3)) for turns in _TURNS)])
        label, train = np.concatenate([label, *names]), [*train, *np.unique(np.concatenate(names)).tolist()]
    trained = np.isin(label, train)
    x = np.concatenate([x, *(distorted(x[trained], seed + number) for number in range(copies))])
    label = np.concatenate([label, *[label[trained]] * copies])
    rows = shots + _QUERY
    trained_ways = min(train_ways or ways, len(train))
    return few_shot_population(
        x,
        label,
        train=Tasks(train, numbers.train, trained_ways, train_rows),
        calibration=Tasks(characters.calibration, numbers.calibration, ways, rows),
        heldout=Tasks(characters.heldout, numbers.heldout, ways, rows),
        spec=Spec.classification(x.shape[1:], max(ways, trained_ways)),
        seed=seed,
    )


def omniglot(
    *,
    seed: int,
    rounds: int | None = None,
    cohort: int | None = None,
    data: Path | None = None,
    ways: int = 5,
    shots: Sequence[int] = (1, 5),
    rotations: bool = True,
    copies: int = 4,
    heldout: Sequence[str] | None = None,
    episodes: int | None = None,
    numbers: Numbers = _NUMBERS,
) -> Experiment:
    """Build the experiment. Its own learner is `prototypical_networks`; each learner trains by a recipe of its own.

    Args:
        seed: determines tasks, first parameters, cohorts and episodes.
        rounds: number of rounds; None for the learner's recipe (`recipes`).
        cohort: tasks of a round; None for the learner's recipe.
        data: the folder with the official archives, see `read_drawings`.
        ways: characters of a task.
        shots: numbers of examples of each character to evaluate at.
        rotations: see `character_tasks`.
        copies: see `character_tasks`.
        heldout: see `character_tasks`.
        episodes: number of held-out tasks; None for that in `numbers`.
        numbers: of tasks; see `character_tasks`.

    Raises:
        DataError: no data are given or can be read, or a number is out of range.
        UnknownNameError: no such alphabet.
    """
    if data is None:
        raise DataError("omniglot has no data of its own: give the folder with the official archives, by --data DIR")
    ways, shots = whole_number("ways", ways, 2), sorted({whole_number("shots", each, 1) for each in shots})
    if not shots:
        raise DataError("shots is empty: expected at least one number of examples of each character")
    if episodes is not None:
        numbers = numbers._replace(heldout=whole_number("episodes", episodes, 1))
    drawings = read_drawings(data)

    def build(name: str) -> Experiment:
        recipe = recipe_for(name)
        population = character_tasks(
            drawings,
            ways=ways,
            shots=shots[-1],
            seed=seed,
            train_ways=recipe.ways and max(ways, recipe.ways),
            train_rows=(recipe.shots or shots[-1]) + recipe.queries,
            rotations=rotations,
            copies=copies,
            heldout=heldout,
            numbers=numbers,
        )
        model = four_convolutions(population.spec.outputs, recipe.channels, recipe.shrink)
        options = {"init": "fresh", **recipe.options}
        runs = official_runs(data, population.spec) if ways >= _WAYS_OF_RUNS else None
        return Experiment(
            name="omniglot",
            population=population,
            model=model,
            learner=find_learner(name)(model, population.spec, **options),
            options=options,
            plan=_plan(recipe, population.spec.outputs, ways, shots, seed, rounds, cohort),
            classical={"nearest_pixels": nearest_pixels},
            generic=(),
            draws=1,
            further={} if runs is None else {"official one-shot runs": runs},
            engine="torch-vmap",
            rebuild=build,
        )

    return build(_OWN)


def _plan(
    recipe: Recipe, train_ways: int, ways: int, shots: Sequence[int], seed: int, rounds: int | None, cohort: int | None
) -> TrainingPlan:
    most = train_ways * (recipe.shots or shots[-1])
    return TrainingPlan(
        rounds=rounds or recipe.rounds,
        cohort=CohortPlan(cohort or recipe.cohort),
        seed=seed,
        episodes=EpisodeRule(train_ways, most, train_ways * recipe.queries),
        outer=recipe.outer,
        early_stopping=EarlyStopping(validate_every=0),  # one would cost as much as many rounds
        calibration=CalibrationPlan(ks=tuple(ways * each for each in shots), folds=0),
    )
