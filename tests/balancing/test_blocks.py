"""IPMBalancer(solver="low_rank"): oracles, exact certificates, blocks, new rows."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from causalweights import IPMBalancer
from causalweights.balancing import _blocks
from causalweights.balancing._blocks import LocalBlocks, take_rows
from causalweights.discrepancy import squared_mmd
from causalweights.kernels import Gaussian
from causalweights.optimize import simplex_qp

# Nystrom by a pseudo-inverse and by Cholesky, or from all rows and the kernel itself,
# differ by rounding times a condition number; weights divide that by ridge / n, 1e-4.
NYSTROM = 1e-7
ESTIMANDS = [("att", False), ("atc", False), ("ate", False), ("ate", True)]
KERNELS = ["gaussian", "energy", "laplace"]

pytestmark = pytest.mark.filterwarnings(
    "ignore:balancing weights are not optimal:sklearn.exceptions.ConvergenceWarning"
)


def low_rank(**options):
    return IPMBalancer(**{"solver": "low_rank", "rank": 40, **options})


def points(X, s):
    mean = np.average(X, axis=0, weights=s)
    return (X - mean) / np.sqrt(np.average((X - mean) ** 2, axis=0, weights=s))


def masses_of(a, s):
    return s / np.bincount(a, weights=s)[a]


def program(K, extra, ridge, a, s, estimand, joint):
    """Return for each problem: its rows, K, q, diagonal, groups; from raw arrays."""
    base = masses_of(a, s)
    target = s / s.sum()
    weighted = sorted(set(a))
    if estimand != "ate":
        focal = 1 if estimand == "att" else 0
        target = np.where(a == focal, base, 0.0)
        weighted.remove(focal)
    q = K @ target
    share = (s * (np.bincount(a) / np.bincount(a, weights=s))[a]) ** -1
    if joint:
        A = len(weighted)
        C = np.where(a[:, None] == a, A, -1.0)
        every = np.arange(len(a))
        return [(every, C * K, q, (ridge + A * extra) * share, a)]
    rows = [np.flatnonzero(a == k) for k in weighted]
    return [
        (r, K[np.ix_(r, r)], q[r], ((ridge + extra) * share)[r], 0 * r) for r in rows
    ]


# ------------------------------------------------------------------------- oracles
@pytest.mark.parametrize(("estimand", "between"), ESTIMANDS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bounds", [(0.0, None), (0.2, 3.0)])
def test_weights_solve_the_low_rank_program(
    estimand, between, kernel, bounds, two_arms
):
    X, a, s = two_arms
    low, high = bounds
    fit = low_rank(
        estimand=estimand, discriminator=kernel, between_arms=between,
        min_weight=low, max_weight=high,
    ).fit(X, a, sample_weight=s)  # fmt: skip
    # Nystrom by a pseudo-inverse, which shares no code with the features' Cholesky.
    Z = points(X, s)
    S = fit._dual.features.landmarks
    cross = fit.kernel_(Z, S)
    K = cross @ np.linalg.pinv(fit.kernel_(S), rcond=1e-13) @ cross.T
    extra = np.maximum(np.diag(fit.kernel_(Z)) - np.diag(K), 0.0)
    base, expected = masses_of(a, s), masses_of(a, s)
    for rows, H, q, d, g in program(K, extra, 1e-2, a, s, estimand, between):
        upper = None if high is None else high * base[rows]
        exact = simplex_qp(
            H, q, d, groups=g, lower=low * base[rows], upper=upper, tol=1e-8
        )
        expected[rows] = exact.weights
    np.testing.assert_allclose(fit.masses_ / base, expected / base, atol=NYSTROM)
    weighted = base * fit.weights_
    np.testing.assert_allclose(fit.masses_, weighted, atol=1e-15)


@pytest.mark.parametrize(("estimand", "between"), ESTIMANDS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_as_many_landmarks_as_rows_give_the_exact_weights(
    estimand, between, kernel, two_arms
):
    X, a, s = two_arms
    options = dict(estimand=estimand, discriminator=kernel, between_arms=between)
    fit = low_rank(rank=len(X), **options).fit(X, a, sample_weight=s)
    exact = IPMBalancer(**options).fit(X, a, sample_weight=s)
    np.testing.assert_allclose(fit.weights_, exact.weights_, atol=NYSTROM)
    assert fit.converged_
    for name in ("discrepancy_", "discrepancy_before_", "objective_"):
        ours, theirs = getattr(fit, name), getattr(exact, name)
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-9)
    assert fit.pairwise_discrepancy_ == pytest.approx(
        exact.pairwise_discrepancy_, abs=1e-7
    )


# ---------------------------------------------------------------- true certificates
@pytest.mark.parametrize(("estimand", "between"), ESTIMANDS)
def test_certificates_are_those_of_the_kernel_itself(estimand, between, two_arms):
    X, a, s = two_arms
    fit = low_rank(estimand=estimand, between_arms=between, rank=10)
    fit.fit(X, a, sample_weight=s)
    Z, base = points(X, s), masses_of(a, s)
    K, m = fit.kernel_(Z), fit.masses_
    problems = program(K, 0.0, 1e-2, a, s, estimand, between)
    gaps, relative = [], []
    for rows, H, q, d, g in problems:
        w, gradient = m[rows], H @ m[rows] + d * m[rows] - q
        gap = gradient @ w - sum(gradient[g == k].min() for k in np.unique(g))
        value, before = (0.5 * v @ (H @ v + d * v) - q @ v for v in (w, base[rows]))
        gaps.append(2 * gap)
        relative.append(gap / (before - value))
    one = between and estimand == "ate"
    found, shares = (
        [v] if one else list(v.values()) for v in (fit.gap_, fit.relative_gap_)
    )
    np.testing.assert_allclose(found, gaps, rtol=1e-9)
    np.testing.assert_allclose(shares, relative, rtol=1e-7)
    assert min(relative) > 1e-6 and not fit.converged_
    for k in (0, 1):
        weights = dict(x_weights=m[a == k], y_weights=fit.target_masses_)
        expected = squared_mmd(fit.kernel_, Z[a == k], Z, **weights)
        pair = fit.pairwise_discrepancy_[(k, "target")]
        assert pair == pytest.approx(expected, abs=1e-12)


def test_a_gap_above_tol_warns_with_the_remedies(two_arms):
    X, a, _ = two_arms
    with pytest.warns(ConvergenceWarning, match="Raise rank, ridge or tol"):
        fit = low_rank(rank=5).fit(X, a)
    assert not fit.converged_ and fit.relative_gap_ > 1e-6
    assert fit.solver_ == "low_rank" and 1 <= fit.n_iter_ < 20
    assert low_rank(rank=5, tol=10.0).fit(X, a).converged_


# -------------------------------------------------------------------------- blocks
@pytest.mark.parametrize(("estimand", "between"), ESTIMANDS)
@pytest.mark.parametrize("size", [7, 64])
def test_any_size_of_block_gives_the_same(
    estimand, between, size, two_arms, monkeypatch
):
    X, a, s = two_arms
    a = np.sort(a)  # most blocks hold one arm only
    options = dict(estimand=estimand, between_arms=between)
    whole = low_rank(**options).fit(X, a, sample_weight=s)
    monkeypatch.setattr(_blocks, "BLOCK_ROWS", size)
    parts = low_rank(**options).fit(X, a, sample_weight=s)
    np.testing.assert_allclose(parts.weights_, whole.weights_, atol=1e-9)
    assert parts.gap_ == pytest.approx(whole.gap_, rel=1e-6)
    assert parts.discrepancy_ == pytest.approx(whole.discrepancy_, rel=1e-9)


def test_take_rows_keeps_the_order_asked_for(rng):
    Z = rng.normal(size=(50, 2))
    parts = np.split(Z, [3, 3, 20])
    blocks = LocalBlocks(parts, [len(part) for part in parts])
    rows = rng.permutation(50)[:17]
    np.testing.assert_array_equal(take_rows(blocks, rows), Z[rows])


def test_bandwidth_is_that_of_the_exact_fit_on_many_rows(rng):
    X = rng.normal(size=(5200, 1))
    a = rng.integers(0, 2, size=5200)
    fit = low_rank(discriminator="gaussian", rank=10, tol=10.0).fit(X, a)
    kernel = Gaussian().resolve((X - X.mean(0)) / X.std(0))
    assert fit.bandwidth_ == pytest.approx(kernel.bandwidth, rel=1e-12)


# ------------------------------------------------------------------------ new rows
@pytest.mark.parametrize(("estimand", "between"), ESTIMANDS)
@pytest.mark.parametrize("weight_type", ["sampling", "frequency"])
def test_dual_weights_of_the_training_rows(estimand, between, weight_type, two_arms):
    X, a, s = two_arms
    fit = low_rank(estimand=estimand, between_arms=between, weight_type=weight_type)
    fit = pickle.loads(pickle.dumps(fit.fit(X, a, sample_weight=s)))
    np.testing.assert_allclose(fit.predict_weights(X, a), fit.weights_, atol=1e-9)
    assert -np.inf < fit.score(X, a, sample_weight=s) < 0


def test_witness_is_the_projected_difference_of_means(two_arms):
    X, a, s = two_arms
    fit = low_rank(estimand="att", rank=len(X)).fit(X, a, sample_weight=s)
    exact = IPMBalancer(estimand="att").fit(X, a, sample_weight=s)
    np.testing.assert_allclose(fit.witness(X), exact.witness(X), atol=1e-6)
    value = fit.masses_[a == 0] @ fit.witness(X)[a == 0]
    value -= fit.target_masses_ @ fit.witness(X)
    assert value == pytest.approx(fit.discrepancy_[0], rel=1e-4)


# ---------------------------------------------------------------- weights and arms
def test_a_frequency_is_that_many_rows(two_arms):
    X, a, _ = two_arms
    kernel = Gaussian(bandwidth=1.5)
    counts = np.random.default_rng(0).integers(1, 4, size=len(X))
    # As many landmarks as rows: copies add none, so both fits have the same features.
    options = dict(discriminator=kernel, weight_type="frequency", rank=len(X))
    fit = low_rank(**options).fit(X, a, sample_weight=counts)
    copies = np.repeat(np.arange(len(X)), counts)
    many = low_rank(**options).fit(X[copies], a[copies])
    np.testing.assert_allclose(many.weights_, fit.weights_[copies], atol=1e-5)


def test_rows_of_weight_zero_do_not_count(two_arms):
    X, a, s = two_arms
    s = np.where(np.arange(len(s)) % 5 == 0, 0.0, s)
    fit = low_rank().fit(X, a, sample_weight=s)
    kept = low_rank().fit(X[s > 0], a[s > 0], sample_weight=s[s > 0])
    np.testing.assert_array_equal(fit.weights_[s > 0], kept.weights_)
    assert np.all(fit.weights_[s == 0] == 0)


@pytest.mark.parametrize("between", [False, True])
def test_three_arms(between, three_arms):
    X, a, s = three_arms
    options = dict(between_arms=between, discriminator="gaussian")
    fit = low_rank(rank=len(X), **options).fit(X, a, sample_weight=s)
    exact = IPMBalancer(**options).fit(X, a, sample_weight=s)
    np.testing.assert_allclose(fit.weights_, exact.weights_, atol=NYSTROM)
    np.testing.assert_allclose(fit.predict_weights(X, a), fit.weights_, atol=1e-9)


def test_without_standardizing(two_arms):
    X, a, _ = two_arms
    options = dict(standardize=False, discriminator=Gaussian(2.0), rank=len(X))
    fit = low_rank(**options).fit(5 * X, a)
    options.pop("rank")
    exact = IPMBalancer(**options).fit(5 * X, a)
    np.testing.assert_allclose(fit.weights_, exact.weights_, atol=NYSTROM)


# ------------------------------------------------------------------------ refusals
def test_refusals_by_name(two_arms):
    X, a, _ = two_arms
    with pytest.raises(ValueError, match="needs ridge > 0"):
        low_rank(ridge=0.0).fit(X, a)
    with pytest.raises(ValueError, match="rank"):
        low_rank(rank=0).fit(X, a)
    with pytest.raises(ValueError, match="solver"):
        IPMBalancer(solver="lowrank").fit(X, a)
    assert clone(low_rank(rank=7)).rank == 7
