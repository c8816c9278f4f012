"""Adapt many users, predict for them, and sum their updates.

engine          divides a cohort into batches and runs them on every core
batches         batches of users of similar sizes, gathered from a cohort
blocks          the blocks of users whose updates are summed first
sum_blocks      the sum of all blocks
footprint       the bytes that a user's update takes
encoded_rows    rows that are encoded once for many trials
predictions     predictions after adapting each user, as evaluation needs them
backend         the protocol of what runs a batch of users
onnx_batched    backend: a batch as one call of a graph
onnx_looped     backend: the device's own graphs, user by user
in_torch        backends: the learner's functions in torch, batched or user by user
one_by_one      what the backends share that run user by user
stored          an engine in a file
choose          an engine by name, or the fastest

Names are imported on first use: a node that reads an engine from a file needs neither torch nor the compiler.
"""

from typing import TYPE_CHECKING

from tegu.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tegu.sim.engine.choose import EngineKind, check_engine, engine_like, fastest, make_engine
    from tegu.sim.engine.engine import MEMORY, Engine
else:  # hidden from type checkers, which would otherwise accept misspelt names
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "MEMORY": "engine",
            "Engine": "engine",
            "EngineKind": "choose",
            "check_engine": "choose",
            "engine_like": "choose",
            "fastest": "choose",
            "make_engine": "choose",
        },
        extra="sim",
    )

__all__ = ["MEMORY", "Engine", "EngineKind", "check_engine", "engine_like", "fastest", "make_engine"]
