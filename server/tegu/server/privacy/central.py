"""Central differential privacy: noise on a round's sum before the outer step, and rounds as far as epsilon allows.

McMahan et al. 2018, arXiv:1710.06963, with Poisson sampling of nodes and a divisor that is known beforehand.

An adaptive clip follows Andrew et al. 2021, arXiv:1905.03871. The number of users within the clip gets noise of its
own, and the noise of the sum is a little larger, so that both together have the noise multiplier that is counted.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import NamedTuple

from tegu.core.data.tree import Tree, add, scale, zeros_like
from tegu.core.notes import note
from tegu.core.privacy.noise import Normal, add_noise, normal_of_seed, system_normal
from tegu.core.sampling.keyed_random import keyed_rng
from tegu.server.privacy.account import Account, read_account, write_account
from tegu.server.privacy.accountant import Accountant, Spent, noise_for
from tegu.server.privacy.plan import PrivacyPlan
from tegu.server.replies.adaptive_clip import QUANTILE, RATE
from tegu.wire import Reply

__all__ = ["CentralPrivacy", "Released"]

_PEOPLE_PER_DEVIATION = 20  # of the noise on the number within the clip, as in the paper


class Released(NamedTuple):
    """What a round releases.

    Attributes:
        direction: the noised mean update.
        clip: of the next round.
    """

    direction: Tree
    clip: float


class CentralPrivacy:
    """Draws who takes part, adds the noise, and keeps the account of a run.

    Args:
        plan: the settings, with `central`.
        rounds: planned number of rounds.
        cohort: nodes that a round takes on average.
        people: largest number of people in a node's reply.
        adaptive: whether the clip follows the updates.
        folder: of the checkpoints, where the account is kept; None keeps it in memory.
        done: number of rounds that a resumed run has already run.

    Raises:
        FederationError: the folder's account cannot be used.
        MissingExtraError: dp-accounting is not installed.
    """

    def __init__(
        self,
        plan: PrivacyPlan,
        *,
        rounds: int,
        cohort: int,
        people: int,
        adaptive: bool,
        folder: Path | None = None,
        done: int = 0,
    ) -> None:
        self._plan, self._rounds, self._size = plan, rounds, cohort
        self._people, self._adaptive, self._folder = people, adaptive, folder
        known = Account() if folder is None else read_account(folder, done)
        if not done and plan.seed is not None:
            known = Account()  # the same noise as before: nothing new is released
        self._accountant, self._last = Accountant(plan.delta, known.spent), known.last
        self._noise = known.noise if done else None
        self._probability, self._expected, self._ended = 1.0, 0.0, False

    def __repr__(self) -> str:
        return f"CentralPrivacy({self._plan}, after {self._last} rounds)"

    @property
    def plan(self) -> PrivacyPlan:
        """The settings."""
        return self._plan

    @property
    def ended(self) -> bool:
        """Whether another round would exceed the epsilon."""
        return self._ended

    @property
    def noise(self) -> float | None:
        """The noise multiplier; None before the first round."""
        return self._noise

    @property
    def epsilon(self) -> float:
        """What the rounds so far have spent."""
        return self._accountant.epsilon()

    @property
    def spent(self) -> tuple[Spent, ...]:
        """The rounds so far, by kind."""
        return self._accountant.spent

    def first_clip(self, clip: float) -> float:
        """The clip of the first round: the given one if it is finite."""
        return clip if math.isfinite(clip) else self._plan.first_clip

    def cohort(self, nodes: Sequence[int], number: int) -> list[int]:
        """The nodes that take part in a round: each with the same probability, on its own. Perhaps none.

        Once another round would exceed the epsilon, there are none and `ended` is true.

        Args:
            nodes: ids of the connected nodes. Who is connected is not protected.
            number: of the round, from 1.
        """
        self._probability = min(1.0, self._size / len(nodes))
        self._expected = self._probability * len(nodes) * self._people
        next_round = Spent(self._probability, self._multiplier(), 1)
        limit = self._plan.epsilon
        if limit is not None and not self._is_repeated(number) and self._accountant.epsilon(next_round) > limit:
            self._ended = True
            note(f"training ends before round {number}: it would exceed epsilon {limit:g}")
            return []
        draw = self._uniform(number)
        return [node for node in nodes if draw() < self._probability]

    def release(self, replies: Sequence[Reply], like: Tree, clip: float, number: int) -> Released:
        """The noised mean update of a round, and the next clip. The account is written first.

        Args:
            replies: with users, each of a norm of at most its users times the clip. Perhaps none.
            like: a tree with the layout of the updates.
            clip: that the round has asked for.
            number: of the round, from 1.
        """
        self._spend(number)
        total = reduce(add, [reply.update for reply in replies], zeros_like(like))
        sum_noise, count_noise = self._shares()
        normal = self._normal(number)
        noised = scale(add_noise(total, sum_noise * clip, normal), 1 / self._expected)
        if not self._adaptive:
            return Released(noised, clip)
        over = sum((reply.within or 0) - reply.users / 2 for reply in replies)
        share = 0.5 + (over + count_noise * float(normal(1)[0])) / self._expected
        return Released(noised, clip * math.exp(-RATE * (min(max(share, 0.0), 1.0) - QUANTILE)))

    def _multiplier(self) -> float:
        if self._noise is None:
            plan = self._plan
            found = plan.noise
            if found is None and plan.epsilon is not None:
                found = noise_for(plan.epsilon, plan.delta, self._probability, self._rounds)
            self._noise = float(found or 0.0)
        return self._noise

    def _shares(self) -> tuple[float, float]:
        """The noise of the sum in clips, and of the number within the clip in people: together the multiplier.

        A person changes the number, less half of the users, by a half.
        """
        whole = self._multiplier()
        if not self._adaptive:
            return whole, 0.0
        count = max(self._expected / _PEOPLE_PER_DEVIATION, whole)
        return (whole**-2 - (2 * count) ** -2) ** -0.5, count

    def _is_repeated(self, number: int) -> bool:
        """Whether the round was released before, with the same noise."""
        return self._plan.seed is not None and number <= self._last

    def _spend(self, number: int) -> None:
        if self._is_repeated(number):
            return
        self._accountant.add(Spent(self._probability, self._multiplier(), 1))
        self._last = max(self._last, number)
        if self._folder is not None:
            write_account(self._folder, Account(self._noise, self._last, self._accountant.spent))

    def _normal(self, number: int) -> Normal:
        seed = self._plan.seed
        return system_normal if seed is None else normal_of_seed(seed, number)

    def _uniform(self, number: int) -> Callable[[], float]:
        """Draws from 0 to 1. Devices know a run's seed, and must not know from it who takes part."""
        seed = self._plan.seed
        return secrets.SystemRandom().random if seed is None else keyed_rng("private cohort", seed, number).random
