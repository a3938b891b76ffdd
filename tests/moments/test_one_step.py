"""Learned optimal instruments: leave-one-out, their form, and the root's covariance."""

import numpy as np
import pytest

from causalweights.crossfit import make_folds
from causalweights.moments import MomentData
from causalweights.moments._gmm_covariance import CovarianceOptions
from causalweights.moments._kernel_moments import KernelMoments
from causalweights.moments._one_step import (
    _RIDGES,
    _smooth_enough,
    efficient_step,
    learned_instruments,
    ridge_predictions,
)
from causalweights.moments._profile import Restriction


def test_leave_one_out_errors_are_those_of_refits():
    rng = np.random.default_rng(0)
    B, w = rng.normal(size=(25, 4)), rng.uniform(0.5, 2.0, 25)
    y = (B[:, 0] + rng.normal(size=25))[:, None]
    share, ridge = w / w.sum(), _RIDGES[12]
    errors = np.empty(25)
    for i in range(25):
        kept = np.arange(25) != i
        s, X = share[kept], np.column_stack([B[kept], np.ones(24)])
        penalty = ridge * np.diag([1, 1, 1, 1, 0])
        coef = np.linalg.solve(X.T @ (s[:, None] * X) + penalty, X.T @ (s * y[kept, 0]))
        errors[i] = share[i] * (y[i, 0] - B[i] @ coef[:4] - coef[4]) ** 2
    seen = {}

    def spy(squares):
        seen["squares"] = squares
        return _smooth_enough(squares)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("causalweights.moments._one_step._smooth_enough", spy)
        ridge_predictions(B, y, w, B)
    np.testing.assert_allclose(seen["squares"][12, :, 0], errors, rtol=1e-9)


def test_predictions_stay_within_the_range_of_the_fit():
    rng = np.random.default_rng(0)
    B = rng.uniform(size=(50, 1))
    y = 3 * B + 0.01 * rng.normal(size=(50, 1))
    found = ridge_predictions(B, y, np.ones(50), np.array([[0.5], [100.0]]))
    assert found[0, 0] == pytest.approx(1.5, abs=0.1)
    assert found[1, 0] < 3.05


def test_instruments_are_slopes_over_variances():
    """Two correlated residuals whose scales depend on z: known D and V."""
    rng = np.random.default_rng(0)
    n = 4000
    z = rng.uniform(-1, 1, n)
    features = np.column_stack([z, z**2, z**3])
    scale = np.column_stack([np.exp(z), np.exp(-0.5 * z)])
    root = np.array([[1.0, 0.0], [0.6, 0.8]])
    residual = scale * (rng.normal(size=(n, 2)) @ root.T)
    slopes = np.stack([np.column_stack([z, 0 * z + 1]), np.column_stack([z**2, z])], 1)
    jacobian = slopes + 0.5 * rng.normal(size=(n, 2, 2))
    folds = make_folds(5, n, random_state=0)
    found = learned_instruments(residual, jacobian, features, np.full(n, 1 / n), folds)
    V = scale[:, :, None] * (root @ root.T) * scale[:, None, :]
    expected = np.einsum("nrp,nrs->nps", slopes, np.linalg.inv(V))
    difference = np.abs(found - expected).mean() / np.abs(expected).mean()
    assert difference < 0.15


def test_root_and_its_covariance():
    rng = np.random.default_rng(0)
    n = 300
    t = np.exp(rng.uniform(-1.5, 1.5, n))
    y = 1.7 * t + t**2 * rng.normal(size=n)
    model = KernelMoments(lam=1e-3, one_step=True, random_state=0).fit(t[:, None], y)
    first = KernelMoments(lam=1e-3, random_state=0).fit(t[:, None], y)
    assert model.objective_ == first.objective_  # of the fit before the step
    weights = {}

    def spy(*arguments):
        weights["D"] = learned_instruments(*arguments)
        return weights["D"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("causalweights.moments._one_step.learned_instruments", spy)
        model.fit(t[:, None], y)
    D = weights["D"][:, 0, 0]
    theta = (D @ y) / (D @ t)
    assert model.params_[0] == pytest.approx(theta, rel=1e-9)
    se = np.sqrt(np.sum((D * (y - theta * t)) ** 2)) / abs(D @ t)
    assert model.se_[0] == pytest.approx(se, rel=1e-8)


def test_options_reach_the_covariance():
    rng = np.random.default_rng(1)
    t, groups = rng.uniform(1, 2, 60), np.repeat(np.arange(20), 3)
    y = t + np.repeat(rng.normal(size=20), 3)
    clustered = KernelMoments(lam=1e-2, one_step=True, cv=3)
    clustered.fit(t[:, None], y, groups=groups)
    assert clustered.se_[0] > 0
    plain = KernelMoments(lam=1e-2, one_step=True, cv=3).fit(t[:, None], y)
    assert clustered.se_[0] > 1.2 * plain.se_[0]


@pytest.mark.parametrize("start", [0.1, 4.0, 30.0])
def test_steps_that_diverge_are_shortened(start):
    """Newton's steps for an arc tangent leave where it is flat; it has one root."""
    n = 80
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(n, 1)), rng.normal(size=n)
    data = MomentData(
        z, y, z, np.ones(n), "sampling", None, ["z"], ["z"], np.ones(n, dtype=bool)
    )
    restriction = Restriction(
        lambda theta: np.arctan(theta[0] - y)[:, None],
        lambda theta: (1 / (1 + (theta[0] - y) ** 2))[:, None, None],
        np.ones((n, 1)),
    )
    folds = make_folds(4, n, random_state=0)
    given = np.array([start]), data, folds, CovarianceOptions()
    found = efficient_step(restriction, np.column_stack([z, z**2]), *given)
    assert found.converged and abs(found.theta[0]) < 0.5
    stopped = efficient_step(restriction, z, *given, max_iter=1)
    assert not stopped.converged and np.all(np.isfinite(stopped.theta))
