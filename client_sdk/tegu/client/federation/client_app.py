"""The Flower ClientApp: `tegu.client.federation.client_app:app`. The only module of the client that imports flwr.

A node finds its users and its bundle in one of two ways:

    --node-config "data='/path/users.npz' bundle='/path/init.tegu'"       a SuperNode with its own files
    run-config  partitions='/path/folder' bundle='/path/init.tegu'        a simulation: `<partition-id>.npz`

The node's configuration may also hold what the device demands of every round, such as `least-people=10`; see
`tegu.client.federation.minimums`.

A failure is told to the server as a class and a code. Its text, with values and paths, goes to this device's own log.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from flwr.app import ConfigRecord, Context, Error, Message
from flwr.clientapp import ClientApp

from tegu.client.federation.evaluation import evaluate_users
from tegu.client.federation.local_noise import local_spending, with_local_noise
from tegu.client.federation.minimums import (
    check_evaluation,
    check_training,
    check_training_reply,
    few_people_hidden,
    read_minimums,
)
from tegu.client.federation.updates import sum_of_updates
from tegu.client.runtimes.limits.run_limits import RunLimits
from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.core.bundle.file import Bundle, read_bundle
from tegu.core.calibration.assignment import is_calibration_user
from tegu.core.compression.error_feedback import pack_with_feedback
from tegu.core.data.tree import Tree, check_same_layout, digest, has_same_layout
from tegu.core.data.users import read_users
from tegu.core.errors import DataError, FederationError
from tegu.wire import (
    Reply,
    RoundConfig,
    evaluation_reply_content,
    failure_reason,
    packed_reply_content,
    read_evaluation_request,
    read_training_request,
    to_record,
    to_tree,
    training_reply_content,
)

__all__ = ["app"]

_log = logging.getLogger(__name__)
_NOISE = "tegu-local-noise"  # in the node's state
_APP_FAILED = 2  # Flower's code for a ClientApp that has raised

app = ClientApp()


def _told_as_code(answer: Callable[[Message, Context], Message]) -> Callable[[Message, Context], Message]:
    """Answers every exception with its class and its code alone."""

    @functools.wraps(answer)
    def told(message: Message, context: Context) -> Message:
        try:
            return answer(message, context)
        except Exception as error:  # whatever fails, its text stays here
            _log.exception("a round was not answered: %s", failure_reason(error))
            return Message(Error(_APP_FAILED, failure_reason(error)), reply_to=message)

    return told


@app.train()
@_told_as_code
def train(message: Message, context: Context) -> Message:
    """A training round: replies with the sum of this node's users' updates.

    Rounding errors of a packed update stay in the node's state and are added in the next round.
    """
    received, config = read_training_request(message.content)
    demanded = read_minimums(context.node_config)
    check_training(demanded, config.clip, config.calibration_share, config.local_noise)
    bundle = read_bundle(_setting(context, "bundle"))
    meta = _with_fixed(received, bundle)
    local_users = read_users(_data_path(context), bundle.manifest.spec)
    share, fold = config.calibration_share, config.fold
    training = [user for user in local_users if not is_calibration_user(config.seed, user.user, share, fold)]
    if not training:
        return Message(training_reply_content(Reply({}, 0)), reply_to=message)
    total, users, within, rows = sum_of_updates(
        OnnxRuntime(bundle.graphs, limits=RunLimits()),
        meta,
        training,
        seed=config.seed,
        round_number=config.round,
        clip_norm=config.clip,
        episodes=config.episodes,
        users_per_node=config.users_per_node,
        noise=bundle.manifest.noise,
        private=config.private,
    )
    check_training_reply(demanded, users, rows, len(local_users))
    counted = None if config.local_noise else within  # which would leave without noise
    if config.local_noise:
        total = _noised(context, total, config, received)
    if config.update_precision == "float32":
        return Message(training_reply_content(Reply(total, users, counted)), reply_to=message)
    name = f"tegu-residual-{share}-{fold}"  # one per fold: no fold may learn of the users it leaves out
    sent, residual = pack_with_feedback(total, _residual(context, name, total), config.update_precision)
    context.state[name] = to_record(residual)
    return Message(packed_reply_content(sent, users, counted), reply_to=message)


@app.evaluate()
@_told_as_code
def evaluate(message: Message, context: Context) -> Message:
    """An evaluation round: evaluates candidates on this node's users and replies with sums of metrics alone."""
    received, request = read_evaluation_request(message.content)
    demanded = read_minimums(context.node_config)
    bundle = read_bundle(_setting(context, "bundle"))
    check_evaluation(demanded, request, bundle.manifest)
    meta = _with_fixed(received, bundle)
    users = read_users(_data_path(context), bundle.manifest.spec)
    sums = evaluate_users(OnnxRuntime(bundle.graphs, limits=RunLimits()), meta, users, bundle.manifest, request)
    return Message(evaluation_reply_content(few_people_hidden(demanded, sums, len(users))), reply_to=message)


def _noised(context: Context, total: Tree, config: RoundConfig, received: Tree) -> Tree:
    """The sum with the round's local noise. What it has spent is kept in the node's state."""
    records = context.state.config_records
    question = json.dumps([*(str(field) for field in asdict(config).values()), digest(received)]).encode()
    known = dict(records[_NOISE]) if _NOISE in records else {}
    noised, state = with_local_noise(total, config.clip, config.local_noise, question, known)
    records[_NOISE] = ConfigRecord(state)
    _log.info("local noise: %s", local_spending(state))
    return noised


def _with_fixed(received: Tree, bundle: Bundle) -> Tree:
    """All parameters: those that the round sent, and the bundle's fixed ones, which no round sends.

    Raises:
        FederationError: together they do not have the layout of the bundle's parameters.
    """
    meta = {**received, **{name: bundle.meta[name] for name in bundle.manifest.fixed_parameters}}
    try:
        check_same_layout(bundle.meta, meta)
    except DataError as error:
        raise FederationError(
            f"the round's parameters are not those of this node's bundle ({error}): give server and nodes the same file"
        ) from error
    return meta


def _residual(context: Context, name: str, update: Tree) -> Tree | None:
    """The rounding error of the last update; None where there is none or the model has changed since."""
    record = context.state.array_records.get(name)
    residual = None if record is None else to_tree(record)
    return residual if residual is not None and has_same_layout(residual, update) else None


def _data_path(context: Context) -> Path:
    if "data" in context.node_config:
        return Path(str(context.node_config["data"]))
    return Path(_setting(context, "partitions")) / f"{context.node_config.get('partition-id')}.npz"


def _setting(context: Context, name: str) -> str:
    for config in (context.node_config, context.run_config):
        if config.get(name):
            return str(config[name])
    raise FederationError(f"{name} is not set: start the SuperNode with --node-config \"{name}='...'\"")
