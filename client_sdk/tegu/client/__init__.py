"""The device: predict, observe, adapt and forget, without torch, flwr or onnx.

personalizer  the object that an application uses
adaptation    adapting to one user within a time budget, and the report of it
store         the user's interactions and personal state in one SQLite file
runtimes      what runs a bundle's graphs: ONNX Runtime, or torch (`runtimes.torch_runtime`)
federation    the Flower ClientApp: training and evaluation rounds

Names are imported on first use, and ONNX Runtime when a graph is first run. A process loads only what it needs.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tegu.client.adaptation.report import AdaptReport
    from tegu.client.personalizer import Personalizer
    from tegu.client.runtimes.onnx_runtime import OnnxRuntime
    from tegu.client.runtimes.runtime import Runtime
    from tegu.client.store.store import Store
else:  # hidden from type checkers, which would otherwise accept misspelt names

    def __getattr__(name: str) -> object:
        import importlib  # noqa: PLC0415 # must not become an attribute of this package

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
