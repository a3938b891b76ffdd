"""Identities of pseudo-outcomes and weights, and the bias they are chosen for."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from causalweights.cate._pseudo_outcomes import (
    PSEUDO_OUTCOMES,
    Nuisances,
    check_weights,
    pseudo_outcome_and_weights,
)


@pytest.fixture
def hats():
    """Random nuisances, eta that of the arm means, and random outcomes."""
    rng = np.random.default_rng(0)
    n = 60
    pi = rng.uniform(0.05, 0.95, n)
    mean_0, mean_1 = rng.normal(size=(2, n))
    return Nuisances(
        rng.normal(size=n), rng.integers(0, 2, n).astype(float), pi, 1 - pi,
        mean_0, mean_1, pi * mean_1 + (1 - pi) * mean_0,
    )  # fmt: skip


def of(name, weights, v):
    return pseudo_outcome_and_weights(name, weights, v)


def test_r_loss_is_the_weighted_loss_of_u(hats):
    f, w = of("u", "r", hats)
    g = np.linspace(-2, 2, len(f))
    residual = hats.y - hats.mean - (hats.a - hats.propensity) * g
    assert np.sum(residual**2) == pytest.approx(np.sum(w * (f - g) ** 2), abs=1e-12)


def test_r_learner_is_least_squares_of_residuals(hats):
    P = np.random.default_rng(1).normal(size=(len(hats.y), 3))
    f, w = of("u", "r", hats)
    ours = LinearRegression(fit_intercept=False).fit(P, f, w).coef_
    rest = (hats.a - hats.propensity)[:, None]
    beta = np.linalg.lstsq(rest * P, hats.y - hats.mean, rcond=None)[0]
    assert np.allclose(ours, beta, atol=1e-10)


def test_covariance_form_beside_the_doubly_robust_one(hats):
    cov, nu = of("cov", "ivw", hats)
    dr, w = of("dr", "ivw", hats)
    pi, gap = hats.propensity, hats.mean_1 - hats.mean_0
    assert np.allclose(nu, w, atol=1e-14)
    assert np.allclose(cov, dr + gap * (1 - 2 * pi) * (hats.a - pi) / nu, atol=1e-12)


def test_scores_of_r_and_weighted_dr_differ_by_a_mean_zero_term(hats):
    g = np.linspace(-1, 1, len(hats.y))
    (u, w_u), (dr, w_dr) = of("u", "r", hats), of("dr", "ivw", hats)
    pi, gap = hats.propensity, hats.mean_1 - hats.mean_0
    difference = w_u * (u - g) - w_dr * (dr - g)
    expected = (1 - 2 * pi) * (hats.a - pi) * (gap - g)
    assert np.allclose(difference, expected, atol=1e-12)


def test_all_are_one_in_a_balanced_experiment(hats):
    half = np.full(len(hats.y), 0.5)
    even = replace(
        hats, propensity=half, complement=half, mean=(hats.mean_0 + hats.mean_1) / 2
    )
    found = [of(name, "ivw", even) for name in ("u", "dr", "cov")]
    for f, w in found[1:]:
        assert np.allclose(f, found[0][0], atol=1e-12)
        assert np.allclose(w, 0.25) and np.allclose(found[0][1], 0.25)


@pytest.mark.parametrize("name", sorted(PSEUDO_OUTCOMES))
def test_swapping_labels_flips_the_sign_and_keeps_the_weights(hats, name):
    swapped = replace(
        hats, a=1 - hats.a, propensity=hats.complement, complement=hats.propensity,
        mean_0=hats.mean_1, mean_1=hats.mean_0,
    )  # fmt: skip
    for weights in PSEUDO_OUTCOMES[name].weights:
        if weights == "het":
            continue
        (f, w), (g, u) = of(name, weights, hats), of(name, weights, swapped)
        assert np.allclose(f, -g, atol=1e-12)
        assert np.allclose(w, u, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(PSEUDO_OUTCOMES) - {"ipw"}))
def test_affine_outcomes(hats, name):
    moved = replace(
        hats, y=3 * hats.y + 7,
        **{k: 3 * getattr(hats, k) + 7 for k in ("mean_0", "mean_1", "mean")},
    )  # fmt: skip
    assert np.allclose(of(name, "uniform", moved)[0], 3 * of(name, "uniform", hats)[0])


# ---- conditional bias --------------------------------------------------------------

BIASED = {
    ("dr", "uniform"): lambda t, h, d: (
        d * (t["m1"] - h.mean_1) / h.propensity
        + d * (t["m0"] - h.mean_0) / h.complement
    ),
    ("dr", "ivw"): lambda t, h, d: d * (
        h.complement * (t["m1"] - h.mean_1) + h.propensity * (t["m0"] - h.mean_0)
    ),
    ("u", "r"): lambda t, h, d: d * (t["eta"] - h.mean) - d**2 * t["tau"],
    ("cov", "ivw"): lambda t, h, d: (
        d * (1 - t["pi"] - h.propensity) * t["tau"] + d * (t["eta"] - h.mean)
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", sorted(BIASED))
def test_conditional_bias_of_the_scores(hats, form):
    rng = np.random.default_rng(3)
    n = len(hats.y)
    pi, m0, m1 = rng.uniform(0.1, 0.9, n), *rng.normal(size=(2, n))
    truth = {"pi": pi, "m0": m0, "m1": m1, "tau": m1 - m0}
    truth["eta"] = pi * m1 + (1 - pi) * m0
    hats = replace(hats, mean=rng.normal(size=n)) if form[0] != "dr" else hats
    bias = 0.0
    for a, share, mean in ((1.0, pi, m1), (0.0, 1 - pi, m0)):
        f, w = of(*form, replace(hats, y=mean, a=np.full(n, a)))
        bias = bias + share * w * (f - truth["tau"])
    expected = BIASED[form](truth, hats, pi - hats.propensity)
    assert np.allclose(bias, expected, atol=1e-12)
    assert np.max(np.abs(expected)) > 0.01


def test_weights_of_arm_and_covariates_bias_dr_even_with_known_propensities(hats):
    # Why check_weights refuses them: first order in the outcome models' error.
    n, pi = len(hats.y), hats.propensity
    m0, m1 = np.random.default_rng(4).normal(size=(2, n))
    bias = 0.0
    for a, share, mean in ((1.0, pi, m1), (0.0, 1 - pi, m0)):
        f, _ = of("dr", "uniform", replace(hats, y=mean, a=np.full(n, a)))
        w = a * pi**2 + (1 - a) * (1 - pi) ** 2
        bias = bias + share * w * (f - (m1 - m0))
    gap, tau = hats.mean_1 - hats.mean_0, m1 - m0
    treated = pi**2 * (gap - tau) + pi * (m1 - hats.mean_1)
    control = (1 - pi) ** 2 * (gap - tau) - (1 - pi) * (m0 - hats.mean_0)
    assert np.allclose(bias, pi * treated + (1 - pi) * control, atol=1e-12)
    assert np.max(np.abs(bias)) > 0.05


def test_heteroscedastic_weights_are_the_inverse_variance(hats):
    n = 400_000
    rng = np.random.default_rng(5)
    pi, sigma = 0.3, (0.5, 2.0)
    a = (rng.uniform(size=n) < pi).astype(float)
    y = np.where(a == 1, sigma[1], sigma[0]) * rng.normal(size=n)
    full = np.full(n, pi)
    v = Nuisances(
        y, a, full, 1 - full, np.zeros(n), np.zeros(n), np.zeros(n),
        np.full(n, sigma[0] ** 2), np.full(n, sigma[1] ** 2),
    )  # fmt: skip
    f, w = of("dr", "het", v)
    variance = sigma[1] ** 2 / pi + sigma[0] ** 2 / (1 - pi)
    assert w[0] == pytest.approx(1 / variance)
    assert f.var() == pytest.approx(variance, rel=0.03)
    equal = replace(v, variance_0=np.full(n, 4.0), variance_1=np.full(n, 4.0))
    assert np.allclose(of("dr", "het", equal)[1], pi * (1 - pi) / 4)


def test_covariates_only_weights_are_the_inverse_variance_of_u():
    pi = np.array([0.2])
    v = Nuisances(np.zeros(1), np.ones(1), pi, 1 - pi, mean=np.zeros(1))
    expected = 1 / (pi * (1 - pi) ** -2.0 + (1 - pi) * pi**-2.0)
    assert of("u", "x_only", v)[1] == pytest.approx(expected)


def test_efficiency_under_unequal_noise():
    # Slope of a linear effect, n = 400, pi = .05 + .9 x, noise large in the larger arm.
    rng = np.random.default_rng(6)
    forms = {
        ("dr", "uniform"): 0.384, ("dr", "ivw"): 0.453, ("dr", "het"): 0.384,
        ("u", "r"): 0.489,
    }  # fmt: skip
    slopes = {form: [] for form in forms}
    for _ in range(4000):
        x = rng.uniform(size=400)
        pi = 0.05 + 0.9 * x
        a = (rng.uniform(size=400) < pi).astype(float)
        noise = np.where(x > 0.5, 3.0, 0.5), np.where(x > 0.5, 0.5, 3.0)
        y = a * x + np.where(a == 1, *noise) * rng.normal(size=400)
        v = Nuisances(
            y, a, pi, 1 - pi, np.zeros(400), x, pi * x, noise[1] ** 2, noise[0] ** 2
        )
        for form, found in slopes.items():
            f, w = of(*form, v)
            center = np.average(x, weights=w)
            found.append(w * (x - center) @ f / np.sum(w * (x - center) ** 2))
    for form, expected in forms.items():
        assert np.var(slopes[form]) == pytest.approx(expected, rel=0.08), form


# ---- several arms, doses, refusals -------------------------------------------------


def test_rows_of_other_arms_count_for_the_doubly_robust_form_alone(hats):
    other = np.arange(len(hats.a)) < 10
    three = replace(hats, a=np.where(other, np.nan, hats.a))
    f, w = of("dr", "ivw", three)
    assert np.array_equal(f[other], (hats.mean_1 - hats.mean_0)[other])
    assert np.all(w > 0)
    for name in ("u", "cov", "ra"):
        weights = "uniform" if name == "ra" else "ivw"
        f, w = of(name, weights, three)
        assert not np.any(f[other]) and not np.any(w[other]) and np.all(w[~other] > 0)


def test_a_dose_takes_residual_products():
    rng = np.random.default_rng(7)
    x = rng.normal(size=200)
    dose = x + rng.normal(size=200)
    dose[0] = x[0]  # no information: weight zero, no division
    y = 2 * dose + x
    v = Nuisances(y, dose, x, np.full(200, np.nan), mean=3 * x)
    f, w = of("u", "r", v)
    assert w[0] == 0 and f[0] == 0
    assert np.allclose(f[1:], 2.0)


@pytest.mark.parametrize(
    ("name", "weights", "reason"),
    [
        ("dr", "r", "depend on the treatment"),
        ("cov", "x_only", "inverse variance of 'u'"),
        ("u", "het", "not orthogonal"),
        ("ipw", "ivw", "not known from the propensity"),
        ("plugin", "r", "depend on the treatment"),
    ],
)
def test_forbidden_weights_are_refused_with_the_reason(name, weights, reason):
    with pytest.raises(ValueError, match=reason):
        check_weights(name, weights)


@pytest.mark.parametrize(
    "weights", [lambda p, q: p[:3], lambda p, q: -p, lambda p, q: p * np.nan]
)
def test_bad_weight_functions_are_refused(hats, weights):
    with pytest.raises(ValueError, match="one finite, non-negative number a row"):
        of("dr", weights, hats)


def test_weight_functions_see_both_probabilities(hats):
    _, w = of("dr", lambda p, q: np.minimum(p, q), hats)
    assert np.array_equal(w, np.minimum(hats.propensity, hats.complement))
