"""The people of a device, and what a round computes over them: here user by user, with the inference runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tegu.client.federation.evaluation import evaluate_users
from tegu.client.federation.updates import SummedUpdates, sum_of_updates
from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.core.bundle.manifest import Manifest
from tegu.core.calibration.assignment import is_calibration_user
from tegu.core.calibration.evaluation_request import EvaluationRequest, MetricSums
from tegu.core.data.tree import Tree
from tegu.core.data.users import LocalUser
from tegu.wire import RoundConfig

__all__ = ["FewPeople", "People"]


class People(Protocol):
    """The people of a device. `FewPeople` computes user by user; a simulation's node has batches of them."""

    @property
    def number(self) -> int:
        """How many there are."""

    def sum_updates(self, meta: Tree, config: RoundConfig) -> SummedUpdates | None:
        """The sum of the clipped updates of those who train in the round; None if all of them calibrate.

        Raises:
            PopulationError: nobody who trains has enough rows.
            RuntimeFailure: the graphs cannot be run.
        """

    def evaluate(self, meta: Tree, request: EvaluationRequest) -> list[MetricSums]:
        """The sums over those who take part, one for each set of candidates.

        Raises:
            UnknownNameError: no such metric in this version.
            RuntimeFailure: the graphs cannot be run.
        """


class FewPeople(NamedTuple):
    """People whose rows are in memory; see `People`.

    Attributes:
        users: the people.
        runtime: runs the bundle's graphs.
        manifest: of the bundle.
    """

    users: Sequence[LocalUser]
    runtime: OnnxRuntime
    manifest: Manifest

    @property
    def number(self) -> int:
        """See `People`."""
        return len(self.users)

    def sum_updates(self, meta: Tree, config: RoundConfig) -> SummedUpdates | None:
        """See `People`."""
        share, fold = config.calibration_share, config.fold
        training = [user for user in self.users if not is_calibration_user(config.seed, user.user, share, fold)]
        if not training:
            return None
        return sum_of_updates(
            self.runtime,
            meta,
            training,
            seed=config.seed,
            round_number=config.round,
            clip_norm=config.clip,
            episodes=config.episodes,
            users_per_node=config.users_per_node,
            noise=self.manifest.noise,
            private=config.private,
        )

    def evaluate(self, meta: Tree, request: EvaluationRequest) -> list[MetricSums]:
        """See `People`."""
        return evaluate_users(self.runtime, meta, self.users, self.manifest, request)
