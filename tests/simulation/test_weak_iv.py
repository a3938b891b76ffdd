"""Intervals under weak instruments: Anderson and Rubin's cover, Wald's do not."""

import numpy as np
import pytest

from causalweights import LinearIV

LEVEL = 0.95
TRUTH = 1.0


def coverages(reps, cov_type, strength, seed, n=250, q=4):
    """Return shares of replicates that cover: by AR and by Wald, and of rejecting F.

    One endogenous column whose error is correlated by 0.95 with the outcome's; both are
    heteroskedastic in the first instrument unless the covariance is unadjusted.
    """
    rng = np.random.default_rng(seed)
    covered = np.zeros((reps, 2))
    strong = np.zeros(reps)
    for r in range(reps):
        Z = rng.normal(size=(n, q))
        v, e = rng.normal(size=(2, n))
        u = 0.95 * v + np.sqrt(1 - 0.95**2) * e
        scale = 1.0 if cov_type == "unadjusted" else 0.4 + np.abs(Z[:, 0])
        D = strength / np.sqrt(n * q) * Z.sum(axis=1) + scale * v
        X = np.column_stack([D, np.ones(n)])
        fit = LinearIV(cov_type=cov_type).fit(
            X, TRUTH * D + 2.0 + scale * u, instruments=np.column_stack([Z, X[:, 1]])
        )
        low, high = fit.conf_int(LEVEL)[0]
        covered[r] = TRUTH in fit.anderson_rubin_set(LEVEL), low <= TRUTH <= high
        effective = fit.first_stage().effective_f
        strong[r] = effective.statistic > effective.critical[0.1]
    return *covered.mean(axis=0), strong.mean()


def monte_carlo_error(reps):
    return np.sqrt(LEVEL * (1 - LEVEL) / reps)


@pytest.mark.slow
@pytest.mark.parametrize("cov_type", ["unadjusted", "robust"])
@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_weak_instruments(cov_type, strength):
    reps = 500
    robust, wald, strong = coverages(reps, cov_type, strength, seed=7 + int(strength))
    # The S statistic's chi-squared law is one of large samples.
    assert robust == pytest.approx(LEVEL, abs=3 * monte_carlo_error(reps))
    assert wald < 0.6
    # The effective F says so: at most its level of these samples look strong.
    assert strong <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / reps)


@pytest.mark.slow
@pytest.mark.parametrize("cov_type", ["unadjusted", "robust"])
def test_strong_instruments(cov_type):
    reps = 500
    robust, wald, strong = coverages(reps, cov_type, 40.0, seed=8, n=800)
    assert robust == pytest.approx(LEVEL, abs=3 * monte_carlo_error(reps))
    assert wald == pytest.approx(LEVEL, abs=3 * monte_carlo_error(reps))
    assert strong == 1.0


def test_miniature():
    robust, wald, _ = coverages(40, "robust", 0.0, seed=1, n=100)
    assert robust >= 0.8 > wald
