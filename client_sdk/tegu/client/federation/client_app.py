"""The Flower ClientApp: `tegu.client.federation.client_app:app`.

A node finds its users and its bundle in one of two ways:

    --node-config "data='/path/users.npz' bundle='/path/init.tegu'"       a SuperNode with its own files
    run-config  partitions='/path/folder' bundle='/path/init.tegu'        a simulation: `<partition-id>.npz`

The node's configuration may also hold what the device demands of every round, such as `least-people=10`; see
`tegu.client.federation.minimums`.
"""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from tegu.client.federation.answers import Device, answer, answer_evaluation, answer_training
from tegu.client.federation.minimums import read_minimums
from tegu.client.runtimes.limits.run_limits import RunLimits
from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.core.bundle.file import read_bundle
from tegu.core.data.users import read_users
from tegu.core.errors import FederationError

__all__ = ["app"]

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """A training round: replies with the sum of this node's users' updates.

    Rounding errors of a packed update stay in the node's state and are added in the next round.
    """

    def compute(content: RecordDict) -> RecordDict:
        return answer_training(content, _device(context), context.state)

    return answer(message, compute)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """An evaluation round: evaluates candidates on this node's users and replies with sums of metrics alone."""
    return answer(message, lambda content: answer_evaluation(content, _device(context)))


def _device(context: Context) -> Device:
    minimums = read_minimums(context.node_config)
    bundle = read_bundle(_setting(context, "bundle"))
    users = read_users(_data_path(context), bundle.manifest.spec)
    return Device(bundle, OnnxRuntime(bundle.graphs, limits=RunLimits()), users, minimums)


def _data_path(context: Context) -> Path:
    if "data" in context.node_config:
        return Path(str(context.node_config["data"]))
    return Path(_setting(context, "partitions")) / f"{context.node_config.get('partition-id')}.npz"


def _setting(context: Context, name: str) -> str:
    for config in (context.node_config, context.run_config):
        if config.get(name):
            return str(config[name])
    raise FederationError(f"{name} is not set: start the SuperNode with --node-config \"{name}='...'\"")
