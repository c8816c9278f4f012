"""Bundles that are refused before anything of them runs, and states that are not kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.client.graphs import linear_bundle, linear_rows, ranking_bundle
from tests.client.runtimes.limits import hostile

from tegu.client import Personalizer
from tegu.client.runtimes.limits.bundle_rules import check_state
from tegu.core.bundle.file import Bundle
from tegu.core.bundle.manifest import ScheduleEntry
from tegu.core.data.spec import Field, Spec
from tegu.core.errors import BundleError, RuntimeFailure, TeguError

KNOBS = {"steps": 5.0, "lr": 0.1}


def of(**changes: Any) -> Bundle:
    bundle = linear_bundle()
    return replace(bundle, manifest=replace(bundle.manifest, **changes))


def with_meta(name: str, value: float, **changes: Any) -> Bundle:
    bundle = of(**changes)
    return replace(bundle, meta={**bundle.meta, name: np.full((1, 3), value, np.float32)})


REFUSED: dict[str, tuple[Callable[[], Bundle], str]] = {
    "steps": (lambda: of(knobs={**KNOBS, "steps": 1e18}), r"1e\+18 steps: expected a whole number from 0 to 1000000"),
    "half a step": (lambda: of(knobs={**KNOBS, "steps": 0.5}), "0.5 steps"),
    "unadapted steps": (lambda: of(unadapted={**KNOBS, "steps": -1.0}), "-1 steps"),
    "scheduled steps": (lambda: of(schedule=(ScheduleEntry(1, {"steps": 1e18}),)), r"1e\+18 steps"),
    "a candidate's steps": (lambda: of(candidates=({"steps": 1e18},)), r"1e\+18 steps"),
    "a knob beyond float32": (lambda: of(knobs={**KNOBS, "lr": 1e308}), r"knob 'lr' is 1e\+308"),
    "a negative k": (lambda: of(schedule=(ScheduleEntry(-1, KNOBS),)), "k is -1"),
    "a negative window": (lambda: of(window=-5), "window is -5"),
    "noise": (lambda: of(noise=1 << 40), "1099511627776 numbers of noise"),
    "negative noise": (lambda: of(noise=-1), "-1 numbers of noise"),
    "a long row": (lambda: of(spec=Spec.regression((1 << 20, 1 << 20))), "numbers in a row of x"),
    "many axes": (lambda: of(spec=Spec.regression((1,) * 40)), "40 axes"),
    "many outputs": (lambda: of(spec=Spec.regression((3,), 1 << 40)), "outputs"),
    "a catalogue without end": (lambda: of(spec=Spec.ranking(1 << 60)), "ids of x"),
    "a name that clears the screen": (lambda: with_meta("\x1b[2J", 0), r"'\\x1b\[2J'"),
    "a learner's name": (lambda: of(learner="\x1b]0;owned\x07"), "printable"),
    "a knob's name": (lambda: of(knobs={"\x9b": 1.0}, unadapted={"\x9b": 1.0}), "printable"),
    "an input's name": (lambda: of(spec=Spec.regression({"a\n": Field((3,), "float32")})), "printable"),
    "a long name": (lambda: with_meta("n" * 1000, 0), "at most 512 characters"),
    "half a million names": (
        lambda: of(adapted_parameters=("a",) * 500_000),
        "500000 adapted, fixed and untrained parameters",
    ),
    "half a million entries": (
        lambda: of(schedule=tuple(ScheduleEntry(k, KNOBS) for k in range(500_000))),
        "500000 schedule entries",
    ),
    "NaN": (lambda: with_meta("weight", np.nan), "the parameter 'weight' holds nan"),
    "an infinity": (lambda: with_meta("weight", np.inf), "the parameter 'weight' holds inf"),
    "a fixed NaN": (lambda: with_meta("w", np.nan, fixed_parameters=("w",)), "holds nan"),
}


@pytest.mark.parametrize("attack", REFUSED)
def test_refused_by_open_and_by_upgrade(attack: str) -> None:
    make, why = REFUSED[attack]
    bundle = make()
    with pytest.raises(BundleError, match=why):
        Personalizer.open(bundle)
    with Personalizer.open(linear_bundle()) as p, pytest.raises(BundleError, match=why):
        p.upgrade(bundle)


def test_a_fixed_parameter_may_be_infinite_as_masks_are() -> None:
    Personalizer.open(with_meta("mask", -np.inf, fixed_parameters=("mask",))).close()


def test_a_graph_with_external_data_is_refused_when_it_is_first_used() -> None:
    bundle = ranking_bundle()
    for location in ("/etc/passwd", "etc/passwd", "init.tegu"):
        with (
            Personalizer.open(replace(bundle, graphs={**bundle.graphs, "adapt": hostile.elsewhere(location)})) as p,
            pytest.raises(RuntimeFailure, match=r"cannot load the adapt graph.*another file.*ask its publisher"),
        ):
            p.recommend(3)


def test_a_guarded_bundle_without_a_guard_is_a_failure_of_the_bundle() -> None:
    x, y = linear_rows(4)
    with Personalizer.open(of(guarded=True)) as p:
        p.observe(x, y)
        with pytest.raises(RuntimeFailure, match="says that it is guarded, and its state holds"):
            p.adapt()


@pytest.mark.parametrize("state", [np.array(["text"]), np.array([object()]), [1.0], np.zeros(1, np.complex64)])
def test_a_state_of_anything_but_numbers_is_not_kept(state: Any) -> None:
    with pytest.raises(RuntimeFailure, match="which is no array of numbers"):
        check_state({"a": state})


def test_a_giant_state_is_not_kept() -> None:
    with pytest.raises(RuntimeFailure, match="more than the 268435456 allowed"):
        check_state({"a": np.broadcast_to(np.float32(0), (1 << 27,))})


def test_messages_hold_no_escape_sequences() -> None:
    assert str(TeguError("a\x1b[2J b\r\u202e\n\tc")) == "a\\x1b[2J b\\r\\u202e\n\tc"
