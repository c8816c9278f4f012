"""The figures of every round, for the programs that people watch runs with: TensorBoard and MLflow.

Both get the same scalars, by the number of the round. A run that is resumed goes on in the same curves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from tegu.core.errors import FederationError, require
from tegu.core.files import atomic_write
from tegu.server.serving.server import Server
from tegu.server.training.journal import Event

__all__ = ["Track", "figures_of", "tracking"]

Track: TypeAlias = Callable[[Event], None]
Write: TypeAlias = Callable[[Mapping[str, float], int], None]
"""(scalars by name, number of the round)"""

_MLFLOW_RUN = "mlflow-run"  # file with the id of MLflow's run, so that a restarted server goes on in it


def figures_of(event: Event) -> dict[str, float]:
    """The scalars of an event: those of a round, and none of another event.

    Args:
        event: of `tegu.server.training.journal`.
    """
    if event["event"] != "round":
        return {}
    own = {name: event[name] for name in ("users", "seconds", "epsilon") if event.get(name) is not None}
    counts = {name: len(event[name]) for name in ("nodes", "failed", "refused", "late")}
    return {name: float(value) for name, value in {**own, **counts, **_validation(event)}.items()}


def _validation(event: Event) -> dict[str, Any]:
    found: Mapping[str, Any] = event.get("validation") or {}
    return {name: found[name] for name in ("initialisation", "personalised") if found.get(name) is not None}


@contextmanager
def tracking(server: Server, say: Callable[[str], None]) -> Iterator[Track]:
    """What tells the programs that the server's file names about each event; nothing happens if it names none.

    A round whose figures cannot be written is said to be missing there. The run goes on.

    Args:
        server: of `prepare_server`.
        say: told what is missing.

    Raises:
        MissingExtraError: a program is named and is not installed.
        FederationError: MLflow does not take the run.
    """
    with ExitStack() as stack:
        found: dict[str, Write] = {}
        if server.tensorboard is not None:
            found["TensorBoard"] = stack.enter_context(_tensorboard(server.tensorboard))
        if server.mlflow:
            found["MLflow"] = stack.enter_context(_mlflow(server.mlflow, server.state))

        def track(event: Event) -> None:
            fold = f"without fold {event['fold']}/" if event.get("fold") else ""
            scalars = {f"{fold}{name}": value for name, value in figures_of(event).items()}
            for name, write in found.items() if scalars else ():
                try:
                    write(scalars, int(event["round"]))
                except Exception as error:  # their exceptions have no common base class
                    say(f"{name} lacks round {event['round']}: {error}")

        yield track


@contextmanager
def _tensorboard(folder: Path) -> Iterator[Write]:
    require("tensorboard", "tracking")
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 # needs tensorboard

    writer = SummaryWriter(str(folder), flush_secs=10)

    def write(scalars: Mapping[str, float], step: int) -> None:
        for name, value in scalars.items():
            writer.add_scalar(name, value, step)

    try:
        yield write
    finally:
        writer.close()


@contextmanager
def _mlflow(address: str, state: Path) -> Iterator[Write]:
    mlflow, kept = require("mlflow", "tracking"), state / _MLFLOW_RUN
    try:
        client = mlflow.MlflowClient(tracking_uri=address)
        if not kept.exists():
            atomic_write(kept, client.create_run(_experiment(client)).info.run_id.encode())
        run = kept.read_text("ascii")
        client.update_run(run, "RUNNING")
    except Exception as error:  # MLflow's exceptions, and those of the libraries below it
        raise FederationError(
            f"MLflow at {address} does not take the run ({error}): correct [run] mlflow, or delete {kept}"
        ) from error

    def write(scalars: Mapping[str, float], step: int) -> None:
        for name, value in scalars.items():
            client.log_metric(run, name, value, step=step)

    yield write
    client.set_terminated(run)


def _experiment(client: Any) -> str:
    """MLflow's experiment for all federations."""
    found = client.get_experiment_by_name("tegu")
    return str(found.experiment_id if found else client.create_experiment("tegu"))
