"""Percentile-t intervals of moment estimators, beside loops and closed forms."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm

from causalweights import GEL, GMM, MMR, KernelMoments, LinearIV
from causalweights.moments import MomentModel, PoissonMoment
from causalweights.moments._moment_bootstrap import (
    RecenteredModel,
    Units,
    bootstrap_t,
    explained_residual,
    percentile_t,
)

# Estimates stop at steps of 1e-7 standard errors.
CONVERGED = 1e-6
# Binomial standard errors of a simulated coverage that a test allows.
MONTE_CARLO = 3.0


class Mean(MomentModel):
    """The mean of y: exactly identified."""

    conditional = False

    def residual(self, theta, data):
        return (data.y - theta[0])[:, None]

    def start(self, data):
        return np.array([data.y.mean()])


def sample(seed=0, n=120):
    """One endogenous regressor of three instruments, of which one is weak."""
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n, 3))
    u, e = rng.normal(size=(2, n))
    t = Z @ [0.8, 0.4, 0.1] + u
    y = 1 + 2 * t + (u + e) * (1 + 0.5 * np.abs(Z[:, 0]))
    return {"X": t[:, None], "y": y, "instruments": Z}


def draws_of(data, seed, n_boot):
    """Return the rows of each bootstrap sample, as documented: one stream each."""
    first = int(np.random.RandomState(seed).randint(np.iinfo(np.int32).max))
    units = Units.of(data)
    return [
        units.draw(
            data,
            np.random.default_rng(np.random.SeedSequence(first, spawn_key=(r,))),
        )[1]
        for r in range(n_boot)
    ]


def test_mean_is_the_closed_form():
    y = np.random.default_rng(0).exponential(size=50)
    fit = GMM(Mean()).fit(np.ones((50, 1)), y)
    t = []
    for rows in draws_of(fit._sample, 3, 59):
        t.append((y[rows].mean() - y.mean()) / (y[rows].std() / np.sqrt(50)))
    quantile = np.quantile(np.abs(t), 0.9, method="weibull")
    expected = y.mean() + np.array([-1, 1]) * quantile * y.std() / np.sqrt(50)
    found = fit.conf_int(0.9, "bootstrap", n_boot=59, random_state=3)
    assert_allclose(found, expected[None], rtol=CONVERGED)
    for other in (GEL(Mean()), LinearIV()):
        fit = other.fit(np.ones((50, 1)), y)
        interval = fit.conf_int(0.9, "bootstrap", n_boot=59, random_state=3)
        assert_allclose(interval, found, rtol=CONVERGED)


@pytest.mark.parametrize(
    "make",
    [
        LinearIV,
        lambda **o: LinearIV("liml", **o),
        GMM,
        lambda **o: GMM(steps="cue", n_starts=1, **o),
    ],
    ids=["2sls", "liml", "gmm", "cue"],
)
def test_draws_are_fits_of_recentred_samples(make):
    """The outcome less what the instruments explain of its residual, fitted again."""
    data = sample()
    fit = make(fit_intercept=True).fit(**data)
    Z = np.column_stack([data["instruments"], np.ones(len(data["y"]))])
    residual = data["y"] - fit.predict(data["X"])
    y = data["y"] - Z @ np.linalg.solve(Z.T @ Z, Z.T @ residual)
    t = []
    for rows in draws_of(fit._sample, 0, 20):
        again = make(fit_intercept=True).fit(
            data["X"][rows], y[rows], instruments=data["instruments"][rows]
        )
        t.append((again.params_ - fit.params_) / again.se_)
    t = np.array(t)
    half = np.quantile(np.abs(t), 0.5, axis=0, method="weibull") * fit.se_
    expected = np.column_stack([fit.params_ - half, fit.params_ + half])
    found = fit.conf_int(0.5, "bootstrap", n_boot=20)
    assert_allclose(found, expected, rtol=CONVERGED)


def test_recentred_moments_vanish_at_the_estimate():
    data = sample(1)
    weight = np.random.default_rng(0).uniform(0.5, 2.0, size=120)
    for options in ({}, {"weight_type": "frequency"}):
        fit = GMM(fit_intercept=True, **options).fit(**data, sample_weight=weight)
        own, theta = fit._sample, fit.params_
        residual = fit.moment_.residual(theta, own)
        shift = explained_residual(residual, own.Z, own.sample_weight)
        model = RecenteredModel(fit.moment_, shift, theta)
        before = own.sample_weight @ fit.moment_.psi(theta, own)
        after = own.sample_weight @ model.psi(theta, own)
        assert np.max(np.abs(after)) < 1e-10 < 1e-2 < np.max(np.abs(before))
        assert_array_equal(model.residual_jac(theta, own)[:, 0, -1], -1.0)


def test_same_seed_same_bits_in_any_number_of_processes():
    fit = LinearIV(fit_intercept=True).fit(**sample(2))
    one = fit.conf_int(method="bootstrap", n_boot=60)
    assert_array_equal(fit.conf_int(method="bootstrap", n_boot=60, n_jobs=2), one)
    assert_array_equal(fit.conf_int(method="bootstrap", n_boot=60, random_state=0), one)
    other = fit.conf_int(method="bootstrap", n_boot=60, random_state=1)
    assert np.all(other != one)


def test_clusters_are_drawn_whole():
    data = sample(3)
    groups = np.repeat(np.arange(24), 5)[np.random.default_rng(0).permutation(120)]
    fit = GMM(fit_intercept=True).fit(**data, groups=groups)
    drawn, rows = Units.of(fit._sample).draw(fit._sample, np.random.default_rng(0))
    labels, counts = np.unique(groups[rows], return_counts=True)
    assert len(labels) < 24
    assert np.all(counts % 5 == 0)
    # A cluster that is drawn twice is two: of one old label, five rows each.
    assert_array_equal(np.unique(drawn.groups, return_counts=True)[1], np.full(24, 5))
    for g in range(24):
        assert len(np.unique(groups[rows[drawn.groups == g]])) == 1
    # One row a cluster is no clusters but for the factor of the covariance.
    alone = GMM(fit_intercept=True).fit(**data)
    each = GMM(fit_intercept=True).fit(**data, groups=np.arange(120))
    assert_allclose(
        each.conf_int(method="bootstrap", n_boot=60),
        alone.conf_int(method="bootstrap", n_boot=60), rtol=1e-6,
    )  # fmt: skip


def test_frequency_weights_are_rows():
    data, counts = sample(4), np.random.default_rng(0).integers(0, 3, size=120)
    rows = np.repeat(np.arange(120), counts)
    counted = LinearIV(fit_intercept=True, weight_type="frequency").fit(
        **data, sample_weight=counts
    )
    repeated = LinearIV(fit_intercept=True).fit(
        data["X"][rows], data["y"][rows], instruments=data["instruments"][rows]
    )
    assert_allclose(
        counted.conf_int(method="bootstrap", n_boot=40),
        repeated.conf_int(method="bootstrap", n_boot=40), rtol=1e-8,
    )  # fmt: skip
    halves = LinearIV(weight_type="frequency").fit(**data, sample_weight=counts + 0.5)
    with pytest.raises(ValueError, match="must be whole numbers"):
        halves.conf_int(method="bootstrap")


class PoissonMean(MomentModel):
    """Mean and variance are one number: overidentified."""

    conditional = False

    def residual(self, theta, data):
        error = data.y - theta[0]
        return np.column_stack([error, error**2 - theta[0]])

    def start(self, data):
        return np.array([data.y.mean()])


@pytest.mark.parametrize("weighted", [False, True])
def test_kernel_estimators_recentre_their_moments(weighted):
    """Two-step GMM subtracts means of residuals, and its limit those of moments."""
    rng = np.random.default_rng(8)
    y = rng.poisson(9.0, size=100)
    weight = rng.uniform(0.5, 2.0, size=100) if weighted else None
    gmm, gel = (
        estimator.fit(np.ones((100, 1)), y, sample_weight=weight)
        for estimator in (
            GMM(PoissonMean(), steps="cue", center=True),
            GEL(PoissonMean(), divergence="chi2"),
        )
    )
    shift = gmm._shift()
    assert np.max(np.abs(shift)) > 0.2
    theirs, ours = gmm._refit(), gel._refit()
    for rows in draws_of(gmm._sample, 0, 5):
        model = RecenteredModel(gmm.moment_, shift[rows], gmm.params_)
        drawn = gmm._sample.take(rows)
        theta, cov = theirs(model, drawn)
        found, found_cov = ours(gel.moment_, drawn)
        assert_allclose(found, theta, rtol=CONVERGED)
        assert_allclose(found_cov, cov, rtol=CONVERGED)


@pytest.mark.parametrize(
    "estimator",
    [MMR(fit_intercept=True), KernelMoments(fit_intercept=True, n_components=20)],
    ids=["mmr", "kernel"],
)
def test_kernel_estimators_hold_their_features(estimator):
    data = sample(5, n=80)
    fit = estimator.fit(**data)
    refit = fit._refit()
    theta, cov = refit(fit.moment_, fit._sample)
    assert_allclose(theta, fit.params_, rtol=1e-6)
    assert np.all(np.linalg.eigvalsh(cov) > 0)
    wald, found = fit.conf_int(), fit.conf_int(method="bootstrap", n_boot=40)
    assert_allclose(found.mean(axis=1), fit.params_, atol=2 * np.max(fit.se_))
    length = np.ptp(found, axis=1) / np.ptp(wald, axis=1)
    assert np.all((0.5 < length) & (length < 2))


def test_nonlinear_models():
    rng = np.random.default_rng(6)
    x = rng.normal(size=150)
    y = rng.poisson(np.exp(0.5 + 0.4 * x))
    fit = GMM(PoissonMoment(), fit_intercept=True).fit(x[:, None], y)
    found = fit.conf_int(method="bootstrap", n_boot=100)
    assert_allclose(found, fit.conf_int(), atol=0.5 * np.max(fit.se_))


def test_failures_are_counted():
    fit = GMM(Mean()).fit(np.ones((30, 1)), np.random.default_rng(0).normal(size=30))
    calls = []

    def refit(model, data, share):
        calls.append(1)
        if len(calls) % share == 0:
            raise ValueError("this one.")
        return fit.params_ + 1, fit.cov_

    args = (Mean(), fit._sample, fit.params_, None)
    kept = bootstrap_t(lambda m, d: refit(m, d, 25), *args, n_boot=50)
    assert_allclose(kept, np.full((48, 1), 1 / fit.se_[0]))
    with pytest.raises(ValueError, match=r"5 of 50 .* First reason: this one"):
        bootstrap_t(lambda m, d: refit(m, d, 10), *args, n_boot=50)
    constant = GMM(Mean()).fit(np.ones((30, 1)), np.arange(30) == 0)
    with pytest.raises(ValueError, match="First reason: a standard error is zero"):
        constant.conf_int(method="bootstrap", n_boot=40)


def test_normal_draws_give_the_normal_interval():
    q = norm.ppf(np.arange(1, 2000) / 2000)[:, None]
    found = percentile_t(np.array([1.0]), np.array([2.0]), q, 0.95)
    assert_allclose(found, [[1 - 3.92, 1 + 3.92]], atol=1e-3)


def test_refusals():
    data = sample(7)
    with pytest.raises(ValueError, match="cov_type='hac'"):
        LinearIV(cov_type="hac").fit(**data).conf_int(method="bootstrap")
    fit = GMM().fit(**data)
    with pytest.raises(ValueError, match="n_boot must be"):
        fit.conf_int(method="bootstrap", n_boot=0)
    with pytest.raises(ValueError, match="method='bca' is unknown"):
        fit.conf_int(method="bca")
    with pytest.raises(ValueError, match="'wald', 'bootstrap' or 'ar'"):
        LinearIV().fit(**data).conf_int(method="profile")
    with pytest.raises(ValueError, match="level must lie"):
        fit.conf_int(95, "bootstrap")
    one_step = KernelMoments(one_step=True, lam=1e-3).fit(**data)
    with pytest.raises(ValueError, match="bootstrap is not offered with one_step"):
        one_step.conf_int(method="bootstrap")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["wald", "bootstrap"])
def test_coverage_of_skewed_means(method):
    """Lognormal variance: normal intervals cover too little, percentile-t enough."""
    hits = []
    for seed in range(300):
        y = np.random.default_rng(seed).lognormal(sigma=0.8, size=40)
        fit = LinearIV().fit(np.ones((40, 1)), y)
        low, high = fit.conf_int(0.95, method, n_boot=199)[0]
        hits.append(low < np.exp(0.32) < high)
    error = MONTE_CARLO * np.sqrt(0.95 * 0.05 / 300)
    if method == "wald":
        assert np.mean(hits) < 0.93
    else:
        assert abs(np.mean(hits) - 0.95) < error


@pytest.mark.slow
@pytest.mark.parametrize("make", [LinearIV, GMM, GEL])
def test_coverage(make):
    hits = []
    for seed in range(200):
        fit = make(fit_intercept=True).fit(**sample(seed, n=100))
        low, high = fit.conf_int(method="bootstrap", n_boot=199)[0]
        hits.append(low < 2 < high)
    assert abs(np.mean(hits) - 0.95) < MONTE_CARLO * np.sqrt(0.95 * 0.05 / 200)


@pytest.mark.slow
def test_coverage_with_a_given_small_penalty():
    """Sixty functions of the instruments fit 100 rows: normal intervals are short."""
    hits = []
    for seed in range(100):
        fit = KernelMoments(lam=1e-3, n_components=30, fit_intercept=True)
        fit.fit(**sample(seed, n=100))
        intervals = (fit.conf_int(), fit.conf_int(method="bootstrap", n_boot=99))
        hits.append([low < 2 < high for (low, high), *_ in intervals])
    wald, bootstrap = np.mean(hits, axis=0)
    # 0.58 and 0.90 in 40 samples.
    assert wald < 0.75
    assert bootstrap > 0.82
