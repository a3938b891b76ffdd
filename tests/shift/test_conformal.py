"""Weighted quantiles and limits of conformal prediction, by their definitions."""

import tracemalloc
import warnings
from fractions import Fraction
from math import ceil, inf

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from causalweights.shift._conformal import (
    REACH,
    ROUNDING,
    conformity_scores,
    density_ratio,
    prediction_limits,
    warn_of_intervals,
    weighted_quantiles,
)

LEVELS = ["0.1", "0.5", "0.55", "0.8", "0.9", "0.95", "0.99"]


def quantile(scores, weights, own, level):
    """Return inf{r : sum of weights of scores <= r reaches the level}, in fractions."""
    if own == inf:
        return inf
    weights = [Fraction(w) for w in weights]
    wanted = Fraction(level) * (sum(weights) + Fraction(own))
    for r in sorted(scores):
        if sum(w for s, w in zip(scores, weights, strict=True) if s <= r) >= wanted:
            return r
    return inf


@pytest.fixture
def tied(rng):
    """Scores in groups of ties, whole weights with zeros, weights of new rows."""
    scores = rng.integers(0, 12, size=60).astype(float)
    weights = rng.integers(0, 5, size=60).astype(float)
    return scores, weights, np.array([0.0, 1.0, 3.0, 10.0, 50.0, 1e6, inf])


@pytest.mark.parametrize("level", LEVELS)
def test_quantiles_are_those_of_the_definition(level, tied):
    scores, weights, own = tied
    found = weighted_quantiles(scores, weights, own, float(level))
    expected = [quantile(scores.tolist(), weights.tolist(), v, level) for v in own]
    assert_array_equal(found, expected)
    assert found[-1] == inf and np.isfinite(found[0])


@pytest.mark.parametrize("level", LEVELS)
def test_weights_of_one_are_split_conformal_prediction(level, rng):
    # Exactly: rounding must not move .55 of 100 rows to the 56th.
    for n in range(1, 120):
        scores = rng.normal(size=n)
        k = ceil(Fraction(level) * (n + 1))
        expected = np.sort(scores)[k - 1] if k <= n else inf
        found = weighted_quantiles(scores, np.ones(n), np.ones(1), float(level))
        assert found[0] == expected, n


def test_scale_of_weights_and_order_of_rows_do_not_matter(tied, rng):
    scores, _, own = tied
    weights = rng.gamma(0.3, size=60)
    own = own[:-1] / 10
    for level in map(float, LEVELS):
        found = weighted_quantiles(scores, weights, own, level)
        for factor in (1e-9, 3.7, 1e12):
            again = weighted_quantiles(scores, factor * weights, factor * own, level)
            assert_array_equal(again, found)
        order = rng.permutation(60)
        again = weighted_quantiles(scores[order], weights[order], own, level)
        assert_array_equal(again, found)


def test_order_does_not_matter_where_rounding_decides():
    # The sum of the tied scores' weights differs in its last bit by their order. Some
    # levels are between the two.
    weights, scores = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 0.0, 0.0, 1.0])
    orders = [[0, 1, 2, 3], [2, 1, 0, 3], [3, 2, 1, 0]]
    assert len({sum(weights[o[:3]]) for o in orders[:2]}) == 2
    levels = 0.6 / (1 - ROUNDING) + np.spacing(0.6) * np.arange(-8, 9)
    found = [
        [weighted_quantiles(scores[o], weights[o], np.zeros(1), v)[0] for v in levels]
        for o in orders
    ]
    assert_array_equal(found[0], found[1])
    assert_array_equal(found[0], found[2])
    assert set(found[0]) == {0.0, 1.0}


def test_quantiles_grow_with_level_and_own_weight(tied):
    scores, weights, own = tied
    grid = np.array(
        [weighted_quantiles(scores, weights, own, v) for v in np.linspace(0.01, 0.99)]
    )
    assert np.all(grid[1:] >= grid[:-1]) and np.all(grid[:, 1:] >= grid[:, :-1])
    assert len(np.unique(grid)) > 5


def test_rows_of_weight_zero_are_as_if_away(tied):
    scores, weights, own = tied
    used = weights > 0
    assert 0 < used.sum() < 60
    moved = np.where(used, scores, -1e3)
    for level in map(float, LEVELS):
        found = weighted_quantiles(scores[used], weights[used], own, level)
        assert_array_equal(weighted_quantiles(moved, weights, own, level), found)


def test_whole_weights_are_copies(tied):
    scores, weights, own = tied
    copies = np.repeat(scores, weights.astype(int))
    for level in map(float, LEVELS):
        assert_array_equal(
            weighted_quantiles(copies, np.ones(len(copies)), own, level),
            weighted_quantiles(scores, weights, own, level),
        )


def test_memory_is_linear(rng):
    n = 30_000
    scores, weights, own = rng.random((3, n))
    tracemalloc.start()
    found = weighted_quantiles(scores, weights, own, 0.9)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 8 * n  # n x n numbers would be 7 GB
    assert np.all(np.abs(found - 0.9) < 0.02)


def test_ratio_is_beta_over_alpha_within_reach():
    beta = np.array([2.0, 0.5, 1.0, 0.0, 0.0])
    alpha = np.array([1.0, 0.5, REACH / 2, 0.0, 1.0])
    assert_array_equal(density_ratio(beta, alpha, 0.0), [2.0, 1.0, 0.0, 0.0, 0.0])
    assert_array_equal(density_ratio(beta, alpha, inf), [2.0, 1.0, inf, inf, 0.0])


def test_limits_are_the_outcomes_that_conform(rng):
    low, width = rng.normal(size=(2, 200))
    high, scale = low + width, rng.uniform(0.1, 2.0, size=200)  # some bands cross
    grid = np.linspace(-6, 6, 2001)
    for q in (-0.3, 0.0, 0.8):
        limits = prediction_limits(low, high, scale, np.full(200, q))
        for i, (lower, upper) in enumerate(limits):
            inside = conformity_scores(grid, low[i], high[i], scale[i]) <= q
            if inside.any():
                ends = grid[inside][[0, -1]]
                assert_allclose([lower, upper], ends, atol=2 * (grid[1] - grid[0]))
            else:
                assert 0 <= upper - lower <= grid[1] - grid[0]
    assert_array_equal(
        prediction_limits(low, high, scale, np.full(200, inf)), [[-inf, inf]] * 200
    )


def test_warnings_name_how_many_and_why():
    quantiles = np.array([1.0, inf, inf, inf, 2.0])
    own = np.array([1.0, 9.0, inf, inf, 1.0])
    with pytest.warns(UserWarning) as caught:
        warn_of_intervals(quantiles, own, 100.0, 0.9, 2)
    (message,) = (str(w.message) for w in caught)
    assert message.startswith("3 of 5 intervals are infinite. Of these rows 1 hold ")
    assert "more than 0.1 of the total weight" in message
    assert "2 are beyond the source's reach" in message
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=r"worth 9.9 rows .* level of 0.9 needs 10"):
        warn_of_intervals(np.ones(3), np.ones(3), 9.9, 0.9, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_intervals(np.ones(3), np.ones(3), 10.0, 0.9, 2)
