"""Evaluation rounds: nodes receive parameters and candidate knobs, and return sums of metrics."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence

from flwr.app import ArrayRecord, Message, MessageType
from flwr.serverapp import Grid

from tegu.core.calibration.evaluation_request import EvaluationRequest, MetricSums
from tegu.core.errors import FederationError
from tegu.core.sampling.episode import draw_users
from tegu.server.replies.aggregation import Rule
from tegu.server.replies.combine import combine_answers
from tegu.server.replies.evaluation import checked_answers
from tegu.server.replies.refusal import Refusal
from tegu.server.replies.training import Asked, read_all
from tegu.wire import evaluation_request_content

__all__ = ["evaluation_messages", "run_evaluation_round", "sum_replies"]

_log = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 3600.0
_MEAN = Rule()


def run_evaluation_round(
    grid: Grid,
    meta: ArrayRecord,
    request: EvaluationRequest,
    name: str,
    nodes: int = 0,
    refused: list[Refusal] | None = None,
    rule: Rule = _MEAN,
) -> list[MetricSums]:
    """One evaluation round outside of Flower's round loop.

    Args:
        grid: the connected nodes.
        meta: parameters to evaluate.
        request: candidates, metric and users to evaluate with.
        name: of the round, for messages and logs.
        nodes: number of connected nodes that take part, drawn by the request's seed; 0 for all of them.
        refused: receives the replies that are left out.
        rule: how the nodes' answers become one.

    Returns:
        The answers of all nodes together (`tegu.server.replies.combine`), one for each set of candidates.

    Raises:
        FederationError: no node returns a usable reply.
    """
    connected = sorted(grid.get_node_ids())
    chosen = [connected[place] for place in draw_users(len(connected), nodes, request.seed, 0)]
    messages = evaluation_messages(chosen, meta, request, name)
    replies = grid.send_and_receive(messages, timeout=_TIMEOUT_SECONDS)
    return sum_replies(replies, request, name, nodes=chosen, refused=refused, rule=rule)


def evaluation_messages(
    nodes: Sequence[int], meta: ArrayRecord, request: EvaluationRequest, name: str
) -> list[Message]:
    """One message to each node. The arguments are those of `run_evaluation_round`; `nodes` are node ids."""
    content = evaluation_request_content(meta, request)
    return [Message(content, dst_node_id=node, message_type=MessageType.EVALUATE, group_id=name) for node in nodes]


def sum_replies(
    replies: Iterable[Message],
    request: EvaluationRequest,
    name: str,
    *,
    nodes: Collection[int] | None = None,
    refused: list[Refusal] | None = None,
    rule: Rule = _MEAN,
) -> list[MetricSums]:
    """The nodes' answers together, one for each set of candidates. Unusable replies are logged and left out.

    Args:
        replies: of the round.
        request: what they answer.
        name: of the round.
        nodes: that were asked; None if nobody counts them.
        refused: receives the replies that are left out.
        rule: how the nodes' answers become one.

    Raises:
        FederationError: no reply is usable.
    """
    asked = Asked(nodes=nodes, group=name)
    usable, wrong = read_all(replies, lambda _: asked, lambda message: checked_answers(message, request))
    for each in wrong:
        _log.warning("%s: a reply is left out: %s", name, each)
    if refused is not None:
        refused.extend(wrong)
    if not usable:
        raise FederationError(f"{name} has no usable reply: {'; '.join(map(str, wrong)) or 'no node replied in time'}")
    return combine_answers(request.questions, list(usable.values()), rule)
