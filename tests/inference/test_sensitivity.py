"""E-values against published ones; omitted-variable bounds with known confounders."""

import itertools

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from causalweights import EffectResult
from causalweights.inference import (
    Sensitivity,
    e_value,
    omitted_variable_bounds,
    robustness_value,
    sensitivity_parts,
)

EXACT = 1e-10  # closed forms against the equations they solve


# ---- E-values --------------------------------------------------------------------


def test_published_e_values():
    # VanderWeele & Ding (2017): breastfeeding and respiratory deaths.
    point, limit = e_value(3.9, limits=(1.8, 8.7), kind="ratio")
    assert point == pytest.approx(7.26, abs=0.005)
    assert limit == pytest.approx(3.0, abs=0.005)


def test_e_value_is_the_least_joint_strength():
    # Ding & VanderWeele's bounding factor with both strengths E equals the ratio.
    for ratio in (1.0, 1.3, 2.0, 17.0):
        e = e_value(ratio, 0.1, kind="ratio").estimate
        assert e**2 / (2 * e - 1) == pytest.approx(ratio, rel=EXACT)


def test_e_value_of_a_protective_ratio_is_that_of_its_inverse():
    a = e_value(0.4, limits=(0.2, 0.8), kind="ratio")
    b = e_value(1 / 0.4, limits=(1 / 0.8, 1 / 0.2), kind="ratio")
    np.testing.assert_allclose(a, b, rtol=EXACT)


def test_e_value_of_an_interval_with_no_effect_is_one():
    assert e_value(1.2, limits=(0.9, 1.6), kind="ratio").limit == 1
    assert e_value(1.2, limits=(0.0, 1.6), kind="ratio").limit == 1
    assert e_value(-0.3, 0.2, sd_outcome=1.0).limit == 1
    assert e_value(0.0, 0.2, sd_outcome=1.0).estimate == 1


def test_difference_goes_through_the_standardized_ratio():
    effect, se, sd = -1.5, 0.4, 2.5
    point, limit = e_value(effect, se, sd_outcome=sd, level=0.9)
    ends = [np.exp(0.91 * v / sd) for v in (effect, effect + norm.ppf(0.95) * se)]
    expected = [e_value(r, 0.0, kind="ratio").estimate for r in ends]
    np.testing.assert_allclose([point, limit], expected, rtol=EXACT)


def test_odds_ratio_of_a_common_outcome_is_its_square_root():
    odds = e_value(4.0, limits=(2.25, 9.0), kind="odds_ratio")
    ratio = e_value(2.0, limits=(1.5, 3.0), kind="ratio")
    np.testing.assert_allclose(odds, ratio, rtol=EXACT)


def test_ratio_limits_are_those_of_the_result():
    result = EffectResult(2.0, 0.3, np.array([[0.09]]), ["1 vs 0"], contrast="ratio")
    direct = e_value(2.0, 0.3, kind="ratio", level=0.8)
    limits = result.conf_int(0.8)[0]
    np.testing.assert_allclose(direct, e_value(2.0, limits=limits, kind="ratio"))


def test_e_values_of_several_contrasts():
    out = e_value([1.0, -2.0], [0.1, 0.2], sd_outcome=1.0)
    for k, (effect, se) in enumerate([(1.0, 0.1), (-2.0, 0.2)]):
        one = e_value(effect, se, sd_outcome=1.0)
        assert isinstance(one.estimate, float)
        assert (out.estimate[k], out.limit[k]) == pytest.approx(tuple(one))


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((2.0,), {"kind": "ratio"}, "one of se and limits"),
        ((2.0, 0.1), {"kind": "hazard"}, "kind='hazard'"),
        ((2.0, 0.1), {}, "needs sd_outcome"),
        ((2.0, 0.1), {"sd_outcome": 0.0}, "needs sd_outcome"),
        ((-2.0, 0.1), {"kind": "ratio"}, "a ratio must be positive"),
        ((2.0, -0.1), {"kind": "ratio"}, "se must be finite and not negative"),
        ((np.nan, 0.1), {"kind": "ratio"}, "effect must be finite"),
        ((2.0,), {"kind": "ratio", "limits": (3, 4)}, "limits must hold the effect"),
        ((1e6, 1.0), {"sd_outcome": 1.0}, "too large for an E-value"),
        ((2.0, 0.1), {"kind": "ratio", "level": 95}, "level must lie between"),
    ],
)
def test_bad_e_values_are_refused(args, options, message):
    with pytest.raises(ValueError, match=message):
        e_value(*args, **options)


# ---- the omitted-variable bound --------------------------------------------------


@pytest.fixture
def population(rng):
    """Return a discrete law of (X, U, D) as cells with probabilities.

    alpha is the Riesz representer of the ATE given X and U, short that given X.
    """
    cells = np.array(list(itertools.product(range(3), range(2), range(2))))
    x, u, d = cells.T
    share = rng.uniform(0.5, 1.5, size=(3, 2))
    propensity = rng.uniform(0.2, 0.8, size=(3, 2))
    p = share[x, u] * np.where(d == 1, propensity[x, u], 1 - propensity[x, u])
    p /= p.sum()
    alpha = np.where(d == 1, 1 / propensity[x, u], -1 / (1 - propensity[x, u]))
    return x, u, d, p, alpha, project(alpha, x, d, p)


def project(values, x, d, p):
    """Return the conditional mean given (X, D) in each cell."""
    key = 2 * x + d
    return (np.bincount(key, p * values) / np.bincount(key, p))[key]


def attained(population, g, noise=0.0):
    """Return bias, the parts, R_Y^2, R_D^2 and the correlation of the confounder.

    A cell is two rows, noise above and below g; masses are the short weights.
    """
    x, _, d, p, alpha, short = population
    residual, gap = g - project(g, x, d, p), alpha - short
    bias = p @ (g * short) - p @ (g * alpha)
    y = np.concatenate([g + noise, g - noise])
    s, codes = np.tile(p / 2, 2), np.tile(d, 2)
    masses = s * np.abs(np.tile(short, 2))
    predictions = np.tile(project(g, x, d, p), 2)[:, None].repeat(2, axis=1)
    parts = sensitivity_parts(y, codes, masses, predictions, sample_weight=s)
    r2_y = p @ residual**2 / (p @ residual**2 + noise**2)
    r2_d = 1 - p @ short**2 / (p @ alpha**2)
    rho = abs(p @ (residual * gap)) / np.sqrt(p @ residual**2 * (p @ gap**2))
    return bias, parts, r2_y, r2_d, rho


@pytest.mark.parametrize("noise", [0.0, 1.3])
def test_bound_is_attained_by_the_adversary(population, noise):
    x, _, d, _, alpha, short = population
    g = 1.0 * x + 2.0 * d - 0.7 * (alpha - short)
    bias, parts, r2_y, r2_d, rho = attained(population, g, noise)
    assert rho == pytest.approx(1)
    out = omitted_variable_bounds(
        0.0, 0.0, parts.scale, r2_outcome=r2_y, r2_treatment=r2_d
    )
    assert out.bias[0] == pytest.approx(abs(bias), rel=EXACT)


def test_bound_holds_and_is_exact_with_the_correlation(population, rng):
    x, u, d, *_ = population
    for _ in range(20):
        g = rng.normal(size=(3, 2, 2))[x, u, d]
        bias, parts, r2_y, r2_d, rho = attained(population, g, 0.5)
        strength = {"r2_outcome": r2_y, "r2_treatment": r2_d}
        worst = omitted_variable_bounds(0.0, 0.0, parts.scale, **strength)
        exact = omitted_variable_bounds(0.0, 0.0, parts.scale, **strength, rho=rho)
        assert abs(bias) < worst.bias[0]
        assert exact.bias[0] == pytest.approx(abs(bias), rel=EXACT)


def test_bound_for_a_target_arm_is_attained_on_the_weighted_arm(population):
    # ATT: alpha = D / P(D) - (1 - D) odds(X, U) / P(D); nothing moves on the treated,
    # whose predictions are not read.
    x, u, d, p, *_ = population
    treated = p @ d
    propensity = np.zeros((3, 2))
    np.add.at(propensity, (x, u), p * d)
    mass = np.zeros((3, 2))
    np.add.at(mass, (x, u), p)
    e = (propensity / mass)[x, u]
    alpha = np.where(d == 1, 1.0, -e / (1 - e)) / treated
    short = project(alpha, x, d, p)
    gap = alpha - short
    assert np.all(np.abs(gap[d == 1]) < EXACT)
    g = x + 3.0 * d * u + 0.4 * gap
    g_short = project(g, x, d, p)
    bias = p @ (g * short) - p @ (g * alpha)
    predictions = np.column_stack([g_short, np.full(len(p), np.nan)])
    parts = sensitivity_parts(
        g, d, p * np.abs(short), predictions, target_arm=1, sample_weight=p
    )
    control = d == 0
    r2_d = 1 - (p * short**2)[control].sum() / (p * alpha**2)[control].sum()
    out = omitted_variable_bounds(
        0.0, 0.0, parts.scale, r2_outcome=1.0, r2_treatment=r2_d
    )
    # Among the controls g leaves out nothing but what is proportional to gap.
    np.testing.assert_allclose(out.bias, abs(bias), rtol=EXACT)


def test_linear_simulation_with_a_confounder_left_out():
    # Y = D + X + U + e with D = 1{X + U + v > 0}: estimated weights by X in bins, the
    # strengths of U by the same estimator with U.
    rng = np.random.default_rng(8)
    n = 40_000
    x, u = rng.integers(0, 2, size=(2, n))
    d = (rng.uniform(size=n) < np.array([0.25, 0.5, 0.75])[x + u]).astype(int)
    y = d + x + u + rng.normal(size=n)

    def fitted(key):
        cell = 2 * key + d
        g = (np.bincount(cell, y) / np.bincount(cell))[cell]
        share = np.bincount(key, d) / np.bincount(key)
        e = np.where(d == 1, share[key], 1 - share[key])
        return g, np.bincount(d, 1 / e)[d], 1 / e

    g_s, total, w = fitted(x)
    masses = w / total
    g_l, _, w_l = fitted(2 * x + u)
    effect = (2 * d - 1) * masses @ y
    parts = sensitivity_parts(y, d, masses, np.column_stack([g_s, g_s]))
    out = omitted_variable_bounds(
        effect, 0.0, parts.scale,
        r2_outcome=np.mean((g_l - g_s) ** 2) / np.mean((y - g_s) ** 2),
        r2_treatment=1 - np.mean(w**2) / np.mean(w_l**2),
    )  # fmt: skip
    assert effect > 1.15  # the confounder matters, and the bound is of its size
    assert out.lower[0] < 1 < out.upper[0]
    assert out.bias[0] < 3 * (effect - 1)


def test_bounds_are_monotone_and_vanish_without_a_confounder():
    def bias(**strength):
        return omitted_variable_bounds(1.0, 0.1, 2.0, **strength).bias

    grid = np.linspace(0, 0.9, 10)
    for name in ("r2_outcome", "r2_treatment", "rho"):
        values = [
            bias(**{"r2_outcome": 0.3, "r2_treatment": 0.3, "rho": 0.5, name: r})
            for r in grid
        ]
        assert values[0] == 0
        assert np.all(np.diff(values) > 0)
    out = omitted_variable_bounds(
        1.0, 0.1, 2.0, r2_outcome=0.3, r2_treatment=0.0, level=0.9
    )
    assert (out.lower, out.upper) == (1.0, 1.0)
    z = norm.ppf(0.95)
    assert (out.lower_limit, out.upper_limit) == pytest.approx(
        (1 - 0.1 * z, 1 + 0.1 * z)
    )


@pytest.mark.parametrize("effect", [-3.0, 0.02, 1.0, 40.0])
def test_robustness_value_solves_its_equation(effect):
    se, scale = abs(effect) / 5, 1.7
    null = 0.3 * effect

    def at(r, end):
        out = omitted_variable_bounds(
            effect, se, scale, r2_outcome=r, r2_treatment=r, level=0.9
        )
        ends = out.lower, out.upper, out.lower_limit, out.upper_limit
        return ends[2 * end + (effect < 0)] - null

    out = robustness_value(effect, se, scale, null=null, level=0.9)
    for end in (0, 1):
        assert abs(at(out[end], end)) < EXACT * abs(effect)
        root = brentq(at, 0, 1 - 1e-12, args=(end,), xtol=1e-15)
        assert out[end] == pytest.approx(root, abs=EXACT)


def test_robustness_value_is_a_share_and_grows():
    effects = np.array([0.0, 0.1, 1.0, 10.0, 1e3])
    out = robustness_value(effects, 0.1, 1.0)
    assert np.all(np.diff(out.estimate) > 0) and out.estimate[0] == 0
    assert np.all((out.estimate >= 0) & (out.estimate <= 1))
    assert out.limit[1] == 0  # not significant
    assert np.all(out.limit[2:] < out.estimate[2:])


def test_parts_by_hand(rng):
    n = 40
    codes, y, m = np.arange(n) % 4, rng.normal(size=n), rng.normal(size=(n, 4))
    s = rng.integers(1, 4, size=n).astype(float)
    masses = s * rng.uniform(size=n)
    masses /= np.bincount(codes, masses)[codes]
    out = sensitivity_parts(
        y, codes, masses, m, control=1, target_arm=2, sample_weight=s
    )
    own = m[np.arange(n), codes]
    for j, arms in enumerate([(0, 1), (1,), (3, 1)]):
        rows = np.isin(codes, arms)
        residual = np.sum((s * (y - own) ** 2)[rows]) / s.sum()
        riesz = np.sum((masses**2 / s)[rows]) * s.sum()
        assert out.residual_variance[j] == pytest.approx(residual)
        assert out.riesz_square[j] == pytest.approx(riesz)
    assert out.scale == pytest.approx(np.sqrt(out.residual_variance * out.riesz_square))
    # Weights are copies of rows.
    rows = np.repeat(np.arange(n), s.astype(int))
    copies = sensitivity_parts(
        y[rows], codes[rows], (masses / s)[rows], m[rows], control=1, target_arm=2
    )
    assert copies.sd_outcome == pytest.approx(out.sd_outcome)
    assert copies.scale == pytest.approx(out.scale)
    within = [np.var(y[rows][codes[rows] == a]) for a in range(4)]
    shares = np.bincount(codes[rows]) / len(rows)
    assert out.sd_outcome == pytest.approx(np.sqrt(shares @ within))


def test_bad_bounds_are_refused(rng):
    with pytest.raises(ValueError, match="r2_treatment in"):
        omitted_variable_bounds(1.0, 0.1, 1.0, r2_outcome=0.1, r2_treatment=1.0)
    with pytest.raises(ValueError, match="scale must be finite and not negative"):
        omitted_variable_bounds(1.0, 0.1, -1.0, r2_outcome=0.1, r2_treatment=0.1)
    with pytest.raises(ValueError, match="scale is zero"):
        robustness_value(1.0, 0.1, 0.0)
    with pytest.raises(ValueError, match="level must lie between"):
        robustness_value(1.0, 0.1, 1.0, level=1.0)
    y, codes = rng.normal(size=6), np.arange(6) % 2
    m = np.zeros((6, 2))
    with pytest.raises(ValueError, match="have shapes"):
        sensitivity_parts(y, codes, y[:3], m)
    with pytest.raises(ValueError, match="one positive weight a row"):
        sensitivity_parts(y, codes, np.abs(y), m, sample_weight=np.zeros(6))


# ---- the summary -----------------------------------------------------------------


def result_with(contrast="difference", sensitivity=None):
    return EffectResult(
        np.array([2.0, 0.5]),
        np.array([0.4, 0.3]),
        np.diag([0.16, 0.09]),
        ["b vs a", "c vs a"],
        contrast=contrast,
        sensitivity=sensitivity,
    )


PARTS = Sensitivity(1.5, np.array([1.0, 2.0]), np.array([3.0, 4.0]))


def test_summary_appends_the_sensitivity():
    result = result_with(sensitivity=PARTS)
    plain = str(result_with().summary())
    assert str(result.summary()) == plain
    text = str(result.summary(level=0.9, sensitivity=True))
    tables = result.summary(level=0.9, sensitivity=True).tables
    for table, alone in zip(tables[:2], result.summary(level=0.9).tables, strict=True):
        assert table.as_text() == alone.as_text()
    e = e_value([2.0, 0.5], [0.4, 0.3], sd_outcome=1.5, level=0.9)
    r = robustness_value([2.0, 0.5], [0.4, 0.3], PARTS.scale, level=0.9)
    for k, name in enumerate(["b vs a", "c vs a"]):
        shown = [line for line in text.splitlines() if line.startswith(name)][-1]
        expected = [v[k] for v in (*e, *r)]
        assert shown.split()[3:] == [f"{v:.3f}" for v in expected]
    assert "E-value (limit)" in text and "robustness (limit)" in text
    assert "<table" in result.summary(sensitivity=True).as_html()


@pytest.mark.parametrize("contrast", ["ratio", "odds_ratio"])
def test_summary_of_ratios_has_e_values_only(contrast):
    text = str(result_with(contrast, PARTS).summary(sensitivity=True))
    e = e_value([2.0, 0.5], [0.4, 0.3], kind=contrast)
    shown = [line for line in text.splitlines() if line.startswith("b vs a")][-1]
    assert shown.split()[3:] == [f"{v[0]:.3f}" for v in e]
    assert "robustness" not in text


def test_summary_without_the_parts_says_who_has_them():
    with pytest.raises(ValueError, match="WeightedEffect"):
        result_with().summary(sensitivity=True)
