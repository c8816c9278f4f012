"""What a training has spent of privacy, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["privacy_line"]


def privacy_line(found: Mapping[str, Any]) -> str:
    """The line.

    Args:
        found: from `tegu.server.privacy.statement`, or a manifest's `training["privacy"]`. Empty gives an empty line.
    """
    if not found:
        return ""
    parts = []
    if "epsilon" in found:
        rounds = sum(each["rounds"] for each in found["rounds"])
        multiplier = found["noise_multiplier"]
        noise = "" if multiplier is None else f", noise multiplier {multiplier:.3g}"
        secret = found["randomness"] == "operating system"
        known = "" if secret else f" (noise of {found['randomness']}: a simulation)"
        parts.append(f"epsilon {found['epsilon']:.3g} for one person's updates in {rounds} rounds{noise}{known}")
    if local := found.get("local"):
        parts.append(
            f"local epsilon {local['epsilon']:.3g} toward the server for a person whose device answered all "
            f"{local['rounds']} rounds, noise multiplier {local['noise_multiplier']:.3g}"
        )
    return f"privacy at delta {found['delta']:g}: {'; '.join(parts)}; {found['not_counted']}"
