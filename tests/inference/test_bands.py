"""Confidence bands: statsmodels and brute force as judges, both learners' coverage."""

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from scipy.stats import norm

from causalweights.inference import confidence_band
from causalweights.inference._bands import draw_multipliers
from causalweights.learners import LocalPolynomialRegressor, SeriesRegressor

MULTIPLIERS = ["gaussian", "rademacher", "mammen"]
NORMAL = norm.ppf(0.975)


@pytest.fixture
def factors(rng):
    return rng.normal(size=(30, 4)), rng.normal(size=(4, 200)) / 14


def test_pointwise_is_the_normal_interval(factors):
    A, S = factors
    band = confidence_band(A, S, level=0.9)
    assert_allclose(band.se, np.sqrt(np.sum((A @ S) ** 2, axis=1)), rtol=1e-12)
    assert band.critical_value == pytest.approx(norm.ppf(0.95))
    assert_allclose(band.half_width, norm.ppf(0.95) * band.se)
    assert (band.kind, band.level) == ("pointwise", 0.9)


@pytest.mark.parametrize("entries", [50, 1000])
def test_every_route_gives_the_same_errors(rng, monkeypatch, entries):
    # More points than columns, fewer, and the identity; in pieces.
    monkeypatch.setattr("causalweights.inference._bands._ENTRIES", entries)
    for m, p in [(30, 4), (5, 20)]:
        A, S = rng.normal(size=(m, p)), rng.normal(size=(p, 70))
        product = confidence_band(A, S, kind="uniform", n_draws=50)
        plain = confidence_band(np.eye(m), A @ S, kind="uniform", n_draws=50)
        assert_allclose(product.se, np.sqrt(np.sum((A @ S) ** 2, axis=1)), rtol=1e-10)
        assert_allclose(plain.se, product.se, rtol=1e-10)
        assert plain.critical_value == pytest.approx(product.critical_value)


def test_draws_equal_brute_force(factors):
    A, S = factors
    xi = np.random.RandomState(3).standard_normal((99, 200))
    errors = A @ S @ xi.T
    largest = np.max(np.abs(errors) / np.sqrt(np.sum((A @ S) ** 2, 1))[:, None], 0)
    band = confidence_band(A, S, kind="uniform", n_draws=99, random_state=3)
    assert band.critical_value == pytest.approx(np.sort(largest)[94], rel=1e-10)


@pytest.mark.parametrize("multiplier", MULTIPLIERS)
def test_one_point_gives_the_normal_quantile(factors, multiplier):
    A, S = factors
    band = confidence_band(
        A[:1], S, kind="uniform", n_draws=20_000, multiplier=multiplier
    )
    # Monte-Carlo error of the quantile: .013.
    assert band.critical_value == pytest.approx(NORMAL, abs=0.05)


@pytest.mark.parametrize("multiplier", MULTIPLIERS)
def test_joint_value_lies_between_one_point_and_bonferroni(factors, multiplier):
    A, S = factors
    band = confidence_band(A, S, kind="uniform", n_draws=20_000, multiplier=multiplier)
    bonferroni = norm.ppf(1 - 0.025 / len(A))
    assert NORMAL + 0.2 < band.critical_value < bonferroni
    # Independent points: the exact value is Sidak's, close to Bonferroni's.
    apart = confidence_band(
        np.eye(4), np.kron(np.eye(4), np.ones(500)), kind="uniform", n_draws=20_000,
        multiplier=multiplier,
    )  # fmt: skip
    sidak = norm.ppf(0.5 + 0.95**0.25 / 2)
    assert apart.critical_value == pytest.approx(sidak, abs=0.05)


@pytest.mark.parametrize("multiplier", MULTIPLIERS)
def test_multipliers_have_mean_zero_and_variance_one(multiplier):
    rng = np.random.RandomState(0)
    xi = draw_multipliers(rng, (400, 500), multiplier)
    assert xi.mean() == pytest.approx(0, abs=0.01)
    assert xi.var() == pytest.approx(1, abs=0.01)
    third = {"gaussian": 0.0, "rademacher": 0.0, "mammen": 1.0}[multiplier]
    assert np.mean(xi**3) == pytest.approx(third, abs=0.05)


def test_same_seed_gives_the_same_bits(factors):
    A, S = factors
    zero, none, other = (
        confidence_band(A, S, kind="uniform", random_state=seed)
        for seed in (0, None, 1)
    )
    assert_array_equal(zero.half_width, none.half_width)
    assert zero.critical_value != other.critical_value


def test_clusters_are_statsmodels(rng):
    X = rng.normal(size=(120, 2))
    groups = rng.integers(0, 15, 120)
    y = X[:, 0] + rng.normal(size=15)[groups] + rng.normal(size=120)
    w = rng.uniform(0.2, 2, 120)
    model = SeriesRegressor("linear", cov_type="HC0").fit(X, y, sample_weight=w)
    judge = sm.WLS(y, sm.add_constant(X), weights=w).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    band = confidence_band(*model.linear_influence(X), groups=groups)
    expected = judge.get_prediction(sm.add_constant(X)).se_mean * np.sqrt(15 / 14)
    assert_allclose(band.se, expected, rtol=1e-9)


def test_clusters_share_a_multiplier(factors):
    A, S = factors
    groups = np.arange(200) // 5
    clustered = confidence_band(A, S, kind="uniform", groups=groups, n_draws=200)
    sums = S.reshape(4, 40, 5).sum(axis=2) * np.sqrt(40 / 39)
    summed = confidence_band(A, sums, kind="uniform", n_draws=200)
    assert_allclose(clustered.half_width, summed.half_width, rtol=1e-10)
    single = confidence_band(A, S, groups=np.arange(200))
    alone = confidence_band(A, S)
    assert_allclose(single.se, alone.se * np.sqrt(200 / 199), rtol=1e-10)


def test_points_without_error_do_not_widen_the_band(factors):
    A, S = factors
    A = np.vstack([A, np.zeros((1, 4))])
    with_zero = confidence_band(A, S, kind="uniform")
    without = confidence_band(A[:-1], S, kind="uniform")
    assert with_zero.critical_value == pytest.approx(without.critical_value)
    assert with_zero.half_width[-1] == 0.0


def test_errors_advise(factors):
    A, S = factors
    for bad, words in [
        ({"level": 95}, "level must lie between 0 and 1"),
        ({"kind": "joint"}, "kind='joint' is unknown"),
        ({"n_draws": 0}, "n_draws must be a whole number"),
        ({"multiplier": "t"}, "multiplier='t' is unknown"),
        ({"groups": np.zeros(200)}, "one cluster only"),
        ({"groups": np.zeros(3)}, "groups has shape"),
    ]:
        with pytest.raises(ValueError, match=words):
            confidence_band(A, S, **bad)
    with pytest.raises(ValueError, match=r"A has shape \(30, 4\), S \(200, 4\)"):
        confidence_band(A, S.T)
    with pytest.raises(ValueError, match="must be finite"):
        confidence_band(A, S * np.inf)


# ---- coverage: tau = sin(2x), oracle nuisances ---------------------------------------

GRID = np.linspace(-0.95, 0.95, 50)[:, None]
TRUTH = np.sin(2 * GRID[:, 0])


def pseudo_outcomes(rng, n=1000):
    """Return X, doubly robust pseudo-outcomes with oracle nuisances, propensities."""
    x = rng.uniform(-1, 1, n)
    pi, tau = expit(1.5 * x), np.sin(2 * x)
    a = rng.random(n) < pi
    noise = rng.normal(size=n)
    f = tau + np.where(a, noise / pi, -noise / (1 - pi))
    return x[:, None], f, pi


def coverage(model, overlap, replicates):
    """Return pointwise and uniform coverage, mean se and mean critical value."""
    rows = []
    for seed in range(replicates):
        X, f, pi = pseudo_outcomes(np.random.default_rng([6, seed]))
        model.fit(X, f, sample_weight=pi * (1 - pi) if overlap else None)
        A, S = model.linear_influence(GRID)
        band = confidence_band(A, S, kind="uniform", random_state=seed)
        off = np.abs(model.predict(GRID) - TRUTH)
        pointwise = np.mean(off <= NORMAL * band.se)
        inside = np.all(off <= band.half_width)
        rows.append([pointwise, inside, band.se.mean(), band.critical_value])
    return np.mean(rows, axis=0)


SERIES = SeriesRegressor("spline", n_knots=6)
LOCAL = LocalPolynomialRegressor()


@pytest.mark.parametrize("model", [SERIES, LOCAL], ids=["series", "local"])
def test_few_replicates_cover(model):
    pointwise, uniform, se, critical = coverage(model, True, 20)
    assert pointwise > 0.88 and uniform > 0.7
    assert 0.1 < se < 0.3 and 2.6 < critical < 3.2


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [False, True], ids=["uniform", "overlap"])
def test_series_bands_cover(overlap):
    pointwise, uniform, se, critical = coverage(SERIES, overlap, 300)
    # Monte-Carlo errors: .006 pointwise, .014 uniform.
    assert pointwise == pytest.approx(0.95, abs=0.018)
    assert uniform == pytest.approx(0.935, abs=0.04)
    assert critical == pytest.approx(2.94, abs=0.03)
    assert se == pytest.approx(0.186 if overlap else 0.189, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [False, True], ids=["uniform", "overlap"])
def test_local_bands_cover(overlap):
    pointwise, uniform, _, critical = coverage(LOCAL, overlap, 300)
    assert pointwise == pytest.approx(0.95, abs=0.018)
    assert uniform == pytest.approx(0.935, abs=0.04)
    assert NORMAL < critical < norm.ppf(1 - 0.025 / 50)
