"""The Flower ClientApp: `tegu.client.federation.client_app:app`.

A node finds its users and its bundle in one of two ways:

    --node-config "data='/path/users.npz' bundle='/path/init.tegu'"       a SuperNode with its own files
    run-config  partitions='/path/folder' bundle='/path/init.tegu'        a simulation: `<partition-id>.npz`

The node's configuration may also hold what the device demands of every round, such as `least-people=10`; see
`tegu.client.federation.minimums`. Three more settings are for a device whose graphs are older than the round's:

    bundle-source='/path/bundles'     folder or HTTPS address with newer bundles, `<sha256>.tegu`
    bundle-cache='/path/fetched'      folder of this node for what it has fetched
    public-key='a1b2...'              Ed25519 key in hexadecimal that must have signed them
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from tegu.client.federation.answers import Device, answer_evaluation, answer_training, content_or_reason
from tegu.client.federation.minimums import read_minimums
from tegu.client.federation.people import FewPeople
from tegu.client.federation.versions import BundlePlace, OtherVersionError, fetch_bundle
from tegu.client.runtimes.limits.run_limits import RunLimits
from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.core.bundle.file import read_bundle
from tegu.core.bundle.version import version_of
from tegu.core.data.users import read_users
from tegu.core.errors import FederationError
from tegu.wire import read_version

__all__ = ["app", "data_path", "reply_to", "setting"]

_APP_FAILED = 2  # Flower's code for a ClientApp that has raised

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """A training round: replies with the sum of this node's users' updates.

    Rounding errors of a packed update stay in the node's state and are added in the next round.
    """
    return reply_to(message, lambda: answer_training(message.content, _device(context, message.content), context.state))


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """An evaluation round: evaluates candidates on this node's users and replies with sums of metrics alone."""
    return reply_to(message, lambda: answer_evaluation(message.content, _device(context, message.content)))


def reply_to(message: Message, compute: Callable[[], RecordDict]) -> Message:
    """The reply with the content that is computed or, whatever fails, with the error's class and code alone."""
    found = content_or_reason(compute)
    if isinstance(found, str):
        return Message(Error(_APP_FAILED, found), reply_to=message)
    return Message(found, reply_to=message)


def _device(context: Context, content: RecordDict) -> Device:
    minimums = read_minimums(context.node_config)
    bundle = read_bundle(setting(context, "bundle"))
    own, wanted = version_of(bundle), read_version(content)
    if wanted is not None and wanted.digest != own:
        newer = fetch_bundle(wanted, _place(context))
        if (newer.manifest.spec, newer.manifest.encoding) != (bundle.manifest.spec, bundle.manifest.encoding):
            raise OtherVersionError(wanted, "its rows are not those of this node's bundle: write the node's rows anew")
        bundle, own = newer, wanted.digest
    users = read_users(data_path(context), bundle.manifest.spec)
    people = FewPeople(users, OnnxRuntime(bundle.graphs, limits=RunLimits()), bundle.manifest)
    return Device(bundle, own, people, minimums)


def _place(context: Context) -> BundlePlace | None:
    """Where newer bundles are. Nothing of it comes from the run's configuration."""
    said = {name: str(context.node_config.get(name, "")) for name in ("bundle-source", "bundle-cache", "public-key")}
    if not said["bundle-source"]:
        return None
    try:
        key = bytes.fromhex(said["public-key"]) or None
    except ValueError as error:
        raise FederationError("public-key is not hexadecimal: write the 64 digits of tegu keygen") from error
    return BundlePlace(said["bundle-source"], Path(said["bundle-cache"]) if said["bundle-cache"] else None, key)


def data_path(context: Context, suffix: str = ".npz") -> Path:
    """Where the rows of a node's users are: its `data`, or its own part of the run's `partitions`.

    Raises:
        FederationError: neither is set.
    """
    if "data" in context.node_config:
        return Path(str(context.node_config["data"]))
    return Path(setting(context, "partitions")) / f"{context.node_config.get('partition-id')}{suffix}"


def setting(context: Context, name: str) -> str:
    """A setting of the node or else of the run.

    Raises:
        FederationError: it is not set.
    """
    for config in (context.node_config, context.run_config):
        if config.get(name):
            return str(config[name])
    raise FederationError(f"{name} is not set: start the SuperNode with --node-config \"{name}='...'\"")
