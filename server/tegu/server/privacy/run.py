"""The noise and the account of a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tegu.server.privacy.central import CentralPrivacy
from tegu.server.privacy.combination import people_of_a_node
from tegu.server.privacy.plan import PrivacyPlan

__all__ = ["private_run"]


def private_run(
    plan: PrivacyPlan,
    *,
    rounds: int,
    cohort: int,
    users_per_node: int,
    nodes: int | None,
    adaptive: bool,
    folder: Path | None,
    done: int,
    simulation: int | None,
) -> CentralPrivacy | None:
    """The noise and the account of a training; None where the plan has no noise on the mean.

    Args:
        plan: the settings.
        rounds: planned number of rounds.
        cohort: nodes that a round takes on average.
        users_per_node: largest number of people in a node's reply; 0 if the plan does not say it.
        nodes: of a simulation, if the plan says how many.
        adaptive: whether the clip follows the updates.
        folder: of the checkpoints; None for none.
        done: number of rounds that they hold.
        simulation: seed of a simulation in this process, which also determines the noise, and in which each user is a
            node unless `nodes` are given; None in a federation.

    Raises:
        DataError: the plan does not bound the number of people in a node's reply.
        FederationError: the folder's account cannot be used.
        MissingExtraError: dp-accounting is not installed.
    """
    if not plan.central:
        return None
    own_node = simulation is not None
    if plan.seed is None:
        plan = replace(plan, seed=simulation)
    people = people_of_a_node(users_per_node, nodes, own_node=own_node)
    return CentralPrivacy(
        plan, rounds=rounds, cohort=cohort, people=people, adaptive=adaptive, folder=folder, done=done
    )
