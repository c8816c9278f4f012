"""Parameters that training leaves as they are: their update is zero, the others' is as before, and they still adapt."""

from __future__ import annotations

import pytest
import torch
from tests.learners.algorithms.plain_networks import KINDS, assert_sums, network, plain, rows_of, variables
from tests.learners.toys import NO_NOISE

from tegu.core.errors import DataError
from tegu.learners import fomaml, maml, reptile

KIND = "classification"


@pytest.mark.parametrize("build", [reptile, fomaml, maml])
def test_untrained_parameters_have_no_update_and_adapt(build):
    whole, part = (build(network(), KINDS[KIND], untrained_parameters=names) for names in ((), ["2"]))
    meta, support, query = plain(variables(part)), rows_of(KIND, 5, 1), rows_of(KIND, 4, 2)
    expected, found = (each.update(meta, support, query, NO_NOISE) for each in (whole, part))
    assert set(found) == set(expected)
    for name, value in found.items():
        torch.testing.assert_close(value, torch.zeros_like(value) if name.startswith("2.") else expected[name])
    assert expected["2.weight"].abs().max() > 0.001
    state = part.adapt(meta, support, part.knobs, NO_NOISE)
    assert not torch.equal(state["2.weight"], meta["2.weight"])
    if part.execution.summed_update is not None:  # layers this narrow have none in Reptile
        assert_sums(part, meta, KIND)


@pytest.mark.parametrize("build", [reptile, fomaml, maml])
def test_a_pattern_that_matches_nothing_is_named(build):
    with pytest.raises(DataError, match="untrained_parameters='head' matches no parameter"):
        build(network(), KINDS[KIND], untrained_parameters=["head"])
