"""Training replies node by node, as in a federation: for rules that look at each reply, and for attacks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flwr.app import Message

from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree, add, clip, norm
from tegu.core.sampling.episode import draw_users
from tegu.sim.attacks.attack import Attack, false_update, false_users, with_false_labels
from tegu.sim.data.cohort import draw_cohort
from tegu.sim.data.population import Population
from tegu.sim.engine import Engine
from tegu.sim.engine.each_update import each_update
from tegu.sim.federation.grid import MessageHandler, noised_as_devices, partitions
from tegu.wire import Reply, RoundConfig, read_training_request, training_reply_content

__all__ = ["answer_separately"]


def answer_separately(
    engine: Engine, population: Population, nodes: int, evaluate: MessageHandler, fixed: Tree, attack: Attack | None
) -> MessageHandler:
    """A function that answers each training message with a reply of its own.

    Args:
        engine: runs the learner.
        population: the training users, dealt out to the nodes.
        nodes: number of nodes.
        evaluate: answers the messages of evaluation rounds.
        fixed: the learner's fixed parameters, which requests leave out.
        attack: what false users do; None if all are honest. A false user clips nothing, and says that it did.

    Raises:
        DataError: as `with_false_labels`.
    """
    dealt, rows, false = partitions(population, nodes), population, np.zeros(len(population), bool)
    if attack is not None:
        false = false_users(population, attack)
        rows = with_false_labels(population, false) if attack.name == "labelflip" else population

    def answer(messages: Sequence[Message]) -> list[Message]:
        if messages[0].metadata.message_type != "train":
            return evaluate(messages)
        received, config = read_training_request(messages[0].content)
        chosen = [_chosen(dealt[message.metadata.dst_node_id - 1], config) for message in messages]
        cohort = draw_cohort(rows, np.concatenate(chosen), config.episodes, config.seed, config.round)
        found = dict(zip(cohort.users.tolist(), each_update(engine, {**received, **fixed}, cohort), strict=True))
        return [
            Message(
                training_reply_content(node_reply(users, found, config, message.metadata.dst_node_id)), reply_to=message
            )
            for users, message in zip(chosen, messages, strict=True)
        ]

    def node_reply(users: Array, found: dict[int, Tree], config: RoundConfig, node: int) -> Reply:
        total, within, own = None, 0, [user for user in users.tolist() if user in found]
        for user in own:
            update = found[user]
            if attack is not None and false[user]:
                sent, within = (
                    false_update(clip(update, config.clip), attack, config.seed, config.round, user),
                    within + 1,
                )
            else:
                sent, within = clip(update, config.clip), within + (norm(update) <= config.clip)
            total = sent if total is None else add(total, sent)
        sent_total = noised_as_devices(total, config, [node]) if total else {}
        return Reply(sent_total, len(own), within)

    return answer


def _chosen(users: Array, config: RoundConfig) -> Array:
    return users[draw_users(len(users), config.users_per_node, config.seed, config.round)]
