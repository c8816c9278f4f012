"""All benchmarks by name. Each has a file of its own."""

from __future__ import annotations

from collections.abc import Callable

from tegu.bench.harness.comparison import Comparison
from tegu.bench.harness.options import BenchmarkOptions
from tegu.bench.suites.convolution import bench_convolution
from tegu.bench.suites.default import bench_default
from tegu.bench.suites.device import bench_device
from tegu.bench.suites.scale import bench_scale
from tegu.bench.suites.simulate import bench_simulate
from tegu.bench.suites.start import bench_start
from tegu.bench.suites.training import bench_training
from tegu.bench.suites.wire import bench_wire

__all__ = ["BENCHMARKS"]

BENCHMARKS: dict[str, Callable[[BenchmarkOptions], list[Comparison]]] = {
    "simulate": bench_simulate,
    "device": bench_device,
    "start": bench_start,
    "scale": bench_scale,
    "wire": bench_wire,
    "convolution": bench_convolution,
    "default": bench_default,
    "training": bench_training,
}
