"""Parameters that training leaves as they are: their update is zero, the others' is as before, and they still adapt."""

from __future__ import annotations

import pytest
import torch
from tests.learners.algorithms.plain_networks import KINDS, assert_sums, network, plain, rows_of, variables
from tests.learners.toys import NO_NOISE

from tegu.compile import manifest_of
from tegu.core.errors import DataError
from tegu.learners import combination, fedavg, fomaml, maml, meta_sgd, mixture, reptile, t_net

KIND = "classification"


@pytest.mark.parametrize("build", [reptile, fomaml, maml, meta_sgd, t_net])
def test_untrained_parameters_have_no_update_and_adapt(build):
    whole, part = (build(network(), KINDS[KIND], untrained_parameters=names) for names in ((), ["2"]))
    meta, support, query = plain(variables(part)), rows_of(KIND, 5, 1), rows_of(KIND, 4, 2)
    expected, found = (each.update(meta, support, query, NO_NOISE) for each in (whole, part))
    assert set(found) == set(expected)
    for name, value in found.items():
        torch.testing.assert_close(
            value, torch.zeros_like(value) if name in part.untrained_parameters else expected[name]
        )
    assert expected["2.weight"].abs().max() > 0.001
    state = part.adapt(meta, support, part.knobs, NO_NOISE)
    assert not torch.equal(state["2.weight"], meta["2.weight"])
    if part.execution.summed_update is not None:  # layers this narrow have none in Reptile
        assert_sums(part, meta, KIND)


@pytest.mark.parametrize("build", [reptile, fomaml, maml, meta_sgd, t_net])
def test_a_pattern_that_matches_nothing_is_named(build):
    with pytest.raises(DataError, match="untrained_parameters='head' matches no parameter"):
        build(network(), KINDS[KIND], untrained_parameters=["head"])


def test_learner_and_manifest_name_them():
    alone = reptile(network(), KINDS[KIND], untrained_parameters=["2"])
    assert alone.untrained_parameters == ("2.weight", "2.bias")
    assert manifest_of(alone).untrained_parameters == alone.untrained_parameters
    both = combination([maml(network(), KINDS[KIND]), alone])
    assert both.untrained_parameters == ("1/2.weight", "1/2.bias")
    several = mixture(alone, 2)
    assert several.untrained_parameters == ("0/2.weight", "0/2.bias", "1/2.weight", "1/2.bias")
    assert_zero(both)
    assert_zero(several)
    averaging = fedavg(network(), alone)
    assert averaging.untrained_parameters == ()  # its rule moves them


def assert_zero(learner):
    meta = {name: torch.tensor(value) for name, value in learner.init(0).items()}
    found = learner.update(meta, rows_of(KIND, 5, 1), rows_of(KIND, 4, 2), NO_NOISE)
    assert all(torch.equal(found[name], torch.zeros_like(found[name])) for name in learner.untrained_parameters)
    assert any(value.abs().max() > 0 for name, value in found.items() if name not in learner.untrained_parameters)
