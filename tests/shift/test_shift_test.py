"""The permutation test of a shift."""

from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from causalweights.discrepancy import squared_mmd
from causalweights.kernels import Gaussian, Laplace
from causalweights.shift import _shift_test, shift_test


def test_statistic_and_rule_of_the_p_value(design_a):
    X, target = design_a(50, 0, 40)
    target = target - np.array([0.8, 0.3])
    found = shift_test(X, target, bandwidth=0.9, n_permutations=99)
    expected = squared_mmd(Gaussian(0.9), X, target)
    assert_allclose(found.mmd2, expected, rtol=1e-10)
    assert found.kernel == Gaussian(0.9) and found.rank is None
    as_large = np.sum(found.permuted >= found.mmd2)
    assert found.p_value == (1 + as_large) / 100
    # Never zero, however clear the shift.
    assert shift_test(X, X + 9.0, n_permutations=49).p_value == 1 / 50


def test_permutations_have_the_law_of_all_splits():
    rng = np.random.default_rng(2)
    pooled = rng.normal(size=(8, 1))
    splits = [
        squared_mmd(Laplace(1.0), pooled[list(s)], np.delete(pooled, s, axis=0))
        for s in combinations(range(8), 4)
    ]
    found = shift_test(pooled[:4], pooled[4:], kernel=Laplace(1.0), n_permutations=2000)
    exact = np.mean(np.array(splits) >= found.mmd2 - 1e-12)
    # Both splits of a pair of halves have the same value: ties must count.
    assert found.p_value == pytest.approx(exact, abs=0.03)
    assert_allclose(np.unique(found.permuted.round(9)), np.unique(np.round(splits, 9)))


def test_size_without_a_shift_and_power_with_one():
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(100, 2, 25, 2))
    null = [shift_test(*pair, n_permutations=99).p_value for pair in samples]
    # Under the hypothesis p is uniform on 1/100, ..., 1.
    assert 0.39 < np.mean(null) < 0.62  # four standard errors
    assert 0 < np.sum(np.array(null) <= 0.1) <= 22
    scaled = [
        shift_test(a, 2 * b + 0.5, n_permutations=99).p_value for a, b in samples[:20]
    ]
    assert np.mean(np.array(scaled) <= 0.05) >= 0.8


def test_jobs_and_runs_give_the_same_bits(design_a):
    X, target = design_a(60, 0)
    one = shift_test(X, target, n_permutations=150)
    for options in ({"n_jobs": 2}, {"random_state": 0}, {}):
        again = shift_test(X, target, n_permutations=150, **options)
        assert_array_equal(again.permuted, one.permuted)
    other = shift_test(X, target, n_permutations=150, random_state=1)
    assert np.any(other.permuted != one.permuted)


def test_many_rows_use_a_factor(design_a, monkeypatch):
    X, target = design_a(80, 0)
    exact = shift_test(X, target, n_permutations=100)
    monkeypatch.setattr(_shift_test, "DENSE_ROWS", 100)
    thin = shift_test(X, target, n_permutations=100)
    assert thin.rank is not None and thin.rank < 160
    assert_allclose(thin.mmd2, exact.mmd2, rtol=1e-2)
    assert_allclose(thin.permuted, exact.permuted, atol=0.02 * exact.permuted.max())
    assert thin.p_value == exact.p_value


def test_kernel_values_are_computed_once(design_a, monkeypatch):
    from causalweights.kernels import GramOperator

    calls = []
    dense = GramOperator.dense
    monkeypatch.setattr(
        GramOperator, "dense", lambda self: calls.append(1) or dense(self)
    )
    shift_test(*design_a(40, 0), n_permutations=200)
    assert len(calls) == 1


def test_standardized_covariates_have_no_units(design_a):
    X, target = design_a(50, 0)
    scale = [1000.0, 0.01]
    one = shift_test(X, target, standardize=True, n_permutations=50)
    two = shift_test(X * scale, target * scale, standardize=True, n_permutations=50)
    assert_allclose(one.mmd2, two.mmd2, rtol=1e-8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X_target": np.ones((5, 3))}, "columns"),
        ({"X_target": np.full((5, 2), np.nan)}, "NaN"),
        ({"X_target": np.ones((0, 2))}, "rows"),
        ({"n_permutations": 0}, "n_permutations"),
        ({"bandwidth": "silverman"}, "bandwidth"),
        ({"kernel": "laplace"}, "kernel"),
    ],
)
def test_what_is_refused(change, message):
    given = {"X": np.eye(4)[:, :2], "X_target": np.ones((5, 2)), **change}
    with pytest.raises(ValueError, match=message):
        shift_test(given.pop("X"), given.pop("X_target"), **given)
