"""What device and server share. Depends on numpy and safetensors alone.

data         rows of users, batches, parameter trees, and the spec of a model's inputs and targets
encoding     how raw columns, labels and item ids become rows, and come back
sampling     reproducible draws of cohorts, of support and query, and of trials for evaluation
bundle       the `.tegu` file with its manifest and signature
compression  parameters and updates in fewer bytes than float32
calibration  how the server chooses a bundle's schedule from sums of users' metrics
metrics      what predictions are evaluated by
scalars      single numbers as people write them
cohort_graphs graphs over many users at once, for simulation
files        files that are written whole or not at all
process      memory, processors and functions of the operating system
notes        sentences to the user about what was guessed, converted or resumed
errors       everything that Tegu raises

Names are imported on first use.
"""

from typing import TYPE_CHECKING

from tegu.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tegu.core.bundle.file import Bundle, read_bundle, write_bundle
    from tegu.core.bundle.manifest import Manifest, ScheduleEntry
    from tegu.core.bundle.signing import new_key_pair
    from tegu.core.data.field import booleans, ids, reals
    from tegu.core.data.spec import Spec
    from tegu.core.data.users import LocalUser, read_users, write_users
    from tegu.core.encoding.encoding import Encoding
    from tegu.core.errors import (
        BundleError,
        CompileError,
        DataError,
        FederationError,
        FileError,
        MissingExtraError,
        OtherModelError,
        PlatformError,
        PopulationError,
        RuntimeFailure,
        SignatureError,
        StoreError,
        TeguError,
        UnknownNameError,
    )
    from tegu.core.metrics import METRICS, Metric, find_metric
    from tegu.core.sampling.episode import EpisodeRule
else:  # hidden from type checkers, which would otherwise accept misspelt names
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "Bundle": "bundle.file",
            "BundleError": "errors",
            "CompileError": "errors",
            "DataError": "errors",
            "Encoding": "encoding.encoding",
            "EpisodeRule": "sampling.episode",
            "FederationError": "errors",
            "FileError": "errors",
            "LocalUser": "data.users",
            "METRICS": "metrics",
            "Manifest": "bundle.manifest",
            "Metric": "metrics",
            "MissingExtraError": "errors",
            "OtherModelError": "errors",
            "PlatformError": "errors",
            "PopulationError": "errors",
            "RuntimeFailure": "errors",
            "ScheduleEntry": "bundle.manifest",
            "SignatureError": "errors",
            "Spec": "data.spec",
            "StoreError": "errors",
            "TeguError": "errors",
            "UnknownNameError": "errors",
            "booleans": "data.field",
            "find_metric": "metrics",
            "ids": "data.field",
            "new_key_pair": "bundle.signing",
            "read_bundle": "bundle.file",
            "read_users": "data.users",
            "reals": "data.field",
            "write_bundle": "bundle.file",
            "write_users": "data.users",
        },
    )

__all__ = [
    "METRICS",
    "Bundle",
    "BundleError",
    "CompileError",
    "DataError",
    "Encoding",
    "EpisodeRule",
    "FederationError",
    "FileError",
    "LocalUser",
    "Manifest",
    "Metric",
    "MissingExtraError",
    "OtherModelError",
    "PlatformError",
    "PopulationError",
    "RuntimeFailure",
    "ScheduleEntry",
    "SignatureError",
    "Spec",
    "StoreError",
    "TeguError",
    "UnknownNameError",
    "booleans",
    "find_metric",
    "ids",
    "new_key_pair",
    "read_bundle",
    "read_users",
    "reals",
    "write_bundle",
    "write_users",
]
