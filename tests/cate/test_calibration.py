"""Calibration: exact cases, statsmodels, and the level of the heterogeneity test."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import norm

from causalweights.cate import calibration_curve, calibration_test, gates


@pytest.fixture
def exact(contrast):
    """Return noise-free outcomes, their effects, and the true nuisances."""
    _, _, v = contrast
    y = np.where(v["treatment"] == 1, v["mean_1"], v["mean_0"])
    return y, v["mean_1"] - v["mean_0"], v


def test_perfect_predictions_have_coefficients_one(exact):
    y, tau, v = exact
    assert np.allclose(calibration_test(y, tau, **v).effect, 1, atol=1e-12)
    dr = calibration_test(y, tau, **v, form="dr").effect
    assert np.allclose(dr, [tau.mean(), 1], atol=1e-12)
    # Twice too spread around the right mean.
    wide = tau.mean() + 2 * (tau - tau.mean())
    assert np.allclose(calibration_test(y, wide, **v).effect, [1, 0.5], atol=1e-12)
    assert np.allclose(calibration_test(y, 2 * tau, **v).effect, 0.5, atol=1e-12)


def regression(contrast, f, form, s=None):
    """Return the test's response and design."""
    y, g, v = contrast
    spread = g - np.average(g, weights=s)
    if form == "dr":
        return f, np.column_stack([np.ones(len(y)), spread])
    rest = v["treatment"] - v["propensity"]
    eta = v["propensity"] * v["mean_1"] + (1 - v["propensity"]) * v["mean_0"]
    return y - eta, rest[:, None] * np.column_stack([g - spread, spread])


@pytest.mark.parametrize("form", ["r", "dr"])
def test_equals_statsmodels(contrast, pseudo_outcome, form, rng):
    y, g, v = contrast
    s, groups = rng.uniform(0.5, 2, len(y)), rng.integers(0, 20, len(y))
    response, D = regression(contrast, pseudo_outcome, form, s)
    ours = calibration_test(y, g, **v, form=form, sample_weight=s)
    theirs = sm.WLS(response, D, s).fit(cov_type="HC3")
    assert np.allclose(ours.effect, theirs.params, atol=1e-10)
    assert np.allclose(ours.cov, theirs.cov_params(), atol=1e-10)
    assert ours.pvalue_greater[1] == pytest.approx(norm.sf(theirs.tvalues[1]))
    options = {"form": form, "sample_weight": s, "groups": groups}
    clustered = calibration_test(y, g, **v, **options)
    theirs = sm.WLS(response, D, s).fit(cov_type="cluster", cov_kwds={"groups": groups})
    factor = (len(y) - 1) / (len(y) - 2)
    assert np.allclose(factor * clustered.cov, theirs.cov_params(), atol=1e-10)


@pytest.mark.parametrize("form", ["r", "dr"])
def test_frequencies_are_copies(contrast, replicated, form):
    y, g, v = contrast
    counts, (y_copies, g_copies, v_copies) = replicated
    ours = calibration_test(y, g, **v, form=form, frequency=counts)
    full = calibration_test(y_copies, g_copies, **v_copies, form=form)
    assert np.allclose(ours.effect, full.effect, atol=1e-10)
    assert np.allclose(ours.cov, full.cov, atol=1e-10)
    assert np.allclose(np.repeat(ours.influence, counts, axis=0), full.influence)


def test_other_arms_are_left_out_of_the_r_form(contrast):
    y, g, v = contrast
    third = np.arange(len(y)) % 3 == 0
    pi = v["propensity"]
    mean = pi * v["mean_1"] + (1 - pi) * v["mean_0"]
    ours = calibration_test(
        y, g, treatment=np.where(third, np.nan, v["treatment"]), propensity=0.6 * pi,
        complement=0.6 * (1 - pi), mean=mean,
    )  # fmt: skip
    kept = ~third
    theirs = calibration_test(
        y[kept], g[kept], treatment=v["treatment"][kept], propensity=pi[kept],
        mean=mean[kept],
    )  # fmt: skip
    assert np.allclose(ours.effect, theirs.effect, atol=1e-12)
    assert np.allclose(ours.cov, theirs.cov, atol=1e-12)
    assert np.all(ours.influence[third] == 0)


def test_nothing_to_test(contrast):
    y, g, v = contrast
    for form in ("r", "dr"):
        with pytest.raises(ValueError, match="effects are constant"):
            calibration_test(y, np.full(len(y), 0.3), **v, form=form)
    centred = np.tile([-1.0, 1.0], len(y) // 2)
    with pytest.raises(ValueError, match="average zero"):
        calibration_test(y, centred, **v)
    assert np.all(np.isfinite(calibration_test(y, centred, **v, form="dr").se))
    with pytest.raises(ValueError, match="choose 'r' or 'dr'"):
        calibration_test(y, g, **v, form="blp")


def test_curve(contrast, pseudo_outcome):
    y, g, v = contrast
    curve, found = calibration_curve(y, g, **v, n_groups=5), gates(y, g, **v)
    assert np.allclose(curve.estimated, found.effect[:5], atol=1e-14)
    assert np.allclose(curve.se, found.se[:5], atol=1e-14)
    assert np.allclose(curve.share, 0.2)
    blocks = np.argsort(g).reshape(5, -1)
    assert np.allclose(curve.predicted, g[blocks].mean(axis=1), atol=1e-14)
    means = pseudo_outcome[blocks].mean(axis=1)
    error = np.mean(np.abs(means - g[blocks].mean(axis=1)))
    assert curve.error == pytest.approx(error, abs=1e-12)
    flat = np.mean(np.abs(means - pseudo_outcome.mean()))
    assert curve.constant_error == pytest.approx(flat, abs=1e-12)
    assert curve.to_frame().shape == (5, 4)


def test_curve_of_perfect_predictions(exact):
    y, tau, v = exact
    curve = calibration_curve(y, tau, **v)
    assert curve.error == pytest.approx(0, abs=1e-12)
    assert curve.constant_error > 0.1


def test_curve_frequencies_are_copies(contrast, replicated):
    y, g, v = contrast
    counts, (y_copies, g_copies, v_copies) = replicated
    ours = calibration_curve(y, g, **v, frequency=counts)
    full = calibration_curve(y_copies, g_copies, **v_copies)
    assert np.allclose(ours.to_frame(), full.to_frame(), atol=1e-12)
    assert ours.error == pytest.approx(full.error, abs=1e-12)


# ---- level and power of the heterogeneity test -------------------------------------


def rejections(design, n, slope, n_draws):
    """Return how often one-sided 5 % tests of both forms find heterogeneity."""
    found = []
    for r in range(n_draws):
        x, y, v = design(np.random.default_rng([10, r]), n, slope)
        tests = [calibration_test(y, 1 + x, **v, form=form) for form in ("r", "dr")]
        found.append([test.pvalue_greater[1] < 0.05 for test in tests])
    return np.mean(found, axis=0)


def test_level_and_power(design):
    # Three Monte-Carlo standard errors of 400 draws are 3.3 %.
    assert np.all(np.abs(rejections(design, 300, 0.0, 400) - 0.05) < 0.035)
    assert np.all(rejections(design, 300, 1.0, 100) > 0.95)


@pytest.mark.slow
def test_level_in_many_samples(design):
    assert np.all(np.abs(rejections(design, 500, 0.0, 4000) - 0.05) < 0.011)
