"""Many users at once: adapt, predict and sum updates.

engine        a cohort cut into batches, worked on by every core      footprint    what a user's update takes
backend       what runs a batch of users: `onnx_batched`, `onnx_looped`, `in_torch` (batched or `one_by_one`)
choose        an engine by name, or the fastest
"""

from tegu.sim.engine.choose import EngineKind, check_engine, engine_like, fastest, make_engine
from tegu.sim.engine.engine import MEMORY, Engine

__all__ = ["MEMORY", "Engine", "EngineKind", "check_engine", "engine_like", "fastest", "make_engine"]
