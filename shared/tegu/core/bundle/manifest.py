"""The typed and versioned manifest of a bundle, with conversion to and from JSON."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, TypeAlias, TypeVar

from tegu.core.bundle.shown import FrontierPoint, HarmShown, frontier_from, harm_from
from tegu.core.data.spec import Spec
from tegu.core.encoding.encoding import Encoding, encoding_from_dict
from tegu.core.errors import BundleError, DataError, TeguError

__all__ = ["FORMAT", "STEPS", "Knobs", "Manifest", "ScheduleEntry", "entry_for", "knobs_for", "steps_of", "with_steps"]

FORMAT = 3
STEPS = "steps"  # the knob, a whole number, by which an iterated learner says how often it repeats its step
Knobs: TypeAlias = Mapping[str, float]
T = TypeVar("T")


_SHOWN = 20  # knobs or entries in a representation


class ScheduleEntry(NamedTuple):
    """Knobs to use from `k` interactions on, until the next entry.

    Attributes:
        k: number of interactions.
        knobs: values of the graph's scalar inputs.
        gain: mean gain of the calibration users with these knobs, in the metric.
        gain_sd: standard deviation of their gains.
        losses: mean loss of the initialisation on `k` interactions of each calibration user, ascending
            (`tegu.core.calibration.nonconformity`). At most 99 quantiles (`tegu.core.calibration.conformal`).
        harm: what calibration has shown about materially hurt users; None if it was not asked.
        frontier: what other limits on harm allow, the strictest first.
    """

    k: int
    knobs: Knobs
    gain: float = 0.0
    gain_sd: float = 0.0
    losses: tuple[float, ...] = ()
    harm: HarmShown | None = None
    frontier: tuple[FrontierPoint, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The fields by name, as JSON has them."""
        harm = None if self.harm is None else self.harm._asdict()
        return self._asdict() | {"harm": harm, "frontier": [point._asdict() for point in self.frontier]}

    def __repr__(self) -> str:
        knobs = ", ".join(f"{name}={value:g}" for name, value in list(self.knobs.items())[:_SHOWN])
        return f"ScheduleEntry(k={self.k}, {knobs}, gain={self.gain:g}, {len(self.losses)} losses)"


@dataclass(frozen=True, repr=False)
class Manifest:
    """What a device must know about a bundle's graphs and arrays.

    Attributes:
        learner: name of the learner, as in the table of learners.
        paper: the publication it follows.
        spec: what the model takes and gives.
        adapted_parameters: names of the parameters that adapt; a device leaves the others as they are.
        knobs: default values of the graph's scalar inputs (`steps`, `lr`, ...).
        unadapted: values of the same inputs that leave the initialisation unadapted.
        schedule: knobs by number of interactions, ascending in `k`; where it is empty, `knobs` serve always.
        training: how it was trained: users, rounds, seeds, library versions, how it is stored. Free-form, for people.
        heldout: results on people never seen in training, an entry for each k. Free-form, for people.
        members: sha256 in hexadecimal of every other member of the file.
        candidates: knobs that calibration tries, the gentler ones first; of no use to a device on its own.
        guarded: the candidates are corrections under a guard: their knobs include those of
            `tegu.core.calibration.guard.Guard`, and the state notes its findings as scalars.
        window: number of the newest interactions that a device adapts on; 0 for all.
        noise: length of the graphs' input `noise`; 0 for a learner that draws none.
        fixed_parameters: names of the parameters that neither training nor a device changes. Rounds do not send them;
            nodes take them from the bundle.
        untrained_parameters: names of the parameters that training leaves as they are, although rounds send them.
        state_members: number of sets of parameters in a state, whose outputs the predict graph gives one by one; 0 for
            a learner with one.
        encoding: how raw columns, labels and item ids become rows; None where the developer gave rows.
    """

    learner: str
    paper: str
    spec: Spec
    adapted_parameters: tuple[str, ...]
    knobs: Knobs
    unadapted: Knobs
    schedule: tuple[ScheduleEntry, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    heldout: tuple[Mapping[str, Any], ...] = ()
    members: Mapping[str, str] = field(default_factory=dict)
    candidates: tuple[Knobs, ...] = ()
    guarded: bool = False
    window: int = 0
    noise: int = 0
    fixed_parameters: tuple[str, ...] = ()
    untrained_parameters: tuple[str, ...] = ()
    state_members: int = 0
    encoding: Encoding | None = None

    def __repr__(self) -> str:
        ks = [entry.k for entry in self.schedule[:_SHOWN]]
        return (
            f"Manifest(learner={self.learner!r}, kind={self.spec.kind!r}, "
            f"adapted_parameters={reprlib.repr(self.adapted_parameters)}, knobs={reprlib.repr(self.knobs)}, "
            f"schedule for k={ks}, {len(self.training)} entries on training)"
        )

    def __post_init__(self) -> None:
        if set(self.unadapted) != set(self.knobs):
            raise DataError(
                f"unadapted has the knobs {sorted(self.unadapted)} and the learner {sorted(self.knobs)}: "
                "expected a value for each of them; write {**knobs, ...}"
            )
        sizes = [entry.k for entry in self.schedule]
        if sizes != sorted(set(sizes)):
            raise DataError(f"the schedule has entries for k = {sizes}: expected ascending, each k once")

    def to_json(self) -> bytes:
        """UTF-8 JSON; equal manifests give equal bytes.

        Raises:
            BundleError: a value has no JSON form, such as NaN or a numpy number.
        """
        body = asdict(self) | {
            "format": FORMAT,
            "schedule": [entry.as_json() for entry in self.schedule],
            "spec": self.spec.to_dict(),
        }
        for name in ("state_members", "untrained_parameters"):
            if not body[name]:
                del body[name]  # bundles of most learners stay as they were before there was this entry
        try:
            return json.dumps(body, indent=1, sort_keys=True, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise BundleError(f"the manifest holds a value that is not JSON ({error}): remove it") from error

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Read a manifest back.

        Raises:
            BundleError: not JSON, another format version, or fields of the wrong type.
        """
        try:
            body = json.loads(data)
        except (ValueError, RecursionError) as error:  # ValueError: also bad UTF-8, and endless digits
            raise BundleError(f"the manifest is not JSON ({error}): fetch the bundle again") from error
        found = body.get("format") if isinstance(body, dict) else None
        if found != FORMAT:
            newer = isinstance(found, int) and found > FORMAT
            fix = "upgrade tegu" if newer else "export the bundle again"
            raise BundleError(f"the bundle has format version {found!r} and this Tegu reads {FORMAT}: {fix}")
        try:
            return _parse(body)
        except (KeyError, TypeError, ValueError, OverflowError, TeguError) as error:
            why = f"{type(error).__name__}: {error}"
            raise BundleError(f"the manifest does not fit format {FORMAT} ({why}): export it again") from error


def _parse(body: Mapping[str, Any]) -> Manifest:
    return Manifest(
        learner=_typed(body["learner"], str),
        paper=_typed(body["paper"], str),
        spec=Spec.from_dict(_typed(body["spec"], dict)),
        adapted_parameters=tuple(_typed(name, str) for name in _typed(body["adapted_parameters"], list)),
        knobs=_knobs(body["knobs"]),
        unadapted=_knobs(body["unadapted"]),
        schedule=tuple(_entry(entry) for entry in _typed(body["schedule"], list)),
        training=_typed(body["training"], dict),
        heldout=tuple(_typed(entry, dict) for entry in _typed(body["heldout"], list)),
        members={name: _typed(sha, str) for name, sha in _typed(body["members"], dict).items()},
        candidates=tuple(_knobs(knobs) for knobs in _typed(body["candidates"], list)),
        guarded=_flag(body["guarded"]),
        window=_typed(body["window"], int),
        noise=_typed(body["noise"], int),
        fixed_parameters=tuple(_typed(name, str) for name in _typed(body["fixed_parameters"], list)),
        untrained_parameters=tuple(_typed(name, str) for name in _typed(body.get("untrained_parameters", []), list)),
        state_members=_typed(body.get("state_members", 0), int),
        encoding=None if body["encoding"] is None else encoding_from_dict(body["encoding"]),
    )


def _typed(value: object, *kinds: type[T]) -> T:
    if isinstance(value, bool) or not isinstance(value, kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"expected {expected}, found {reprlib.repr(value)}")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, found {reprlib.repr(value)}")
    return value


def _entry(value: object) -> ScheduleEntry:
    entry = _typed(value, dict)
    known = _knobs({name: entry.get(name, 0.0) for name in ("gain", "gain_sd")})
    losses = [_finite(number) for number in _typed(entry.get("losses", []), list)]
    harm = None if entry.get("harm") is None else harm_from(_typed(entry["harm"], dict))
    frontier = tuple(frontier_from(_typed(point, dict)) for point in _typed(entry.get("frontier", []), list))
    return ScheduleEntry(
        _typed(entry["k"], int), _knobs(entry["knobs"]), **known, losses=tuple(losses), harm=harm, frontier=frontier
    )


def _knobs(value: object) -> Knobs:
    return {name: _finite(number) for name, number in _typed(value, dict).items()}


def _finite(value: object) -> float:
    number = float(_typed(value, float, int))
    if not math.isfinite(number):
        raise ValueError(f"numbers must be finite, found {number}")
    return number


def entry_for(manifest: Manifest, interactions: int) -> ScheduleEntry | None:
    """The last schedule entry whose `k` is reached by this many interactions; None if none is.

    A device with a window never counts more interactions than the window holds, and adapts on no more: a full window
    reaches all entries beyond it.
    """
    window = manifest.window or math.inf
    reached = [entry for entry in manifest.schedule if min(entry.k, window) <= interactions]
    return reached[-1] if reached else None


def knobs_for(manifest: Manifest, interactions: int) -> Knobs:
    """The knobs for a user with this many interactions: those of `entry_for`.

    Below the first entry nothing has been calibrated, so the knobs are `unadapted`. Without a schedule they are the
    manifest's.
    """
    if not manifest.schedule:
        return manifest.knobs
    entry = entry_for(manifest, interactions)
    return manifest.unadapted if entry is None else {**manifest.knobs, **entry.knobs}


def steps_of(knobs: Knobs) -> int | None:
    """How many steps the knobs ask for; None where they belong to a learner without repeated steps."""
    return int(knobs[STEPS]) if STEPS in knobs else None


def with_steps(knobs: Knobs, steps: int) -> Knobs:
    """The knobs with this number of steps. Knobs of a learner without repeated steps stay unchanged."""
    return {**knobs, STEPS: float(steps)} if STEPS in knobs else knobs
