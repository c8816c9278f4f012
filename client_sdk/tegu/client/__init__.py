"""The device: predict, observe, adapt, and forget, without torch, flwr or onnx.

`personalizer` what an application holds; `store` the interactions, durable; `runtime` what runs the graphs
(`runtime_onnx`; `runtime_torch` is there to be imported by who has torch); `report` what an adaptation did.
"""

from tegu.client.personalizer import Personalizer
from tegu.client.report import AdaptReport
from tegu.client.runtime import Runtime
from tegu.client.runtime_onnx import OnnxRuntime
from tegu.client.store import Store

__all__ = ["AdaptReport", "OnnxRuntime", "Personalizer", "Runtime", "Store"]
