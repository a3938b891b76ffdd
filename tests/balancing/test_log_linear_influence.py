"""The influence of log-linear weights is their derivative in the row weights."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from causalweights import IPMBalancer, WeightedEffect
from causalweights.balancing._log_linear import fit_log_linear
from causalweights.balancing._log_linear_influence import TiltedArm, tilt_model
from causalweights.kernels import Energy, Gaussian


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(80, 3))
    mine = Z[:, 0] + 0.5 * Z[:, 1] ** 2 + rng.normal(size=80) < 0.4
    return Z, mine, rng.uniform(0.5, 2.0, size=80), rng.normal(size=80)


def solve(kernel, Z, mine, s, whole, ridge, scaled):
    """The fit of the arm to all rows or to the others, as a function of s."""
    target = s.copy() if whole else np.where(mine, 0.0, s)
    target /= target.sum()
    share = s[mine].sum() / s.sum() if whole else 0.0
    relative = s / s[mine].mean() if scaled else s
    penalty = ridge / relative
    fit = fit_log_linear(
        kernel, Z[mine], Z, target, s[mine], penalty[mine], mixture=share, starts=2
    )
    arm = TiltedArm(kernel, Z, mine, s, target, fit.coef, float(share), penalty, scaled)
    return fit, arm


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("kernel", "ridge"), [(2.0 * Energy(), 0.0), (Gaussian(1.5), 0.05)]
)
def test_weighted_means_move_as_the_influence_says(
    kernel, ridge, whole, scaled, sample
):
    Z, mine, s, y = sample
    fit, arm = solve(kernel, Z, mine, s, whole, ridge, scaled)
    model = tilt_model(arm)
    masses = np.zeros(80)
    masses[mine] = fit.masses
    mean = masses @ y
    slope = (masses * (y - mean)) @ model.log_gradient
    phi = masses * (y - mean) + (model.influence + model.target_influence) @ slope
    assert not np.any(model.log_gradient[~mine])
    for k in (3, 20, 41, 66):
        means = []
        for sign in (1, -1):
            moved = s.copy()
            moved[k] *= np.exp(sign * 1e-4)
            means.append(solve(kernel, Z, mine, moved, whole, ridge, scaled)[0].masses)
        change = (means[0] - means[1]) @ y[mine] / 2e-4
        assert_allclose(phi[k], change, rtol=1e-4, atol=1e-7)


def test_target_rows_are_told_apart(sample):
    Z, mine, s, _ = sample
    _, arm = solve(Gaussian(1.5), Z, mine, s, False, 0.0, True)
    model = tilt_model(arm)
    assert not np.any(model.influence[~mine])
    assert not np.any(model.target_influence[mine])
    # Scaling all of the target's weights, or all of the source's, changes nothing.
    assert_allclose(model.target_influence.sum(axis=0), 0.0, atol=1e-12)
    assert_allclose(model.influence.sum(axis=0), 0.0, atol=1e-9)


def test_collinear_covariates_do_no_harm(sample):
    Z, mine, s, _ = sample
    both = np.column_stack([Z, Z[:, 0] - Z[:, 2]])
    for rows in (Z, both):
        _, arm = solve(Gaussian(1.5), rows, mine, s, True, 0.01, True)
        model = tilt_model(arm)
        # Three coefficients and the level, whatever the number of columns.
        assert model.log_gradient.shape == (80, 4)
        assert np.all(np.isfinite(model.influence))


@pytest.mark.parametrize("estimand", ["ate", "att"])
def test_m_estimation_is_the_derivative_of_the_effect(estimand, sample):
    """With scaling and bandwidth fixed the whole chain is differentiated."""
    Z, mine, _, y = sample
    a = (~mine).astype(int)
    effect = WeightedEffect(
        IPMBalancer(
            estimand=estimand, discriminator="gaussian", bandwidth=1.5, ridge=0.01,
            weight_model="loglinear", between_arms=False, standardize=False,
        ),
        outcome_model=None, se="m_estimation",
    )  # fmt: skip
    fit = clone(effect).fit(Z, y, treatment=a)
    for k in (0, 17, 44):
        values = []
        for sign in (1, -1):
            s = np.ones(80)
            s[k] = np.exp(sign * 1e-4)
            again = clone(effect).fit(Z, y, treatment=a, sample_weight=s)
            values.append(again.effect_)
        slope = (values[0] - values[1]) / 2e-4
        assert fit.influence_[k] / 80 == pytest.approx(slope, rel=1e-3, abs=1e-6)


def test_trained_weights_have_no_model(sample):
    Z, mine, _, y = sample
    preset = IPMBalancer.kong2023(estimand="att", weight_model="loglinear", epochs=30)
    effect = WeightedEffect(preset, outcome_model=None, se="m_estimation")
    with (
        pytest.warns(ConvergenceWarning),
        pytest.raises(ValueError, match="finitely many"),
    ):
        effect.fit(Z, y, treatment=(~mine).astype(int))
