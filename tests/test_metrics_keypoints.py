"""PCK and OKS against plain loops and COCO's published formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from partscope.errors import OptionError
from partscope.metrics import oks, pck

distances = arrays(np.float64, (4, 3), elements=st.floats(0, 200) | st.just(math.nan))


@given(distances, arrays(np.float64, 4, elements=st.floats(1, 300)), st.sampled_from([0.05, 0.1, 0.2, 0.5]))
def test_pck_equals_a_plain_loop(distance, reach, alpha):
    result = pck(distance, reach, alpha)
    for i in range(4):
        for p in range(3):
            if math.isnan(distance[i, p]):
                assert math.isnan(result[i, p])
            else:
                assert result[i, p] == (1.0 if distance[i, p] <= alpha * reach[i] else 0.0)


def test_pck_includes_its_limit_and_has_none_in_pixels():
    assert pck([[10.0, 10.01]], [100.0], 0.1).tolist() == [[1.0, 0.0]]
    assert np.isnan(pck([[0.0]], [math.nan], 0.1)).all()


@given(
    distances,
    arrays(np.float64, 4, elements=st.floats(1, 1e5)),
    arrays(np.float64, 3, elements=st.floats(0.01, 0.2)),
)
def test_oks_equals_cocos_formula(distance, area, sigma):
    result = oks(distance, area, sigma)
    for i in range(4):
        values = []
        for p in range(3):
            if not math.isnan(distance[i, p]):
                variance = (2 * sigma[p]) ** 2
                values.append(math.exp(-(distance[i, p] ** 2) / variance / (area[i] + np.spacing(1)) / 2))
        if values:
            assert result[i] == pytest.approx(sum(values) / len(values), abs=1e-12)
            assert 0 <= result[i] <= 1
        else:
            assert math.isnan(result[i])


def test_oks_by_hand():
    # d = k·s with k = 2σ gives exp(−1/2).
    assert oks([[20.0]], [10_000.0], [0.1])[0] == pytest.approx(math.exp(-0.5))
    assert oks([[0.0, 0.0]], [100.0], [0.1, 0.05])[0] == 1


@pytest.mark.parametrize("sigmas", [[0.1], [0.1, 0.0], [0.1, math.nan]])
def test_oks_refuses_other_sigmas(sigmas):
    with pytest.raises(OptionError, match="needs 2 positive sigmas"):
        oks([[1.0, 2.0]], [100.0], sigmas)
