"""The settings of differential privacy."""

from __future__ import annotations

from dataclasses import dataclass

from tegu.core.errors import DataError
from tegu.core.scalars import real_number, whole_number

__all__ = ["PrivacyPlan"]


@dataclass(frozen=True)
class PrivacyPlan:
    """How a training protects each person, against all who see what it releases.

    Without `epsilon` and `noise` the server adds no noise. See docs/concepts/privacy.md for what is protected.

    Attributes:
        epsilon: the largest epsilon of a run, above 0. Training stops before it is exceeded. None for no limit.
        delta: of the guarantee, from above 0 to below 1. It should be below 1 / number of people.
        noise: noise multiplier: the standard deviation of the noise on a round's sum, divided by the clip. None takes
            the least with which the planned rounds keep `epsilon`.
        local_noise: noise multiplier of each reply: the device adds noise to its own sum before it sends it. 0 for
            none.
        first_clip: where an adaptive clip begins, a norm above 0.
        seed: determines the noise and who takes part. None means the plan's seed in a simulation; in a federation the
            operating system's randomness, which nobody can know.

    Raises:
        DataError: a number out of range.
    """

    epsilon: float | None = None
    delta: float = 1e-5
    noise: float | None = None
    local_noise: float = 0.0
    first_clip: float = 0.1
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("epsilon", "noise", "delta", "local_noise", "first_clip"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, real_number(name, value, 0))
        if self.seed is not None:
            object.__setattr__(self, "seed", whole_number("seed of the noise", self.seed))
        for name in ("epsilon", "noise", "first_clip"):
            if (value := getattr(self, name)) is not None and not 0 < value < float("inf"):
                raise DataError(f"{name} is {value}: expected a finite number above 0")
        if not 0 < self.delta < 1:
            raise DataError(f"delta is {self.delta}: expected from above 0 to below 1, such as 1e-5")
        if not self.local_noise < float("inf"):
            raise DataError(f"local_noise is {self.local_noise}: expected a finite noise multiplier, or 0 for none")

    @property
    def central(self) -> bool:
        """Whether the server adds noise."""
        return self.epsilon is not None or self.noise is not None

    @property
    def is_on(self) -> bool:
        """Whether anybody adds noise."""
        return self.central or self.local_noise > 0
