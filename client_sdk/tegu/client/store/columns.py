"""How raw columns became rows, as a digest: rows of one encoding must not be read by another."""

from __future__ import annotations

import hashlib
import json

from tegu.core.bundle.manifest import Manifest

__all__ = ["columns_digest"]


def columns_digest(manifest: Manifest) -> str | None:
    """A digest of how raw features and targets become rows; None where the developer gave rows.

    Items and labels do not count: rows keep their names.
    """
    encoding = manifest.encoding
    if encoding is None or not (encoding.columns or encoding.targets):
        return None
    body = encoding.to_dict()
    columns = {name: body[name] for name in ("columns", "targets")}
    return hashlib.sha256(json.dumps(columns, sort_keys=True).encode()).hexdigest()[:16]
