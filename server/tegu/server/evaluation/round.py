"""Evaluation rounds: nodes receive parameters and candidate knobs, and return sums of metrics."""

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
_TIMEOUT_SECONDS = 3600.0


def run_evaluation_round(
    grid: Grid, meta: ArrayRecord, request: EvaluationRequest, name: str, nodes: int = 0
) -> list[MetricSums]:
    """One evaluation round outside of Flower's round loop.

    Args:
        grid: the connected nodes.
        meta: parameters to evaluate.
        request: candidates, metric and users to evaluate with.
        name: of the round, for messages and logs.
        nodes: number of connected nodes that take part, drawn by the request's seed; 0 for all of them.

    Returns:
        The sums over all nodes, one for each set of candidates.

    Raises:
        FederationError: no node returns a usable reply.
    """
    connected = sorted(grid.get_node_ids())
    chosen = [connected[place] for place in draw_users(len(connected), nodes, request.seed, 0)]
    messages = evaluation_messages(chosen, meta, request, name)
    return sum_replies(grid.send_and_receive(messages, timeout=_TIMEOUT_SECONDS), request, name)


def evaluation_messages(
    nodes: Sequence[int], meta: ArrayRecord, request: EvaluationRequest, name: str
) -> list[Message]:
    """One message to each node. The arguments are those of `run_evaluation_round`; `nodes` are node ids."""
    content = evaluation_request_content(meta, request)
    return [Message(content, dst_node_id=node, message_type=MessageType.EVALUATE, group_id=name) for node in nodes]


def sum_replies(replies: Iterable[Message], request: EvaluationRequest, name: str) -> list[MetricSums]:
    """The sums over all nodes, one for each set of candidates. Unusable replies are logged and left out.

    Raises:
        FederationError: no reply is usable.
    """
    usable: list[list[MetricSums]] = []
    reasons: list[str] = []
    for message in sorted(replies, key=lambda reply: reply.metadata.src_node_id):
        source = message.metadata.src_node_id
        try:
            usable.append(read_evaluation_reply(message, request))
        except FederationError as error:
            reasons.append(f"node {source}: {error}")
            _log.warning("%s: a reply is left out: %s", name, reasons[-1])
    if not usable:
        raise FederationError(f"{name} has no usable reply: {'; '.join(reasons) or 'no node replied in time'}")
    return add_sums(usable)
