from __future__ import annotations

import numpy as np
from tests.core.samples import refused, same_array

from tegu.core.data.confidence import confidence
from tegu.core.data.spec import Spec, check_y
from tegu.core.errors import DataError


def test_weights_up_to_one_stay_and_counts_are_compressed() -> None:
    plain = np.array([0, 0.25, 1], np.float32)
    assert same_array(confidence(plain), plain)
    found = confidence(np.array([np.e, 148, 11_068], np.float32))
    np.testing.assert_allclose(found, [2, 1 + np.log(148), 1 + np.log(11_068)], rtol=1e-6)
    assert found.dtype == np.float32


def test_a_weight_below_zero_is_refused() -> None:
    with refused(DataError, "weight -1.0", "0 or more", "regression of ratings"):
        check_y(Spec.ranking(3), [1, -1])
