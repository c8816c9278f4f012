"""Who Tegu is compared with, and what has to be installed for it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEVICE", "SIMULATION", "Peer"]


@dataclass(frozen=True)
class Peer:
    """A side other than Tegu.

    Attributes:
        name: as in the rows of `tegu bench --json`.
        module: its side, see `tegu.bench.peers`.
        needs: the module that shows whether it is installed.
        works: what it can do.
        requirements: what pip installs into an environment of its own where `needs` is not found here.
        extra: the extra of tegu that brings it; empty where none can, because versions clash.
        one_process: whether its memory is that of one process.
    """

    name: str
    module: str
    needs: str
    works: tuple[str, ...]
    requirements: tuple[str, ...] = ()
    extra: str = "bench"
    one_process: bool = True


SIMULATION = (
    Peer("pfl", "tegu.bench.peers.pfl_simulate", "pfl", ("W1", "W2", "W3", "W4"), ("pfl==0.6.0",)),
    Peer("flower-ray", "tegu.bench.peers.flower_ray", "ray", ("W1",), extra="sim", one_process=False),
    Peer("jax-vmap", "tegu.bench.peers.jax_vmap", "jax", ("W1",), ("jax==0.10.2",)),
)
DEVICE = (
    Peer(
        *("ort-training", "tegu.bench.peers.ort_training", "onnxruntime.training.api", ("mlp", "cnn")),
        requirements=("onnxruntime-training==1.19.2", "numpy<2"),
        extra="",
    ),
    Peer("torch", "tegu.bench.peers.torch_device", "torch", ("mlp", "cnn"), extra="torch"),
)
