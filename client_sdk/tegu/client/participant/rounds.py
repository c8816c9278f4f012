"""A message answered from the interactions in the user's store, by the code that Flower's ClientApp uses too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tegu.client.adaptation.catalogue import catalogue_of
from tegu.client.consent import Agreement
from tegu.client.federation.answers import Device, answer_either, content_or_reason
from tegu.client.federation.minimums import BelowMinimumError, Minimums
from tegu.client.federation.people import FewPeople
from tegu.client.federation.versions import BundlePlace, OtherVersionError, fetch_bundle
from tegu.client.participant.flower import records
from tegu.client.participant.flower.records import RecordDict
from tegu.client.personalizer import Personalizer
from tegu.client.runtimes.limits.run_limits import RunLimits
from tegu.client.runtimes.onnx_runtime import OnnxRuntime
from tegu.client.store.catalogue import differs_in_catalogue_alone
from tegu.client.store.columns import columns_digest
from tegu.core.bundle.file import Bundle
from tegu.core.bundle.version import version_of
from tegu.core.data.users import LocalUser
from tegu.wire import Version, failure_reason, read_version

__all__ = ["Rounds", "refusal"]


class Rounds:
    """Answers messages. Graphs that were loaded stay loaded for the next message.

    Attributes:
        newer: file of the bundle that was fetched for the last round; None if it was the personalizer's own.

    Args:
        personalizer: with the user's store, and the bundle to begin with.
        minimums: what the device demands of every round.
        threads: of ONNX Runtime within one operator.
        place: where newer bundles are; None for nowhere.
        user: the name by which rounds draw; None for the random one of the agreement.
    """

    def __init__(
        self, personalizer: Personalizer, minimums: Minimums, threads: int, place: BundlePlace | None, user: str | None
    ) -> None:
        self.newer: Path | None = None
        self._personalizer, self._minimums, self._threads = personalizer, minimums, threads
        self._place, self._user = place, user
        self._memory = RecordDict()
        self._own = personalizer.bundle
        self._bundle, self._version = self._own, version_of(self._own)
        self._runtime: OnnxRuntime | None = None
        self._failed: tuple[Version, OtherVersionError] | None = None

    def reply(
        self, kind: str, content: RecordDict, agreed: Callable[[], Agreement | None], most_fetched: int
    ) -> RecordDict | str:
        """The content of the reply to a message, or the reason for none: a class and a code.

        Args:
            kind: Flower's type of the message.
            content: of the message.
            agreed: the user's agreement; asked before the answer is computed, and again after.
            most_fetched: bytes that fetching a newer bundle may take.
        """

        def compute() -> RecordDict:
            agreement = _required(agreed())
            device = self._device(content, agreement, most_fetched)
            found: RecordDict = answer_either(kind, content, device, self._memory, records)
            _required(agreed())  # who withdraws meanwhile sends nothing
            return found

        return content_or_reason(compute)

    def _device(self, content: Any, agreement: Agreement, most_fetched: int) -> Device:
        self._choose_bundle(read_version(content), most_fetched)
        manifest = self._bundle.manifest
        rows = catalogue_of(manifest).usable(self._personalizer.store.load())
        user = LocalUser(self._user or agreement.user, rows.x, rows.y)
        if self._runtime is None:
            self._runtime = OnnxRuntime(self._bundle.graphs, threads=self._threads, limits=RunLimits())
        return Device(self._bundle, self._version, FewPeople([user], self._runtime, manifest), self._minimums)

    def _choose_bundle(self, wanted: Version | None, most: int) -> None:
        """Use the app's own bundle if the round is for it, and otherwise a fetched one."""
        if self._personalizer.bundle is not self._own:  # the app has upgraded
            self._own = self._personalizer.bundle
            self._use(self._own, version_of(self._own), None)
        if wanted is None or wanted.digest == self._version:
            return
        own = version_of(self._own)
        if wanted.digest == own:
            self._use(self._own, own, None)
            return
        if self._failed is not None and self._failed[0] == wanted:
            raise self._failed[1]
        try:
            newer = fetch_bundle(wanted, self._bounded_place(most))
            self._check_rows(wanted, newer)
        except OtherVersionError as error:
            self._failed = wanted, error  # it is not fetched again in every round
            raise
        kept = None if self._place is None or self._place.kept is None else self._place.kept / f"{wanted.file}.tegu"
        self._use(newer, wanted.digest, kept)

    def _use(self, bundle: Bundle, version: str, kept: Path | None) -> None:
        self._bundle, self._version, self._runtime, self.newer = bundle, version, None, kept

    def _bounded_place(self, most: int) -> BundlePlace | None:
        return None if self._place is None else replace(self._place, most=min(most, self._place.most))

    def _check_rows(self, wanted: Version, newer: Bundle) -> None:
        own = self._own.manifest
        same_columns = columns_digest(own) == columns_digest(newer.manifest)
        if not (same_columns and differs_in_catalogue_alone(own.spec, newer.manifest.spec)):
            raise OtherVersionError(wanted, "it cannot read the rows of this user's store")


def _required(agreement: Agreement | None) -> Agreement:
    if agreement is None:
        raise BelowMinimumError("opted-out", "the user does not agree to take part")
    return agreement


def refusal(code: str) -> str:
    """The reason for not answering a message, whose content need not have been fetched.

    Args:
        code: of `tegu.wire.FAILURES`.
    """
    return failure_reason(BelowMinimumError(code, "this device takes no part now"))
