"""The peers that Tegu is compared with, and the packages that they need."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEVICE_PEERS", "SIMULATION_PEERS", "Peer"]


@dataclass(frozen=True)
class Peer:
    """An implementation that Tegu is compared with.

    Attributes:
        name: name of the peer, as in the rows of `tegu bench --json`.
        module: its implementation, see `tegu.bench.peers`.
        import_name: the module whose presence shows that the peer is installed.
        tasks: names of the tasks that it supports.
        requirements: packages that pip installs into an environment of its own if the peer is not installed here.
        extra: the extra of `tegu` that installs it; empty if none can, because versions conflict.
        single_process: whether one process does all its work, so that its memory can be compared.
    """

    name: str
    module: str
    import_name: str
    tasks: tuple[str, ...]
    requirements: tuple[str, ...] = ()
    extra: str = "bench"
    single_process: bool = True


SIMULATION_PEERS = (
    Peer("pfl", "tegu.bench.peers.pfl_simulate", "pfl", ("W1", "W2", "W3", "W4"), ("pfl==0.6.0",)),
    Peer("flower-ray", "tegu.bench.peers.flower_ray", "ray", ("W1",), extra="sim", single_process=False),
    Peer("jax-vmap", "tegu.bench.peers.jax_vmap", "jax", ("W1",), ("jax==0.10.2",)),
)
DEVICE_PEERS = (
    Peer(
        *("ort-training", "tegu.bench.peers.ort_training", "onnxruntime.training.api", ("mlp", "cnn")),
        requirements=("onnxruntime-training==1.19.2", "numpy<2"),
        extra="",
    ),
    Peer("torch", "tegu.bench.peers.torch_device", "torch", ("mlp", "cnn"), extra="torch"),
)
