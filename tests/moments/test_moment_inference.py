"""Influence on the estimates, beside their covariances and refits without a row."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from causalweights import GEL, GMM, MMR, KernelMoments, LinearIV
from causalweights.moments import moment_covariance

ESTIMATORS = {
    "2sls": LinearIV(fit_intercept=True),
    "liml": LinearIV("liml", fit_intercept=True),
    "k-class": LinearIV("k-class", k=0.5, fit_intercept=True),
    "one-step": GMM(steps=1, initial_weight="identity", fit_intercept=True),
    "two-step": GMM(fit_intercept=True),
    "gel": GEL(fit_intercept=True),
    "mmr": MMR(fit_intercept=True),
    "kernel": KernelMoments(lam=1e-3, n_components=20, fit_intercept=True),
    "held-out": KernelMoments(n_components=20, fit_intercept=True),
}


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(120, 3))
    u, e = rng.normal(size=(2, 120))
    t = Z @ [0.8, 0.4, 0.2] + u
    y = 1 + 2 * t + (u + e) * (1 + 0.5 * np.abs(Z[:, 0]))
    return {
        "X": t[:, None], "y": y, "instruments": Z,
        "sample_weight": rng.uniform(0.5, 2.0, size=120),
    }  # fmt: skip


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("clustered", [False, True])
def test_squares_of_influence_are_the_covariance(sample, name, clustered):
    groups = np.arange(120) // 4 if clustered else None
    fit = ESTIMATORS[name].fit(**sample, groups=groups)
    kind = "cluster" if clustered else "robust"
    squares = moment_covariance(fit._influence(), cov_type=kind, groups=groups)
    assert_allclose(squares / 120, fit.cov_, rtol=1e-6)


@pytest.mark.parametrize("name", ["2sls", "k-class", "two-step", "gel", "mmr"])
def test_influence_is_what_a_row_does(sample, name):
    """Its sign, too: a row that is counted a little more often moves the estimate."""
    plain = {key: sample[key] for key in ("X", "y", "instruments")}
    estimator = clone(ESTIMATORS[name]).set_params(weight_type="frequency")
    fit = estimator.fit(**plain)
    influence, theta = fit._influence(), fit.params_
    moved = []
    for i in range(10):
        more = np.ones(120)
        more[i] += 0.01
        again = estimator.fit(**plain, sample_weight=more)
        moved.append((again.params_ - theta) * 120.01 / 0.01)
    assert np.corrcoef(np.ravel(moved), np.ravel(influence[:10]))[0, 1] > 0.9
