"""Long-run covariance of moments, against linearmodels and by brute force."""

import numpy as np
import pytest
from linearmodels.iv import IV2SLS, IVLIML
from linearmodels.iv.covariance import (
    kernel_optimal_bandwidth,
    kernel_weight_bartlett,
    kernel_weight_parzen,
    kernel_weight_quadratic_spectral,
)
from linearmodels.iv.gmm import (
    HeteroskedasticWeightMatrix,
    HomoskedasticWeightMatrix,
    KernelWeightMatrix,
    OneWayClusteredWeightMatrix,
)
from numpy.testing import assert_allclose

from causalweights.moments import (
    GEL,
    GMM,
    KernelIV,
    LinearIV,
    hac_bandwidth,
    moment_covariance,
)
from causalweights.moments._moment_covariance import (
    lag_weights,
    nonnegative,
    smoother,
    unadjusted_covariance,
)

N, Q = 120, 3
THEIR_NAME = {
    "bartlett": "bartlett", "parzen": "parzen", "quadratic_spectral": "qs",
}  # fmt: skip
# The same sums in another order.
ROUNDED = 1e-12

_rng = np.random.default_rng(2)
Z = _rng.normal(size=(N, Q)) + 1
EPS = _rng.normal(size=(N, 1)) * np.abs(Z[:, :1])
GROUPS = _rng.integers(0, 20, size=N)
TWO_WAYS = np.column_stack([GROUPS, np.arange(N) % 15])
COUNTS = _rng.integers(1, 4, size=N)
SCORES = Z * EPS


@pytest.mark.parametrize("center", [False, True])
def test_robust_and_clustered_are_those_of_linearmodels(center):
    theirs = HeteroskedasticWeightMatrix(center=center).weight_matrix(Z, Z, EPS)
    ours = moment_covariance(SCORES, center=center)
    assert_allclose(ours, theirs, rtol=ROUNDED)
    clustered = OneWayClusteredWeightMatrix(GROUPS, center=center)
    theirs = clustered.weight_matrix(Z, Z, EPS)
    ours = moment_covariance(SCORES, cov_type="cluster", groups=GROUPS, center=center)
    assert_allclose(ours, 20 / 19 * theirs, rtol=ROUNDED)


def test_unadjusted_is_that_of_linearmodels():
    theirs = HomoskedasticWeightMatrix().weight_matrix(Z, Z, EPS)  # always centred
    assert_allclose(unadjusted_covariance(EPS, Z, center=True), theirs, rtol=ROUNDED)
    plain = unadjusted_covariance(EPS, Z)
    assert_allclose(plain, np.mean(EPS**2) * Z.T @ Z / N, rtol=ROUNDED)


def test_unadjusted_of_two_residuals_is_a_product():
    two = np.column_stack([EPS[:, 0], EPS[::-1, 0]])
    weight = COUNTS / COUNTS.mean()
    omega = unadjusted_covariance(two, Z, weight)
    sigma = (two * weight[:, None]).T @ two / N
    Q2 = (Z * weight[:, None]).T @ Z / N
    for r in range(2):
        for s in range(2):
            block = omega[r * Q : (r + 1) * Q, s * Q : (s + 1) * Q]
            assert_allclose(block, sigma[r, s] * Q2, rtol=ROUNDED)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("bandwidth", [1, 4, 11])
@pytest.mark.parametrize("kernel", THEIR_NAME)
def test_kernels_are_those_of_linearmodels(kernel, bandwidth, center):
    theirs = KernelWeightMatrix(THEIR_NAME[kernel], bandwidth, center=center)
    ours = moment_covariance(
        SCORES, cov_type="hac", kernel=kernel, bandwidth=bandwidth, center=center
    )
    assert_allclose(ours, theirs.weight_matrix(Z, Z, EPS), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("kernel", "theirs"),
    [
        ("bartlett", kernel_weight_bartlett),
        ("parzen", kernel_weight_parzen),
        ("quadratic_spectral", kernel_weight_quadratic_spectral),
    ],
)
def test_lag_weights(kernel, theirs):
    expected = theirs(6, 39)
    ours = lag_weights(kernel, 6, 40)
    assert_allclose(ours[: len(expected)], expected, atol=1e-14)
    assert_allclose(ours[len(expected) :], 0, atol=1e-14)
    assert_allclose(lag_weights(kernel, 0, 5), [1, 0, 0, 0, 0], atol=1e-14)


@pytest.mark.parametrize("kernel", THEIR_NAME)
def test_newey_west_bandwidth_is_that_of_linearmodels(kernel):
    rng = np.random.default_rng(0)
    series = np.zeros((400, 2))
    for t in range(1, 400):
        series[t] = 0.6 * series[t - 1] + rng.normal(size=2)
    standardised = (series / series.std(axis=0)).sum(axis=1)
    theirs = kernel_optimal_bandwidth(standardised, THEIR_NAME[kernel])
    assert hac_bandwidth(series, kernel) == theirs
    # A constant moment says nothing of the dependence.
    assert hac_bandwidth(np.column_stack([series, np.ones(400)]), kernel) == theirs


@pytest.mark.parametrize(
    ("kernel", "constant", "q"),
    [("bartlett", 1.1447, 1), ("parzen", 2.6614, 2), ("quadratic_spectral", 1.3221, 2)],
)
def test_andrews_bandwidth_of_an_autoregression(kernel, constant, q):
    rng, rho, n = np.random.default_rng(1), 0.5, 20000
    x = np.zeros((n, 1))
    for t in range(1, n):
        x[t] = rho * x[t - 1] + rng.normal()
    if q == 1:  # equation 6.4 for one moment
        alpha = 4 * rho**2 / ((1 - rho) ** 2 * (1 + rho) ** 2)
    else:
        alpha = 4 * rho**2 / (1 - rho) ** 4
    expected = constant * (alpha * n) ** (1 / (2 * q + 1))
    found = hac_bandwidth(x, kernel, "andrews")
    found += kernel != "quadratic_spectral"  # k(j / (m + 1)) against k(j / S)
    assert found == pytest.approx(expected, rel=0.05)  # rho is known to 0.006


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"center": True},
        {"cov_type": "cluster", "groups": GROUPS},
        {"cov_type": "cluster", "groups": GROUPS, "center": True},
        {"cov_type": "cluster", "groups": TWO_WAYS},
    ],
)
def test_frequency_weights_are_copies(options):
    weighted = moment_covariance(SCORES, COUNTS.astype(float), **options)
    if "groups" in options:
        repeated_groups = np.repeat(options["groups"], COUNTS, axis=0)
        options = {**options, "groups": repeated_groups}
    repeated = moment_covariance(np.repeat(SCORES, COUNTS, axis=0), **options)
    assert_allclose(weighted, repeated, rtol=1e-10)


@pytest.mark.parametrize(
    "options",
    [
        {"cov_type": "robust"},
        {"cov_type": "cluster", "groups": GROUPS},
        {"cov_type": "cluster", "groups": TWO_WAYS},
        {"cov_type": "hac", "bandwidth": 4.0},
    ],
)
@pytest.mark.parametrize("center", [False, True])
def test_smoothers_are_symmetric_matrices(options, center):
    # The derivatives of continuous updating rest on it.
    T = smoother(copies=np.ones(N), center=center, **options)(np.eye(N))
    assert_allclose(T, T.T, atol=1e-12)
    omega = moment_covariance(SCORES, center=center, **options)
    assert_allclose(omega, SCORES.T @ T @ SCORES / N, rtol=1e-10)


def test_what_has_no_covariance_is_refused():
    with pytest.raises(ValueError, match="needs groups"):
        moment_covariance(SCORES, cov_type="cluster")
    with pytest.raises(ValueError, match="at least two clusters"):
        moment_covariance(SCORES, cov_type="cluster", groups=np.zeros(N, dtype=int))
    with pytest.raises(ValueError, match="frequency weights must be equal"):
        moment_covariance(SCORES, COUNTS.astype(float), cov_type="hac", bandwidth=2)
    with pytest.raises(ValueError, match="cov_type='HC3' is unknown"):
        moment_covariance(SCORES, cov_type="HC3")
    with pytest.raises(ValueError, match="kernel='boxcar' is unknown"):
        moment_covariance(SCORES, cov_type="hac", kernel="boxcar")
    with pytest.raises(ValueError, match="3 rows are too few"):
        hac_bandwidth(SCORES[:3])
    with pytest.raises(ValueError, match="the bandwidth 'silverman' is unknown"):
        hac_bandwidth(SCORES, rule="silverman")


def two_way_sample(seed=0, n=240, shape=(12, 9)):
    """One endogenous regressor; errors and instruments share parts with both ways."""
    rng = np.random.default_rng(seed)
    groups = np.column_stack([rng.integers(0, size, size=n) for size in shape])

    def shared():
        parts = (rng.normal(size=size)[way] for size, way in zip(shape, groups.T))
        return sum(parts) + rng.normal(size=n)

    z, other, u = shared(), rng.normal(size=n), shared()
    t = z + 0.5 * other + u
    y = 1 + 2 * t + u + rng.normal(size=n)
    return t[:, None], y, np.column_stack([z, other]), groups


@pytest.mark.parametrize("method", ["2sls", "liml"])
def test_two_ways_are_those_of_linearmodels(method):
    X, y, Z, groups = two_way_sample()
    weight = np.random.default_rng(1).uniform(0.5, 2.0, size=len(y))
    labels = np.column_stack([groups[:, 0] * 7 - 3, groups[:, 1] + 100])
    ours = LinearIV(method, debiased=True, fit_intercept=True).fit(
        X, y, instruments=Z, groups=labels, sample_weight=weight
    )
    oracle = {"2sls": IV2SLS, "liml": IVLIML}[method]
    theirs = oracle(y, np.ones((len(y), 1)), X, Z, weights=weight).fit(
        cov_type="clustered", clusters=labels, debiased=True
    )
    assert_allclose(ours.cov_, np.asarray(theirs.cov)[::-1, ::-1], rtol=1e-8)
    assert ours.result_.details["No. clusters"] == 9
    one_step = GMM(steps=1, fit_intercept=True).fit(
        X, y, instruments=Z, groups=labels, sample_weight=weight
    )
    if method == "2sls":  # G / (G - 1) is in both, n / (n - p) only there
        factor = (len(y) - 1) / (len(y) - 2)
        assert_allclose(factor * one_step.cov_, ours.cov_, rtol=1e-8)


def test_two_ways_are_sums_of_one_way():
    _, _, _, groups = two_way_sample()
    scores = np.random.default_rng(0).normal(size=(240, 3))

    def one_way(labels):
        labels = np.unique(labels, return_inverse=True)[1]
        return moment_covariance(scores, cov_type="cluster", groups=labels)

    both = [f"{a}/{b}" for a, b in groups]
    expected = one_way(groups[:, 0]) + one_way(groups[:, 1]) - one_way(both)
    found = moment_covariance(scores, cov_type="cluster", groups=groups)
    assert_allclose(found, expected, rtol=1e-10)
    same = moment_covariance(
        scores, cov_type="cluster", groups=np.column_stack([groups[:, 0]] * 2)
    )
    assert_allclose(same, one_way(groups[:, 0]), rtol=1e-10)


def test_two_step_weight_of_two_ways():
    X, y, Z, groups = two_way_sample(1, shape=(40, 30))
    fit = GMM(fit_intercept=True).fit(X, y, instruments=Z, groups=groups)
    first = GMM(steps=1, fit_intercept=True).fit(X, y, instruments=Z, groups=groups)
    residual = y - first.predict(X)
    moments = residual[:, None] * np.column_stack([Z, np.ones(len(y))])
    omega = moment_covariance(moments, cov_type="cluster", groups=groups)
    assert_allclose(fit.weight_matrix_, np.linalg.inv(omega), rtol=1e-7)


def test_negative_eigenvalues_become_zeros():
    cov = np.array([[2.0, -3.0], [-3.0, 2.0]])
    with pytest.warns(UserWarning, match="negative eigenvalues"):
        found = nonnegative(cov)
    assert_allclose(found, 2.5 * np.array([[1.0, -1.0], [-1.0, 1.0]]))
    units = np.array([1.0, 1e5])
    with pytest.warns(UserWarning, match="negative eigenvalues"):
        scaled = nonnegative(cov * np.outer(units, units))
    assert_allclose(scaled, found * np.outer(units, units))
    assert nonnegative(np.eye(2)).tolist() == np.eye(2).tolist()
    X, y, Z, groups = two_way_sample(2, n=40, shape=(2, 2))
    with pytest.warns(UserWarning, match="at least one way has too few clusters"):
        fit = LinearIV(fit_intercept=True).fit(X, y, instruments=Z, groups=groups)
    assert np.all(fit.se_ >= 0)


def test_what_takes_one_way_only():
    X, y, Z, groups = two_way_sample()
    fit = LinearIV(fit_intercept=True).fit(X, y, instruments=Z, groups=groups)
    with pytest.raises(ValueError, match="groups have two"):
        fit.conf_int(method="bootstrap")
    with pytest.raises(ValueError, match="groups have two"):
        fit.conditional_moment_test()
    for estimator in (GEL(), KernelIV()):
        with pytest.raises(ValueError, match=r"groups has shape \(240, 2\)"):
            estimator.fit(X, y, instruments=Z, groups=groups)
    with pytest.raises(ValueError, match=r"groups has shape \(240, 3\)"):
        LinearIV().fit(X, y, groups=np.column_stack([groups, groups[:, 0]]))
