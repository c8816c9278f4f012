"""Evaluation rounds: questions go out with the parameters, and metrics alone come back."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from flwr.app import ArrayRecord, Message, MessageType
from flwr.serverapp import Grid

from tegu.core.calibration.evaluation_request import EvaluationRequest, MetricSums, add_sums
from tegu.core.errors import FederationError
from tegu.core.sampling.episode import draw_users
from tegu.wire import evaluation_request_content, read_evaluation_reply

__all__ = ["evaluation_messages", "run_evaluation_round", "sum_replies"]

_log = logging.getLogger(__name__)
_TIMEOUT = 3600.0


def run_evaluation_round(
    grid: Grid, meta: ArrayRecord, inquiry: EvaluationRequest, name: str, nodes: int = 0
) -> list[MetricSums]:
    """One evaluation round out of turn.

    Args:
        grid: the nodes.
        meta: parameters to be tried.
        inquiry: what is asked.
        name: of the round, for messages and logs.
        nodes: how many connected nodes are asked, the same ones for one seed; 0 for all of them.

    Raises:
        FederationError: no node has answered.
    """
    connected = sorted(grid.get_node_ids())
    chosen = [connected[place] for place in draw_users(len(connected), nodes, inquiry.seed, 0)]
    messages = evaluation_messages(chosen, meta, inquiry, name)
    return sum_replies(grid.send_and_receive(messages, timeout=_TIMEOUT), inquiry, name)


def evaluation_messages(
    nodes: Sequence[int], meta: ArrayRecord, inquiry: EvaluationRequest, name: str
) -> list[Message]:
    """One message to each of the nodes; arguments as `run_evaluation_round`."""
    content = evaluation_request_content(meta, inquiry)
    return [Message(content, dst_node_id=node, message_type=MessageType.EVALUATE, group_id=name) for node in nodes]


def sum_replies(replies: Iterable[Message], inquiry: EvaluationRequest, name: str) -> list[MetricSums]:
    """The answers of all nodes together, question by question; a reply that cannot be used is left out.

    Raises:
        FederationError: none can be used.
    """
    good: list[list[MetricSums]] = []
    reasons: list[str] = []
    for message in sorted(replies, key=lambda reply: reply.metadata.src_node_id):
        source = message.metadata.src_node_id
        try:
            good.append(read_evaluation_reply(message, inquiry))
        except FederationError as error:
            reasons.append(f"node {source}: {error}")
            _log.warning("%s: an answer is left out: %s", name, reasons[-1])
    if not good:
        raise FederationError(f"{name} has no usable answer: {'; '.join(reasons) or 'nobody answered in time'}")
    return add_sums(good)
