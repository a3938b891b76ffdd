"""Matching variances against Abadie & Imbens' formulas by loops, and by coverage."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from causalweights.inference import (
    matching_variance,
    nearest_matching,
    neighbor_variance,
)

ROUNDING = 1e-10  # the same sums in another order
CONTRAST = np.array([-1.0, 1.0])


@pytest.fixture(params=[1, 3])
def design(rng, request):
    """Return X, y, codes (two arms) and the number of matches."""
    n = 70
    X = rng.normal(size=(n, 2))
    codes = (X[:, 0] + rng.normal(size=n) > 0).astype(int)
    return X, X.sum(axis=1) + codes + rng.normal(size=n), codes, request.param


def nearest(X, i, candidates, J):
    """Return the J nearest candidates of row i, by sorting."""
    return sorted(candidates, key=lambda j: np.sum((X[i] - X[j]) ** 2))[:J]


def textbook(X, y, codes, J, estimand, sigma2):
    """Return effect and variance by Abadie & Imbens (2006), theorem 7, in loops."""
    n = len(y)
    rows = range(n) if estimand == "ate" else np.flatnonzero(codes == 1)
    used, effects = np.zeros(n), []
    for i in rows:
        match = nearest(X, i, np.flatnonzero(codes != codes[i]), J)
        used[match] += 1
        gap = y[i] - np.mean(y[match])
        effects.append(gap if codes[i] == 1 else -gap)
    tau = np.mean(effects)
    spread = np.mean((np.array(effects) - tau) ** 2)
    if estimand == "ate":
        extra = (used / J) ** 2 + (2 * J - 1) / J * (used / J)
        conditional = np.mean((1 + used / J) ** 2 * sigma2)
        return tau, (spread + np.mean(extra * sigma2)) / n, conditional / n
    n1, control = len(rows), codes == 0
    # With J matches, (K/J)^2 less the part K/J^2 that the spread already holds.
    extra = (used**2 - used) / J**2
    inside = np.where(control, used / J, 1.0)
    return (
        tau,
        (spread + np.sum(extra[control] * sigma2[control]) / n1) / n1,
        np.sum(inside**2 * sigma2) / n1**2,
    )


def target_of(codes, estimand):
    t = np.ones(len(codes)) if estimand == "ate" else (codes == 1).astype(float)
    return t / t.sum()


@pytest.mark.parametrize("estimand", ["ate", "att"])
def test_variance_is_the_textbook_one(design, estimand):
    X, y, codes, J = design
    sigma2 = neighbor_variance(X, y, codes)
    tau, variance, conditional = textbook(X, y, codes, J, estimand, sigma2)
    t = target_of(codes, estimand)
    matching = nearest_matching(X, y, codes, t, n_neighbors=J)
    assert (2 * codes - 1) * matching.masses @ y == pytest.approx(tau, rel=ROUNDING)
    common = (codes, matching.masses, t, sigma2)
    parts = {
        "imputed": matching.imputed,
        "squared_shares": matching.squared_shares,
    }
    out = matching_variance(*common, **parts)
    assert CONTRAST @ out.cov @ CONTRAST == pytest.approx(variance, rel=ROUNDING)
    np.testing.assert_allclose(out.cov, out.conditional + out.target, rtol=ROUNDING)
    assert np.linalg.eigvalsh(out.cov)[0] > 0
    fixed = matching_variance(*common, inference="sample")
    assert CONTRAST @ fixed.cov @ CONTRAST == pytest.approx(conditional, rel=ROUNDING)
    np.testing.assert_array_equal(fixed.cov, out.conditional)
    assert np.all(fixed.target == 0)


@pytest.mark.parametrize("J", [1, 4])
def test_neighbor_variance_by_sorting(design, J):
    X, y, codes, _ = design
    sigma2 = neighbor_variance(X, y, codes, n_neighbors=J)
    for i in range(len(y)):
        others = np.flatnonzero((codes == codes[i]) & (np.arange(len(y)) != i))
        mean = y[nearest(X, i, others, J)].mean()
        assert sigma2[i] == pytest.approx(J / (J + 1) * (y[i] - mean) ** 2)


def test_neighbor_variance_is_unbiased_and_indifferent_to_the_level(rng):
    X, noise = rng.normal(size=(4000, 1)), rng.normal(size=4000)
    codes = np.arange(4000) % 2
    sigma2 = neighbor_variance(X, noise, codes)
    assert sigma2.mean() == pytest.approx(1, abs=0.1)
    shifted = neighbor_variance(X, noise + 1e6 * codes, codes)
    np.testing.assert_allclose(shifted, sigma2, rtol=1e-6, atol=1e-8)


def test_ties_all_count():
    X = np.array([[0.0], [0.0], [0.0], [1.0], [1.0], [-1.0]])
    y = np.array([1.0, 2.0, 6.0, 5.0, 0.0, 3.0])
    sigma2 = neighbor_variance(X, y, np.zeros(6, dtype=int), n_neighbors=1)
    # Row 0: the two others at zero. Row 5: the three at zero.
    assert sigma2[0] == pytest.approx(2 / 3 * (1 - 4) ** 2)
    assert sigma2[3] == pytest.approx(1 / 2 * 5**2)
    assert sigma2[5] == pytest.approx(3 / 4 * 0)
    # Three neighbors of row 0: the three at distance one tie for the third place.
    sigma2 = neighbor_variance(X, y, np.zeros(6, dtype=int), n_neighbors=3)
    assert sigma2[0] == pytest.approx(5 / 6 * (1 - 16 / 5) ** 2)
    codes = np.array([1, 0, 0, 0, 0, 0])
    matching = nearest_matching(X, y, codes, np.eye(6)[0])
    np.testing.assert_allclose(matching.masses, [1, 0.5, 0.5, 0, 0, 0])
    np.testing.assert_allclose(matching.imputed[0], [4, 1])
    np.testing.assert_allclose(matching.squared_shares, [1, 0.25, 0.25, 0, 0, 0])


def test_nothing_depends_on_the_order_of_rows(rng):
    X = rng.integers(0, 3, size=(60, 2)).astype(float)
    y, codes = rng.normal(size=60), np.arange(60) % 3
    t = rng.uniform(size=60)
    t /= t.sum()
    order = rng.permutation(60)
    a = nearest_matching(X, y, codes, t, n_neighbors=2)
    b = nearest_matching(X[order], y[order], codes[order], t[order], n_neighbors=2)
    for name in ("masses", "imputed", "squared_shares"):
        np.testing.assert_allclose(
            getattr(a, name)[order], getattr(b, name), rtol=ROUNDING, atol=ROUNDING
        )
    np.testing.assert_allclose(
        neighbor_variance(X, y, codes)[order],
        neighbor_variance(X[order], y[order], codes[order]),
    )


def test_unequal_masses_and_three_arms_by_the_matrix(rng):
    n, X = 45, rng.normal(size=(45, 2))
    codes, y, t = np.arange(n) % 3, rng.normal(size=n), rng.uniform(size=n)
    t /= t.sum()
    matches = np.zeros((n, n))
    for i in range(n):
        for a in range(3):
            own = codes[i] == a
            near = [i] if own else nearest(X, i, np.flatnonzero(codes == a), 2)
            matches[i, near] = 1 / len(near)
    out = nearest_matching(X, y, codes, t, n_neighbors=2)
    np.testing.assert_allclose(out.masses, t @ matches)
    np.testing.assert_allclose(out.squared_shares, t**2 @ matches**2)
    np.testing.assert_allclose(np.bincount(codes, out.masses), 1)
    own = np.eye(3)[codes]
    np.testing.assert_allclose(out.imputed, matches @ (own * y[:, None]))
    np.testing.assert_allclose(t @ out.imputed, (out.masses * y) @ own)


def test_expectation_of_the_variance(rng):
    # Outcomes drawn again at fixed covariates: the parts have the right expectation,
    # the sampling of the target as a sum over its true means.
    n = 40
    X = rng.normal(size=(n, 1))
    codes, sigma = np.arange(n) % 2, 0.5 + (X[:, 0] > 0)
    # Constant within arms: matching has no bias, individual effects still vary by t.
    truth = np.column_stack([np.zeros(n), np.ones(n)])
    t = rng.uniform(size=n)
    t /= t.sum()
    estimates, targets = [], []
    for _ in range(2000):
        y = truth[np.arange(n), codes] + sigma * rng.normal(size=n)
        matching = nearest_matching(X, y, codes, t)
        out = matching_variance(
            codes,
            matching.masses,
            t,
            sigma**2,
            imputed=matching.imputed,
            squared_shares=matching.squared_shares,
        )
        estimates.append(matching.masses * y @ np.eye(2)[codes])
        targets.append(out.target)
    simulated = np.cov(np.array(estimates).T)
    np.testing.assert_allclose(
        np.diag(out.conditional), np.diag(simulated), rtol=4 * np.sqrt(2 / 2000)
    )
    # Centering on an estimated mean loses sum t^2 Var(mu), small beside the parts.
    assert np.all(np.abs(np.mean(targets, axis=0)) < 0.1 * np.diag(simulated).min())


def test_rows_of_no_arm_are_matched_but_not_used(rng):
    X, y = rng.normal(size=(30, 2)), rng.normal(size=30)
    codes = np.repeat([0, 1, -1], 10)
    y[codes < 0] = np.nan
    t = np.where(codes < 0, 0.1, 0.0)
    out = nearest_matching(X, y, codes, t)
    assert np.all(out.masses[codes < 0] == 0)
    np.testing.assert_allclose(np.bincount(codes[:20], out.masses[:20]), 1)
    sigma2 = neighbor_variance(X, y, codes)
    assert np.all(sigma2[codes < 0] == 0)
    cov = matching_variance(
        codes,
        out.masses,
        t,
        sigma2,
        imputed=out.imputed,
        squared_shares=out.squared_shares,
    ).cov
    assert np.linalg.eigvalsh(cov)[0] > 0


def test_bad_input_is_refused(rng):
    X, y, codes = rng.normal(size=(12, 2)), rng.normal(size=12), np.arange(12) % 2
    t = np.full(12, 1 / 12)
    with pytest.raises(ValueError, match="arm 0 offers 5 others in the arm"):
        neighbor_variance(X, y, codes, n_neighbors=6)
    with pytest.raises(ValueError, match="arm 0 offers 6 rows"):
        nearest_matching(X, y, codes, t, n_neighbors=7)
    with pytest.raises(ValueError, match="n_neighbors must be 1 at least"):
        neighbor_variance(X, y, codes, n_neighbors=0)
    with pytest.raises(ValueError, match="X, y and codes have shapes"):
        neighbor_variance(X, y[:5], codes)
    with pytest.raises(ValueError, match="NaN or infinity"):
        neighbor_variance(X, np.where(codes, np.nan, y), codes)
    with pytest.raises(ValueError, match="target_masses must sum to one"):
        nearest_matching(X, y, codes, 2 * t)
    masses = 2 * t
    with pytest.raises(ValueError, match="masses must sum to one in each arm"):
        matching_variance(codes, t, t, y**2)
    with pytest.raises(ValueError, match="sigma2 must hold 12 finite"):
        matching_variance(codes, masses, t, -(y**2))
    with pytest.raises(ValueError, match="needs imputed and squared_shares"):
        matching_variance(codes, masses, t, y**2)
    with pytest.raises(ValueError, match=r"imputed must hold .* \(12, 2\)"):
        matching_variance(codes, masses, t, y**2, imputed=X[:5], squared_shares=t)
    with pytest.raises(ValueError, match="inference='both'"):
        matching_variance(codes, masses, t, y**2, inference="both")


@pytest.mark.parametrize("estimand", ["ate", "att"])
def test_coverage_of_one_to_one_matching_on_one_covariate(estimand):
    reps, n, hits = 300, 250, 0
    # Effects 1 + x: E[x] = 0, and E[x | A = 1] of this design by quadrature.
    grid = np.linspace(-8, 8, 4001)
    share = norm.pdf(grid) * norm.cdf(0.7 * grid)
    truth = 1.0 + (estimand == "att") * (grid @ share / share.sum())
    for rep in range(reps):
        rng = np.random.default_rng([5, rep])
        x = rng.normal(size=n)
        codes = (0.7 * x + rng.normal(size=n) > 0).astype(int)
        y = np.sin(x) + codes * (1 + x) + rng.normal(size=n)
        t = target_of(codes, estimand)
        X = x[:, None]
        matching = nearest_matching(X, y, codes, t)
        out = matching_variance(
            codes,
            matching.masses,
            t,
            neighbor_variance(X, y, codes),
            imputed=matching.imputed,
            squared_shares=matching.squared_shares,
        )
        effect = (2 * codes - 1) * matching.masses @ y
        se = np.sqrt(CONTRAST @ out.cov @ CONTRAST)
        hits += abs(effect - truth) < norm.ppf(0.975) * se
    low, high = binom.ppf([1e-3, 1 - 1e-3], reps, 0.95)
    assert low <= hits <= high
