"""Losses, scores and policy values against their formulas and scikit-learn."""

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.metrics import mean_squared_error, r2_score

from causalweights.cate import (
    average_effect,
    dr_loss,
    dr_score,
    policy_value,
    r_loss,
    r_score,
)


@pytest.fixture
def residuals(contrast):
    """Return the nuisances of the R form, and both residuals."""
    y, _, v = contrast
    pi = v["propensity"]
    eta = pi * v["mean_1"] + (1 - pi) * v["mean_0"]
    kept = {"treatment": v["treatment"], "propensity": pi, "mean": eta}
    return kept, y - eta, v["treatment"] - pi


def test_r_loss_is_its_formula(contrast, residuals, rng):
    y, g, _ = contrast
    v, outcome, rest = residuals
    s = rng.uniform(0, 2, len(y))
    expected = np.average((outcome - rest * g) ** 2, weights=s)
    assert r_loss(y, g, **v, sample_weight=s) == pytest.approx(expected, abs=1e-12)
    assert r_loss(y, g, **v) == pytest.approx(np.mean((outcome - rest * g) ** 2))


def test_r_score_is_the_weighted_r2_of_residual_ratios(contrast, residuals, rng):
    y, g, _ = contrast
    v, outcome, rest = residuals
    s = rng.uniform(0, 2, len(y))
    f, w = outcome / rest, s * rest**2
    best = np.average(f, weights=w)
    worst, loss = (np.sum(w * (f - c) ** 2) for c in (best, g))
    constant = np.sum(s * (outcome - rest * best) ** 2)
    assert worst == pytest.approx(constant)
    ours = r_score(y, g, **v, sample_weight=s)
    assert ours == pytest.approx(1 - loss / worst, abs=1e-12)
    assert ours == pytest.approx(r2_score(f, g, sample_weight=w), abs=1e-10)
    level = np.full(len(y), best)
    assert r_score(y, level, **v, sample_weight=s) == pytest.approx(0, abs=1e-12)


def test_r_loss_leaves_other_arms_out(contrast, residuals):
    y, g, _ = contrast
    v, _, _ = residuals
    third = np.arange(len(y)) % 3 == 0
    pi = v["propensity"]
    ours = r_loss(
        y, g, treatment=np.where(third, np.nan, v["treatment"]), propensity=0.6 * pi,
        complement=0.6 * (1 - pi), mean=v["mean"],
    )  # fmt: skip
    pair = {name: values[~third] for name, values in v.items()}
    assert ours == pytest.approx(r_loss(y[~third], g[~third], **pair), abs=1e-12)


def test_dr_loss_and_score(contrast, pseudo_outcome, rng):
    y, g, v = contrast
    s, f = rng.uniform(0, 2, len(y)), pseudo_outcome
    loss = mean_squared_error(f, g, sample_weight=s)
    assert dr_loss(y, g, **v, sample_weight=s) == pytest.approx(loss, abs=1e-12)
    score = r2_score(f, g, sample_weight=s)
    assert dr_score(y, g, **v, sample_weight=s) == pytest.approx(score, abs=1e-12)


def test_inverse_variance_weights(contrast, pseudo_outcome, rng):
    y, g, v = contrast
    s, f = rng.uniform(0, 2, len(y)), pseudo_outcome
    nu = v["propensity"] * (1 - v["propensity"])
    options = {"sample_weight": s, "weights": "ivw"}
    expected = np.average(nu * (f - g) ** 2, weights=s)
    assert dr_loss(y, g, **v, **options) == pytest.approx(expected, abs=1e-12)
    score = r2_score(f, g, sample_weight=s * nu)
    assert dr_score(y, g, **v, **options) == pytest.approx(score, abs=1e-12)


def test_at_one_half_the_losses_rank_alike(contrast, rng):
    # f_U = f_DR: the R-loss is a quarter of the DR-loss.
    y, g, v = contrast
    v = v | {"propensity": np.full(len(y), 0.5)}
    mean = (v["mean_0"] + v["mean_1"]) / 2
    r = r_loss(y, g, treatment=v["treatment"], propensity=v["propensity"], mean=mean)
    assert r == pytest.approx(dr_loss(y, g, **v) / 4, abs=1e-12)
    assert r == pytest.approx(dr_loss(y, g, **v, weights="ivw"), abs=1e-12)


def test_policies(contrast, pseudo_outcome, rng):
    y, g, v = contrast
    f, d = pseudo_outcome, (g > 0).astype(float)
    ate = average_effect(y, **v)
    everyone = policy_value(y, np.ones(len(y)), **v)
    assert everyone.effect == pytest.approx(ate.effect, abs=1e-14)
    assert everyone.se == pytest.approx(ate.se, abs=1e-14)
    nobody = policy_value(y, np.zeros(len(y)), **v)
    assert (nobody.effect, nobody.se) == (0, 0)
    random = policy_value(y, d, **v, baseline=0.5)
    assert random.effect == pytest.approx(np.mean(f * (2 * d - 1)) / 2, abs=1e-12)
    ours = policy_value(y, d, **v)
    theirs = sm.OLS(f * d, np.ones(len(f))).fit(cov_type="HC0")
    assert ours.effect == pytest.approx(theirs.params[0], abs=1e-12)
    assert ours.se == pytest.approx(theirs.bse[0], abs=1e-12)
    loss = policy_value(y, d, **v, baseline=1.0)
    assert ours.effect - loss.effect == pytest.approx(ate.effect, abs=1e-12)


def test_policy_frequencies_are_copies(contrast, replicated):
    y, g, v = contrast
    counts, (y_copies, g_copies, v_copies) = replicated
    ours = policy_value(y, g > 0, **v, frequency=counts)
    full = policy_value(y_copies, g_copies > 0, **v_copies)
    assert (ours.effect, ours.se) == pytest.approx((full.effect, full.se), abs=1e-12)


def test_bad_input(contrast, residuals):
    y, g, v = contrast
    with pytest.raises(ValueError, match="'uniform' or 'ivw'"):
        dr_loss(y, g, **v, weights="r")
    with pytest.raises(ValueError, match="effects must hold"):
        dr_score(y, g[1:], **v)
    with pytest.raises(ValueError, match="effects must hold"):
        r_loss(y, g[:, None], **residuals[0])
    with pytest.raises(ValueError, match="between 0 and 1"):
        policy_value(y, g, **v)
    with pytest.raises(ValueError, match="between 0 and 1"):
        policy_value(y, g > 0, **v, baseline=2.0)
