"""Intervals by profiles, beside grids of the criterion and statsmodels' likelihoods."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.stats import chi2
from sklearn.exceptions import ConvergenceWarning

from causalweights import GEL, GMM, KernelMoments
from causalweights.moments import MeanVariance, PoissonMoment
from causalweights.moments._profile import Evaluation
from causalweights.moments._profile_interval import profile_interval

# What statsmodels' root finder leaves.
THEIRS = 1e-4
MONTE_CARLO = 3.0


def sample(seed=0, n=150, strength=0.8):
    """One endogenous regressor, three instruments, a constant."""
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n, 3))
    u, e = rng.normal(size=(2, n))
    t = strength * Z @ [1.0, 0.5, 0.2] + u
    y = 1 + 2 * t + (u + e) * (1 + 0.5 * np.abs(Z[:, 0]))
    return {"X": t[:, None], "y": y, "instruments": Z}


def moments_of(data):
    """Return the moments (n, 4) of slope and constant as a function of both."""
    Z = np.column_stack([data["instruments"], np.ones(len(data["y"]))])
    return lambda theta: (
        (data["y"] - theta[0] * data["X"][:, 0] - theta[1])[:, None] * Z
    )


def continuous_updating(data):
    moments, n = moments_of(data), len(data["y"])

    def criterion(theta):
        m = moments(theta)
        mean = m.mean(axis=0)
        return n * mean @ np.linalg.solve(m.T @ m / n, mean)

    return criterion


def tilting(data):
    """Return twice n times the tilting divergence at the closest weights."""
    moments, n = moments_of(data), len(data["y"])

    def criterion(theta):
        m = moments(theta)

        def log_mean(b):
            v = m @ b
            p = np.exp(v - v.max())
            return np.log(p.mean()) + v.max(), (p @ m) / p.sum()

        found = minimize(log_mean, np.zeros(4), jac=True, method="BFGS", tol=1e-10)
        return -2 * n * found.fun

    return criterion


@pytest.mark.parametrize(
    ("estimator", "oracle"),
    [(GMM(steps="cue", fit_intercept=True), continuous_updating),
     (GEL(fit_intercept=True), tilting)],
    ids=["cue", "tilting"],
)  # fmt: skip
def test_ends_are_where_the_profile_crosses_the_bound(estimator, oracle):
    data = sample()
    fit = estimator.fit(**data)
    criterion = oracle(data)
    least = criterion(fit.params_)
    found = fit.conf_int(0.9, "profile")
    assert found.shape == (2, 2)
    for k in range(2):
        for end in found[k]:

            def rest(value, k=k, end=end):
                return criterion(np.insert(value, k, end))

            profile = minimize(rest, fit.params_[1 - k], method="Nelder-Mead",
                               options={"xatol": 1e-9, "fatol": 1e-11}).fun  # fmt: skip
            assert profile - least == pytest.approx(chi2.ppf(0.9, 1), abs=1e-5)
    # All values between are kept.
    for t in np.linspace(*found[0], 9)[1:-1]:
        best = min(criterion([t, c]) for c in np.linspace(0.4, 1.6, 121))
        assert best - least < chi2.ppf(0.9, 1)
    assert np.all(found[:, 0] < fit.params_)
    assert np.all(fit.params_ < found[:, 1])


@pytest.mark.parametrize("n", [12, 60])
def test_mean_is_owens(n):
    y = np.random.default_rng(n).exponential(size=n)
    fit = GEL(divergence="log").fit(np.ones((n, 1)), y)
    theirs = sm.emplike.DescStat(y)
    for level in (0.9, 0.95):
        found = fit.conf_int(level, "profile")[0]
        expected = theirs.ci_mean(sig=1 - level)
        assert_allclose(found, np.sort(expected), atol=THEIRS)


def test_variance_is_owens():
    y = np.random.default_rng(0).gamma(2.0, size=50)
    fit = GEL(MeanVariance(), divergence="log").fit(np.ones((50, 1)), y)
    found = fit.conf_int(0.9, "profile")[1]
    expected = sm.emplike.DescStat(y).ci_var(sig=0.1)
    assert_allclose(found, np.sort(expected), rtol=1e-3)


def test_frequency_weights_are_rows_and_units_scale():
    data, counts = sample(1), np.random.default_rng(0).integers(1, 3, size=150)
    rows = np.repeat(np.arange(150), counts)
    for make in (GEL, lambda **o: GMM(steps="cue", **o)):
        counted = make(weight_type="frequency").fit(**data, sample_weight=counts)
        repeated = make().fit(
            data["X"][rows], 10 * data["y"][rows],
            instruments=data["instruments"][rows] * [1.0, 1e3, 1e-3],
        )  # fmt: skip
        assert_allclose(
            10 * counted.conf_int(method="profile"),
            repeated.conf_int(method="profile"), rtol=1e-5,
        )  # fmt: skip


def test_kernel_moments_without_kernels_are_gel():
    data = sample(2)
    plain = GEL().fit(**data).conf_int(method="profile")
    limit = KernelMoments(instrument_features="linear", kappa=np.inf, lam=0.0)
    assert_allclose(limit.fit(**data).conf_int(method="profile"), plain, rtol=1e-6)


def test_clusters_and_time_enter_continuous_updating():
    data, groups = sample(3), np.arange(150) // 3
    for options, extra in (
        ({"cov_type": "hac", "hac_bandwidth": 2}, {}),
        ({}, {"groups": groups}),
    ):
        fit = GMM(steps="cue", **options).fit(**data, **extra)
        found = fit.conf_int(method="profile")
        assert_allclose(found, fit.conf_int(), atol=1.5 * fit.se_[0])
        plain = GMM(steps="cue").fit(**data).conf_int(method="profile")
        assert np.all(np.abs(found - plain) > 1e-3)


def test_weak_instruments_leave_it_open():
    data = sample(4, n=80, strength=0.03)
    fit = GMM(steps="cue").fit(**data)
    found = fit.conf_int(method="profile")[0]
    assert np.any(np.isinf(found))
    assert found[0] < fit.params_[0] < found[1]


def test_nonlinear_model():
    rng = np.random.default_rng(5)
    x = rng.normal(size=200)
    y = rng.poisson(np.exp(0.5 + 0.4 * x))
    fit = GEL(PoissonMoment(), fit_intercept=True).fit(x[:, None], y)
    found = fit.conf_int(method="profile")
    assert_allclose(found, fit.conf_int(), atol=0.3 * np.max(fit.se_))


def test_an_end_beyond_the_hull_is_found():
    """All weights on one side of zero: the criterion is infinite there."""
    y = np.array([0.0, 1.0, 1.0, 2.0, 9.0])
    fit = GEL(divergence="log").fit(np.ones((5, 1)), y)
    low, high = fit.conf_int(0.999, "profile")[0]
    assert 0.0 < low < fit.params_[0] < high < 9.0


def test_quadratic_criterion_gives_the_normal_interval():
    H = np.array([[3.0, 1.0], [1.0, 2.0]])
    center = np.array([1.0, -2.0])

    def objective(theta, near):
        gap = theta - center
        return Evaluation(0.5 * gap @ H @ gap, H @ gap, H, H, 1e-3)

    se = np.sqrt(np.diagonal(np.linalg.inv(H)) / 50)
    for k in range(2):
        found = profile_interval(objective, center, se, k, 50.0, 0.95)
        assert_allclose(found, center[k] + np.array([-1, 1]) * 1.959964 * se[k])

    def creeping(theta, near):
        at = objective(theta, near)
        steep = 1e4 * np.diag(np.diagonal(H))
        return replace(at, hessian=steep, gauss_newton=steep)

    with pytest.warns(ConvergenceWarning, match="the profile of parameter 1"):
        short = profile_interval(creeping, center, se, 1, 50.0, 0.95)
    assert center[1] < short[1] < found[1]


def test_refusals():
    data = sample(6)
    with pytest.raises(ValueError, match=r"\(GEL\), or GMM with steps='cue'"):
        GMM().fit(**data).conf_int(method="profile")
    with pytest.raises(ValueError, match="with kappa=inf, lam=0"):
        KernelMoments(lam=1e-3).fit(**data).conf_int(method="profile")
    clustered = GEL().fit(**data, groups=np.arange(150) // 3)
    with pytest.raises(ValueError, match="fit without groups"):
        clustered.conf_int(method="profile")
    with pytest.raises(ValueError, match="with cov_type='robust'"):
        GEL(cov_type="unadjusted").fit(**data).conf_int(method="profile")


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator", [GEL(divergence="log"), GEL(), GMM(steps="cue")],
    ids=["likelihood", "tilting", "cue"],
)  # fmt: skip
def test_coverage(estimator):
    hits = []
    for seed in range(300):
        fit = estimator.set_params(fit_intercept=True).fit(**sample(seed, n=200))
        low, high = fit.conf_int(method="profile")[0]
        hits.append(low < 2 < high)
    # Beside Monte Carlo's, an error of order 1 / n.
    error = MONTE_CARLO * np.sqrt(0.95 * 0.05 / 300) + 0.01
    assert abs(np.mean(hits) - 0.95) < error


def test_other_parameters_move_along():
    # Many exogenous columns that the regressor goes with: away from the estimate no
    # weights meet the moments unless their coefficients move as well.
    rng = np.random.default_rng(4)
    n = 200
    W = rng.normal(size=(n, 12))
    z, (u, e) = rng.normal(size=(n, 2)), rng.normal(size=(2, n))
    t = 30 * W.sum(axis=1) + 0.2 * z.sum(axis=1) + u
    y = W @ rng.normal(size=12) + t + u + e
    Z = np.column_stack([z, W])
    fitted = GEL(divergence="log").fit(np.column_stack([t, W]), y, instruments=Z)
    for end in fitted.conf_int(method="profile")[0]:
        held = GEL(divergence="log").fit(W, y - end * t, instruments=Z)
        rise = 2 * n * (held.objective_ - fitted.objective_)
        assert_allclose(rise, chi2.ppf(0.95, 1), rtol=1e-5)
