"""se="matching": Abadie & Imbens' variance by loops, its kin by hand, refusals."""

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from causalweights import EntropyBalancer, IPMBalancer, WeightedEffect
from causalweights.inference import (
    matching_variance,
    nearest_matching,
    neighbor_variance,
)

# Small samples, whose weights rest on few rows.
pytestmark = pytest.mark.filterwarnings("ignore:the weights of arm")

ROUNDING = 1e-9  # the same sums in another order
NEIGHBORS = 4  # of the outcome variances


@pytest.fixture(scope="module")
def sample():
    return draw(6, 90, 2)


def draw(seed, n, d):
    """Return a sample with effect 1 + x0, of mean one."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * np.arange(1, d + 1)
    a = (0.6 * X[:, 0] + rng.logistic(size=n) > 0).astype(int)
    y = X.sum(axis=1) + a * (1 + X[:, 0]) + rng.normal(size=n)
    return X, y, a


def matched(estimand="ate", **options):
    options = {"outcome_model": None, **options}
    return WeightedEffect(matcher(estimand), se="matching", **options)


def matcher(estimand="ate", **options):
    return IPMBalancer(
        estimand=estimand, discriminator="wasserstein", between_arms=False, **options
    )


def standardized(X):
    return (X - X.mean(axis=0)) / X.std(axis=0)


def nearest(Z, i, candidates, k):
    """Return the k nearest candidates of row i, by sorting."""
    return sorted(candidates, key=lambda j: np.sum((Z[i] - Z[j]) ** 2))[:k]


def textbook(X, y, a, estimand, fitted=None):
    """Return effect and variance by loops: Abadie & Imbens (2006), theorem 7.

    With fitted means (n, 2): the bias-corrected estimator (2011), whose variance is
    that formula for corrected matches, and outcome variances of residuals.
    """
    Z, n = standardized(X), len(y)
    fitted = np.zeros((n, 2)) if fitted is None else fitted
    residual = y - fitted[np.arange(n), a]
    sigma2 = np.empty(n)
    for i in range(n):
        arm = np.flatnonzero((a == a[i]) & (np.arange(n) != i))
        near = nearest(Z, i, arm, NEIGHBORS)
        gap = residual[i] - residual[near].mean()
        sigma2[i] = NEIGHBORS / (NEIGHBORS + 1) * gap**2
    rows = range(n) if estimand == "ate" else np.flatnonzero(a == 1)
    used, effects = np.zeros(n), []
    for i in rows:
        (j,) = nearest(Z, i, np.flatnonzero(a != a[i]), 1)
        used[j] += 1
        other = y[j] + fitted[i, a[j]] - fitted[j, a[j]]
        effects.append((y[i] - other) * (1 if a[i] == 1 else -1))
    spread = np.sum((np.array(effects) - np.mean(effects)) ** 2)
    repeats = used**2 + used if estimand == "ate" else (a == 0) * (used**2 - used)
    variance = (spread + repeats @ sigma2) / len(rows) ** 2
    return np.mean(effects), variance


# ---------------------------------------------------------------------- formulas
@pytest.mark.parametrize("estimand", ["ate", "att"])
def test_variance_is_the_textbook_one(estimand, sample):
    X, y, a = sample
    fit = matched(estimand).fit(X, y, treatment=a)
    effect, variance = textbook(X, y, a, estimand)
    assert fit.effect_ == pytest.approx(effect, abs=ROUNDING)
    assert fit.se_**2 == pytest.approx(variance, rel=ROUNDING)
    low, high = fit.conf_int()[0]
    assert (low + high) / 2 == pytest.approx(effect, abs=ROUNDING)
    assert fit.influence_ is None and "matching" in str(fit.summary())
    influence = WeightedEffect(matcher(estimand), outcome_model=None)
    assert influence.fit(X, y, treatment=a).effect_ == fit.effect_


@pytest.mark.parametrize("estimand", ["ate", "att"])
def test_outcome_model_corrects_the_bias(estimand, sample):
    X, y, a = sample
    fit = matched(estimand, outcome_model=LinearRegression(), cv=None)
    fit.fit(X, y, treatment=a)
    models = [LinearRegression().fit(X[a == k], y[a == k]) for k in (0, 1)]
    fitted = np.column_stack([m.predict(X) for m in models])
    if estimand == "att":
        fitted[:, 1] = 0.0  # the treated are their own matches
    effect, variance = textbook(X, y, a, estimand, fitted)
    assert fit.effect_ == pytest.approx(effect, abs=ROUNDING)
    assert fit.se_**2 == pytest.approx(variance, rel=ROUNDING)
    augmented = WeightedEffect(
        matcher(estimand), outcome_model=LinearRegression(), cv=None
    )
    assert augmented.fit(X, y, treatment=a).effect_ == fit.effect_


@pytest.mark.parametrize("inference", ["population", "sample"])
def test_weights_and_arms_are_those_of_the_functions(inference, sample):
    X, y, a = sample
    three = np.where(X[:, 1] > 0.8, 2, a)
    s = np.random.default_rng(7).uniform(0.5, 2, len(y))
    s[:4] = 0.0
    fit = matched(inference=inference).fit(X, y, treatment=three, sample_weight=s)
    X, y, three, s = (v[4:] for v in (X, y, three, s))
    mean = np.average(X, axis=0, weights=s)
    Z = (X - mean) / np.sqrt(np.average((X - mean) ** 2, axis=0, weights=s))
    t = s / s.sum()
    matching = nearest_matching(Z, y, three, t)
    out = matching_variance(
        three,
        matching.masses,
        t,
        neighbor_variance(Z, y, three),
        imputed=matching.imputed,
        squared_shares=matching.squared_shares,
        inference=inference,
    )
    np.testing.assert_allclose(fit.masses_[4:], matching.masses, atol=1e-12)
    np.testing.assert_allclose(fit.means_, t @ matching.imputed)
    np.testing.assert_allclose(fit.means_cov_, out.cov)
    contrast = np.array([[-1.0, 1, 0], [-1, 0, 1]])
    np.testing.assert_allclose(fit.cov_, contrast @ out.cov @ contrast.T)


def test_a_target_outside_counts_its_sampling(sample):
    X, y, a = sample
    T = np.random.default_rng(8).normal([0.5, 0.0], 1.0, size=(60, 2))
    weighter = matcher(target=T)
    fit = WeightedEffect(weighter, outcome_model=None, se="matching")
    fit.fit(X, y, treatment=a)
    Z = (np.vstack([X, T]) - X.mean(axis=0)) / X.std(axis=0)
    codes, values = np.append(a, np.full(60, -1)), np.append(y, np.zeros(60))
    t = np.append(np.zeros(90), np.full(60, 1 / 60))
    matching = nearest_matching(Z, values, codes, t)
    out = matching_variance(
        codes, matching.masses, t, neighbor_variance(Z, values, codes),
        imputed=matching.imputed, squared_shares=matching.squared_shares,
    )  # fmt: skip
    np.testing.assert_allclose(fit.means_, t @ matching.imputed)
    np.testing.assert_allclose(fit.means_cov_, out.cov)
    corrected = WeightedEffect(
        weighter, outcome_model=LinearRegression(), cv=None, se="matching"
    ).fit(X, y, treatment=a)
    influence = WeightedEffect(weighter, outcome_model=LinearRegression(), cv=None)
    influence.fit(X, y, treatment=a)
    assert corrected.effect_ == influence.effect_
    assert corrected.se_ == pytest.approx(influence.se_, rel=0.2)


@pytest.mark.parametrize("outcome_model", [None, LinearRegression()])
def test_outcome_shift_and_scale(outcome_model, sample):
    X, y, a = sample
    one = matched(outcome_model=outcome_model).fit(X, y, treatment=a)
    moved = matched(outcome_model=outcome_model).fit(X, 5 - 3 * y, treatment=a)
    assert moved.effect_ == pytest.approx(-3 * one.effect_, abs=ROUNDING)
    assert moved.se_ == pytest.approx(3 * one.se_, rel=ROUNDING)


def test_ratio_is_by_the_delta_method(sample):
    X, y, a = sample
    event = (y > 0).astype(int)
    fit = matched(contrast="ratio").fit(X, event, treatment=a)
    gradient = np.array([-fit.means_[1] / fit.means_[0] ** 2, 1 / fit.means_[0]])
    assert fit.se_**2 == pytest.approx(gradient @ fit.means_cov_ @ gradient)


def test_weighters_in_other_wraps_agree(sample):
    X, y, a = sample
    scaled = MinMaxScaler().fit_transform(X)
    plain = matched().fit(scaled, y, treatment=a)
    pipeline = make_pipeline(MinMaxScaler(), matcher())
    for weighter in (pipeline, FrozenEstimator(pipeline.fit(X, a))):
        fit = WeightedEffect(weighter, outcome_model=None, se="matching")
        fit.fit(X, y, treatment=a)
        assert fit.effect_ == pytest.approx(plain.effect_, abs=ROUNDING)
        assert fit.se_ == pytest.approx(plain.se_, rel=ROUNDING)


@pytest.mark.parametrize("estimand", ["ate", "att"])
def test_equal_rows_with_unequal_weights(estimand):
    """Equal rows of an arm share what is matched; the effect is the weighter's."""
    X, y, a = draw(9, 80, 2)
    X = np.round(X)
    s = np.random.default_rng(10).uniform(0.2, 3, 80)
    fit = matched(estimand).fit(X, y, treatment=a, sample_weight=s)
    masses = matcher(estimand).fit(X, a, sample_weight=s).masses_
    assert fit.effect_ == pytest.approx((2 * a - 1) * masses @ y, abs=ROUNDING)
    assert fit.se_ > 0


@pytest.mark.parametrize("estimand", ["ate", "att"])
def test_influence_estimates_the_same_variance(estimand):
    X, y, a = draw(11, 1500, 2)
    options = {"outcome_model": LinearRegression(), "cv": None}
    fit = matched(estimand, **options).fit(X, y, treatment=a)
    influence = WeightedEffect(matcher(estimand), **options)
    influence.fit(X, y, treatment=a)
    # Both average 1500 noisy squares under unequal weights: 4 % each.
    assert fit.se_ == pytest.approx(influence.se_, rel=0.1)


# ---------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("weighter", "options", "fit_options", "message"),
    [
        (IPMBalancer(), {}, {}, "these are: IPMBalancer \\(energy\\)"),
        (EntropyBalancer(), {}, {}, "nearest neighbor, IPMBalancer\\(discriminator"),
        (np.ones(90), {"estimand": "ate"}, {}, "these are: given"),
        (None, {}, {}, "these are: none"),
        (
            IPMBalancer.kong2023(discriminator="wasserstein", epochs=2),
            {},
            {},
            "Use se='influence' or 'subsample'",
        ),
        # Refused by the weighter where it has no such target.
        (matcher("ato"), {}, {}, "estimand='ato'"),
        (matcher(ridge=0.1), {}, {}, "needs ridge=0: a ridge \\(here 0.1\\)"),
        (matcher(), {}, {"groups": np.arange(90) // 2}, "no version for groups"),
        (
            matcher(weight_type="frequency"),
            {"weight_type": "frequency"},
            {"sample_weight": np.ones(90)},
            "repeat the rows, or use",
        ),
        ("other rows", {}, {}, "not those of matching these rows"),
    ],
)
@pytest.mark.filterwarnings("ignore:balancing weights are not optimal")
def test_what_it_cannot_do_is_refused_by_name(
    weighter, options, fit_options, message, sample
):
    X, y, a = sample
    if isinstance(weighter, str):
        weighter = FrozenEstimator(matcher().fit(X[::-1], a[::-1]))
    options = {"outcome_model": None, "se": "matching", **options}
    with pytest.raises(ValueError, match=message):
        WeightedEffect(weighter, **options).fit(X, y, treatment=a, **fit_options)


# ---------------------------------------------------------------------- coverage
@pytest.mark.slow
@pytest.mark.parametrize("estimand", ["ate", "att"])
@pytest.mark.parametrize("d", [1, 3])
def test_intervals_cover(estimand, d):
    """400 replications of 300 rows: a Monte-Carlo error of 0.011 at 0.95.

    In three covariates the outcome model, which is right, takes the bias away.
    """
    model = None if d == 1 else LinearRegression()
    hits, errors, ses, truth = 0, [], [], 1.0
    if estimand == "att":
        X, _, a = draw(0, 2_000_000, 1)
        truth += X[a == 1, 0].mean()
    for rep in range(400):
        X, y, a = draw([13, rep], 300, d)
        fit = matched(estimand, outcome_model=model, cv=None).fit(X, y, treatment=a)
        low, high = fit.conf_int()[0]
        hits += low < truth < high
        errors.append(fit.effect_ - truth)
        ses.append(fit.se_)
    low, high = binom.ppf(1e-3, 400, 0.92), binom.ppf(1 - 1e-3, 400, 0.97)
    assert low <= hits <= high, hits
    # The standard deviation of 400 has an error of 4 %, the estimate's own of 1 %.
    assert np.mean(ses) == pytest.approx(np.std(errors), rel=0.15)
