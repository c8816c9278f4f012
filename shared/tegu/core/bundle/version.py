"""Which bundles may train together: those whose graphs, rows and fixed parameters are the same.

Trained parameters are no part of it, since the server sends them in every round. A bundle that a federation has
trained is therefore of the same version as the one that it started from.
"""

from __future__ import annotations

import hashlib
import json

from tegu.core.bundle.file import Bundle
from tegu.core.bundle.manifest import Manifest
from tegu.core.data.tree import digest

__all__ = ["version_of"]

# What graphs are run with, and what rows mean. A schedule and held-out results change nothing of a round.
_FIELDS = (
    "learner",
    "spec",
    "adapted_parameters",
    "knobs",
    "unadapted",
    "candidates",
    "guarded",
    "noise",
    "fixed_parameters",
    "encoding",
)


def version_of(bundle: Bundle) -> str:
    """The sha256 of what must be the same on all devices of a round, in hexadecimal.

    Raises:
        BundleError: the manifest cannot be written, or not be read back.
    """
    # As a file has it: a bundle in memory may hold whole numbers where a file has real ones.
    body = json.loads(Manifest.from_json(bundle.manifest.to_json()).to_json())
    parts = {
        "manifest": {name: body[name] for name in _FIELDS},
        "graphs": {name: hashlib.sha256(graph).hexdigest() for name, graph in bundle.graphs.items()},
        "fixed": digest({name: bundle.meta[name] for name in bundle.manifest.fixed_parameters}),
        "layout": {name: f"{array.dtype}{list(array.shape)}" for name, array in bundle.meta.items()},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
