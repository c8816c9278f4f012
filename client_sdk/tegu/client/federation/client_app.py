"""The Flower ClientApp: `tegu.client.federation.client_app:app`. The one module of the client that imports flwr.

Where a node finds its users and its bundle:

    --node-config "data='/path/users.npz' bundle='/path/init.tegu'"       a SuperNode with its own files
    run-config  partitions='/path/folder' bundle='/path/init.tegu'        a simulation: `<partition-id>.npz`
"""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from tegu.client.federation.evaluation import answers_of
from tegu.client.federation.updates import sum_of_updates
from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.core.bundle.file import read_bundle
from tegu.core.calibration.assignment import calibrates
from tegu.core.compression.error_feedback import compensated
from tegu.core.data.tree import Tree, is_like
from tegu.core.data.users import read_users
from tegu.core.errors import FederationError
from tegu.wire import (
    Reply,
    answers_content,
    packed_content,
    read_inquiry,
    read_request,
    reply_content,
    to_record,
    to_tree,
)

__all__ = ["app"]

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """One round: this node's users' updates, summed; rounding errors wait in the node's memory for the next round."""
    meta, config = read_request(message.content)
    bundle = read_bundle(_setting(context, "bundle"))
    everybody = read_users(_data(context), bundle.manifest.spec)
    training = [user for user in everybody if not calibrates(config.seed, user.user, config.share, config.fold)]
    if not training:
        return Message(reply_content(Reply({}, 0)), reply_to=message)
    total, users = sum_of_updates(
        OnnxRuntime(bundle.graphs),
        meta,
        training,
        seed=config.seed,
        round_number=config.round,
        limit=config.clip,
        rule=config.rule,
        asked=config.users,
    )
    if config.updates == "float32":
        return Message(reply_content(Reply(total, users)), reply_to=message)
    own = f"tegu-residual-{config.share}-{config.fold}"  # of this training: what others leave out may not reach it
    sent, residual = compensated(total, _residual(context, own, total), config.updates)
    context.state[own] = to_record(residual)
    return Message(packed_content(sent, users), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """One evaluation round: ways to adapt are tried on this node's users; metrics alone are sent."""
    meta, inquiry = read_inquiry(message.content)
    bundle = read_bundle(_setting(context, "bundle"))
    users = read_users(_data(context), bundle.manifest.spec)
    found = answers_of(OnnxRuntime(bundle.graphs), meta, users, bundle.manifest.spec, inquiry)
    return Message(answers_content(found), reply_to=message)


def _residual(context: Context, name: str, update: Tree) -> Tree | None:
    """What rounding took from the update before, unless the model has changed since."""
    record = context.state.array_records.get(name)
    residual = None if record is None else to_tree(record)
    return residual if residual is not None and is_like(residual, update) else None


def _data(context: Context) -> Path:
    if "data" in context.node_config:
        return Path(str(context.node_config["data"]))
    return Path(_setting(context, "partitions")) / f"{context.node_config.get('partition-id')}.npz"


def _setting(context: Context, name: str) -> str:
    for config in (context.node_config, context.run_config):
        if config.get(name):
            return str(config[name])
    raise FederationError(f"{name} is not set: start the SuperNode with --node-config \"{name}='...'\"")
