"""The weighted Kolmogorov-Smirnov distance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from causalweights.discrepancy import kolmogorov_smirnov

# Cumulative sums of at most a few hundred shares.
ATOL = 1e-13


@pytest.mark.parametrize("decimals", [None, 0], ids=["distinct", "ties"])
def test_without_weights_it_is_scipys(rng, decimals):
    x, y = rng.normal(size=83), rng.normal(0.4, 2, size=57)
    if decimals is not None:
        x, y = x.round(decimals), y.round(decimals)
    expected = ks_2samp(x, y).statistic
    assert kolmogorov_smirnov(x, y) == pytest.approx(expected, abs=ATOL)


@given(
    st.lists(
        st.tuples(st.integers(-3, 3), st.integers(0, 4)), min_size=1, max_size=12
    ).filter(lambda pairs: sum(k for _, k in pairs) > 0),
    st.lists(st.integers(-3, 3), min_size=1, max_size=12),
)
def test_integer_weights_are_replication(weighted, y):
    x, copies = np.array(weighted).T
    value = kolmogorov_smirnov(x, y, x_weights=copies)
    replicated = kolmogorov_smirnov(np.repeat(x, copies), y)
    assert value == pytest.approx(replicated, abs=ATOL)
    assert 0.0 <= value <= 1.0


def test_definition_with_weights(rng):
    x, y = rng.integers(0, 9, size=40), rng.integers(2, 12, size=30)
    a, b = rng.exponential(size=40), rng.exponential(size=30)
    grid = np.arange(-1, 13)
    first = [a[x <= v].sum() / a.sum() for v in grid]
    second = [b[y <= v].sum() / b.sum() for v in grid]
    expected = np.max(np.abs(np.subtract(first, second)))
    value = kolmogorov_smirnov(x, y, a, b)
    assert value == pytest.approx(expected, abs=ATOL)
    assert kolmogorov_smirnov(y, x, b, a) == pytest.approx(value, abs=ATOL)


def test_extremes():
    assert kolmogorov_smirnov([1, 2], [3, 4]) == 1.0
    assert kolmogorov_smirnov([1, 2, 2], [2, 1, 2]) == 0.0
    assert kolmogorov_smirnov([5], [5]) == 0.0
    # A binary variable: the difference in proportions.
    assert kolmogorov_smirnov([0, 1, 1, 1], [0, 0, 0, 1]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [1]), "x must be a vector"),
        (([1], [[1]]), "y must be a vector"),
        (([1, np.nan], [1]), "x contains NaN"),
        (([1, 2], [1], [1, -1]), "x_weights contains negative"),
        (([1], [1, 2], None, [1]), "y_weights has shape"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        kolmogorov_smirnov(*arguments)
