"""Whether a store belongs to a model, or can be taken over by it."""

from __future__ import annotations

from tegu.client.store.catalogue import differs_in_catalogue_alone
from tegu.client.store.records import About
from tegu.client.store.schema import spec_from_json, spec_json
from tegu.core.data.spec import Spec
from tegu.core.errors import OtherModelError

__all__ = ["check_owner"]


def check_owner(name: str, about: About, identity: str, spec: Spec, encoding: str | None, *, adopt: bool) -> None:
    """Check that a model may use a store.

    Args:
        name: of the store, for messages.
        about: what the store says about itself.
        identity: of the model (`Bundle.identity`).
        spec: of the model.
        encoding: of the model (`columns_digest`).
        adopt: accept a store of another model whose spec differs in the catalogue at most.

    Raises:
        OtherModelError: the store belongs to another model, or its rows are of another kind.
    """
    if not differs_in_catalogue_alone(spec_from_json(about.spec), spec):
        raise OtherModelError(
            f"{name} holds rows of {about.spec}, but the bundle expects {spec_json(spec)}: use another store path"
        )
    if about.encoding != encoding:
        raise OtherModelError(
            f"{name} holds rows that were made of raw columns in another way than the bundle makes them (other levels, "
            "units or origins): use another store path, or train with the same columns"
        )
    if about.identity != identity and not adopt:
        raise OtherModelError(
            f"{name} belongs to the model {about.identity[:12]}, but the bundle is {identity[:12]}: open it with "
            "upgrade=True, or with its own bundle and call Personalizer.upgrade, or use another store path"
        )
