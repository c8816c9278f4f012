"""The device: predict, observe, adapt, and forget, without torch, flwr or onnx.

`personalizer` what an application holds; `store` the interactions, durable; `runtime` what runs the graphs
(`runtime_onnx`; `runtime_torch` is there to be imported by who has torch); `report` what an adaptation did.

A name is imported when it is first asked for, and ONNX Runtime when a graph is first run: a process that starts pays
for what it uses.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tegu.client.adaptation.report import AdaptReport
    from tegu.client.personalizer import Personalizer
    from tegu.client.runtimes.onnx_runtime import OnnxRuntime
    from tegu.client.runtimes.runtime import Runtime
    from tegu.client.store.store import Store
else:  # type checkers see the imports above alone, and so do not take a misspelt name for one of these

    def __getattr__(name: str) -> object:
        import importlib  # noqa: PLC0415 # not to be an attribute of this package

        homes = {
            "AdaptReport": "adaptation.report",
            "OnnxRuntime": "runtimes.onnx_runtime",
            "Personalizer": "personalizer",
            "Runtime": "runtimes.runtime",
            "Store": "store.store",
        }
        if name not in homes:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value = getattr(importlib.import_module(f"{__name__}.{homes[name]}"), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = ["AdaptReport", "OnnxRuntime", "Personalizer", "Runtime", "Store"]
