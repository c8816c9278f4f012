"""The device: predict, observe, adapt and forget, without torch, flwr or onnx.

personalizer  the object that an application uses
adaptation    adapting to one user within a time budget, and the report of it
store         the user's interactions and personal state in one SQLite file
runtimes      what runs a bundle's graphs: ONNX Runtime, or torch
federation    the device's part in a federation: training and evaluation rounds
participant   taking part from inside the app's own process, without flwr
consent       whether the user agreed to take part

Names are imported on first use, and ONNX Runtime when a graph is first run. A process loads only what it needs.
`TorchRuntime` needs torch.
"""

from typing import TYPE_CHECKING

from tegu.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tegu.client.adaptation.report import AdaptReport
    from tegu.client.federation.minimums import Minimums
    from tegu.client.participant.participant import Participant
    from tegu.client.participant.policy import Policy
    from tegu.client.participant.state import ParticipantState
    from tegu.client.personalizer import Personalizer
    from tegu.client.runtimes.onnx_runtime import OnnxRuntime
    from tegu.client.runtimes.runtime import Runtime
    from tegu.client.runtimes.torch_runtime import TorchRuntime
    from tegu.client.store.damage.repair import Repaired, repair_store
    from tegu.client.store.interactions import Interactions, Observed, Removed
    from tegu.client.store.store import Store
else:  # hidden from type checkers, which would otherwise accept misspelt names
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "AdaptReport": "adaptation.report",
            "Interactions": "store.interactions",
            "Minimums": "federation.minimums",
            "Observed": "store.interactions",
            "OnnxRuntime": "runtimes.onnx_runtime",
            "Participant": "participant.participant",
            "ParticipantState": "participant.state",
            "Personalizer": "personalizer",
            "Policy": "participant.policy",
            "Removed": "store.interactions",
            "Repaired": "store.damage.repair",
            "Runtime": "runtimes.runtime",
            "Store": "store.store",
            "TorchRuntime": "runtimes.torch_runtime",
            "repair_store": "store.damage.repair",
        },
    )

__all__ = [
    "AdaptReport",
    "Interactions",
    "Minimums",
    "Observed",
    "OnnxRuntime",
    "Participant",
    "ParticipantState",
    "Personalizer",
    "Policy",
    "Removed",
    "Repaired",
    "Runtime",
    "Store",
    "TorchRuntime",
    "repair_store",
]
