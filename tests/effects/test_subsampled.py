"""se="subsample": against refits by hand, exact repetition, clusters, refusals."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalweights import (
    EntropyBalancer,
    IPMBalancer,
    PropensityWeighter,
    WeightedEffect,
)
from causalweights.inference import subsample_interval
from causalweights.kernels import Matern

# Small samples, whose weights rest on few rows.
pytestmark = pytest.mark.filterwarnings("ignore:the weights of arm")

ROUNDING = 1e-9  # sums over some dozens of rows, and weights solved to 1e-12
DRAWS = 20  # the fewest that are allowed
N = 40  # with halves treated, sizes are 16, ..., 20


class Inverse(BaseEstimator):
    """Weight rows by a propensity of known slope, at the cost of a division."""

    def __init__(self, warn=False):
        self.warn = warn

    def fit(self, X, treatment, sample_weight=None):
        x = np.asarray(X)[:, 0]
        e = 1 / (1 + np.exp(np.average(x, weights=sample_weight) - x))
        self.weights_ = 1 / np.where(np.asarray(treatment) == 1, e, 1 - e)
        if self.warn and len(x) < N:
            warnings.warn("not there yet", ConvergenceWarning, stacklevel=2)
            warnings.warn("few rows", UserWarning, stacklevel=2)
        return self


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(12)
    X = rng.normal(size=(N, 2))
    score = 0.2 * X[:, 0] + rng.logistic(size=N)
    a = (score > np.median(score)).astype(int)
    return X, X @ [1.0, 0.5] + a + rng.normal(size=N), a


def grid(n_units, smallest):
    """Return the sizes: eight expected rows of the smallest arm at least."""
    start = max(np.sqrt(n_units), np.ceil(8 * n_units / smallest))
    top = min(max(3 * np.sqrt(n_units), 2 * start), n_units / 2)
    return np.unique(np.linspace(start, top, 20).astype(int))


def subsampled(weighter, **options):
    options = {"outcome_model": None, "n_subsamples": DRAWS, **options}
    return WeightedEffect(weighter, se="subsample", **options)


def by_hand(statistic, a, **options):
    n_units = len(np.unique(options.get("groups", np.arange(len(a)))))
    return subsample_interval(
        statistic,
        len(a),
        sizes=grid(n_units, np.bincount(a).min()),
        n_subsamples=DRAWS,
        **options,
    )


def difference(weighter, X, y, a, s=None):
    """Return the weighted contrast of a fit of the weighter itself."""
    masses = clone(weighter).fit(X, a, sample_weight=s).weights_
    masses = masses if s is None else s * masses
    masses = masses / np.bincount(a, weights=masses)[a]
    return masses[a == 1] @ y[a == 1] - masses[a == 0] @ y[a == 0]


def quantile(values, q):
    """Return the q (B + 1)-th of B values, interpolated."""
    places = np.multiply(q, len(values) + 1)
    return np.interp(places, np.arange(1, len(values) + 1), np.sort(values))


def check_same(fit, hand):
    assert fit.effect_ == pytest.approx(hand.estimate, abs=ROUNDING)
    assert fit.se_ == pytest.approx(hand.se, abs=ROUNDING)
    assert fit.conf_int()[0] == pytest.approx([hand.lower, hand.upper], abs=ROUNDING)
    assert fit.result_.details["Subsamples"].split()[2] == str(hand.size)


# --------------------------------------------------------------------- by hand
@pytest.mark.parametrize(
    "weighter",
    [
        IPMBalancer(discriminator="wasserstein", between_arms=False),
        EntropyBalancer(estimand="att"),
        PropensityWeighter(estimand="ato"),
    ],
    ids=["wasserstein", "entropy", "propensity"],
)
def test_contrast_is_that_of_refits_by_hand(weighter, sample):
    X, y, a = sample
    X = X[:, :1]
    fit = subsampled(weighter, random_state=3).fit(X, y, treatment=a)
    hand = by_hand(
        lambda rows: difference(weighter, X[rows], y[rows], a[rows]),
        a,
        random_state=3,
    )
    check_same(fit, hand)
    # At other levels: the quantiles of the same subsamples.
    k = int(np.flatnonzero(hand.sizes == hand.size)[0])
    values = hand.estimates[k][~np.isnan(hand.estimates[k])]
    roots = np.sqrt(hand.size / (N - hand.size)) * (values - hand.estimate)
    expected = hand.estimate - quantile(roots, [0.9, 0.1])
    np.testing.assert_allclose(fit.conf_int(0.8)[0], expected, atol=ROUNDING)
    np.testing.assert_allclose(fit.to_frame(0.8)[["lower", "upper"]], [expected])
    assert fit.influence_ is None


def test_bandwidth_is_that_of_all_rows(sample):
    X, y, a = sample
    named = IPMBalancer(discriminator="matern", estimand="att")
    fit = subsampled(named).fit(X, y, treatment=a)
    fixed = clone(named).set_params(bandwidth=fit.weighter_.bandwidth_)
    hand = by_hand(lambda rows: difference(fixed, X[rows], y[rows], a[rows]), a)
    check_same(fit, hand)
    # A kernel object has its rule inside.
    kernel = clone(named).set_params(discriminator=Matern())
    objects = subsampled(kernel).fit(X, y, treatment=a)
    np.testing.assert_allclose(objects.result_.draws, fit.result_.draws, atol=1e-12)
    assert kernel.discriminator == Matern()


def test_outcome_models_are_fitted_again(sample):
    X, y, a = sample
    options = {"outcome_model": LinearRegression(), "cv": 2, "random_state": 4}
    fit = subsampled(Inverse(), **options).fit(X, y, treatment=a)

    def statistic(rows):
        one = WeightedEffect(Inverse(), **options)
        return one.fit(X[rows], y[rows], treatment=a[rows]).effect_

    hand = by_hand(statistic, a, random_state=4)
    check_same(fit, hand)
    options["cv"] = StratifiedKFold(2)
    assert subsampled(Inverse(), **options).fit(X, y, treatment=a).se_ > 0


def test_sampling_weights_and_clusters_are_carried_along(sample):
    X, y, a = sample
    rng = np.random.default_rng(5)
    X, a = np.repeat(X, 2, axis=0), np.repeat(a, 2)
    y = np.repeat(y, 2) + rng.normal(size=2 * N)
    s, groups = rng.uniform(0.5, 2, 2 * N), np.repeat(np.arange(N), 2)
    weighter = Inverse()
    for seed in (0, 1, 2):
        fit = subsampled(weighter, random_state=seed)
        fit.fit(X, y, treatment=a, sample_weight=s, groups=groups)
        hand = by_hand(
            lambda rows: difference(weighter, X[rows], y[rows], a[rows], s[rows]),
            a,
            groups=groups,
            random_state=seed,
        )
        check_same(fit, hand)
    assert "clusters" in str(fit.summary()) and "clustered" in str(fit.summary())
    # Rows of weight zero take no part.
    more = subsampled(weighter, random_state=seed).fit(
        np.vstack([X[:3], X]),
        np.append([9.0] * 3, y),
        treatment=np.append(a[:3], a),
        sample_weight=np.append(np.zeros(3), 7 * s),
        groups=np.append([70] * 3, groups),
    )
    np.testing.assert_allclose(more.result_.draws, fit.result_.draws, atol=1e-7)


def test_three_arms_share_one_size(sample):
    X, y = np.tile(sample[0], (2, 1)), np.append(sample[1], -sample[1])
    three = np.arange(2 * N) % 3
    fit = subsampled(Inverse()).fit(X, y, treatment=three)
    assert fit.effect_.shape == fit.se_.shape == (2,)
    assert fit.conf_int().shape == (2, 2)
    draws = fit.result_.draws
    assert draws.shape == (DRAWS, 2)
    np.testing.assert_allclose(fit.cov_, np.cov(draws.T))
    np.testing.assert_allclose(fit.se_, draws.std(axis=0, ddof=1))
    contrast = np.array([[-1.0, 1, 0], [-1, 0, 1]])
    np.testing.assert_allclose(contrast @ fit.means_, fit.effect_)
    np.testing.assert_allclose(contrast @ fit.means_cov_ @ contrast.T, fit.cov_)
    assert fit.conf_int()[1, 0] == pytest.approx(
        fit.effect_[1] - quantile(draws[:, 1], 0.975)
    )


# ------------------------------------------------------------------ identities
@pytest.mark.parametrize("slope", [3.0, -3.0])
def test_outcome_shift_and_scale(slope, sample):
    X, y, a = sample
    one = subsampled(EntropyBalancer()).fit(X, y, treatment=a)
    moved = subsampled(EntropyBalancer()).fit(X, 5 + slope * y, treatment=a)
    ends = np.sort(slope * one.conf_int()[0])
    np.testing.assert_allclose(moved.conf_int()[0], ends, atol=ROUNDING)
    assert moved.se_ == pytest.approx(3 * one.se_, abs=ROUNDING)
    np.testing.assert_allclose(moved.result_.pvalue, one.result_.pvalue)


def test_ratio_is_subsampled_as_a_logarithm(sample):
    X, y, a = sample
    event = (y > -1).astype(int)
    fit = subsampled(Inverse(), contrast="ratio").fit(X, event, treatment=a)
    assert fit.effect_ == pytest.approx(fit.means_[1] / fit.means_[0])
    draws = fit.result_.draws[:, 0]
    assert fit.se_ == pytest.approx(fit.effect_ * draws.std(ddof=1))
    low, high = np.log(fit.conf_int()[0])
    expected = np.log(fit.effect_) - quantile(draws, [0.975, 0.025])
    assert [low, high] == pytest.approx(expected)
    other = subsampled(Inverse(), contrast="ratio", control=1)
    other.fit(X, event, treatment=a)
    np.testing.assert_allclose(other.conf_int()[0], np.exp([-high, -low]))


def test_same_bits_for_any_n_jobs_and_for_a_repeated_fit(sample):
    X, y, a = sample
    state = np.random.RandomState(3)  # clones of the model begin at the same state
    model = subsampled(
        Inverse(), outcome_model=LinearRegression(), cv=2, random_state=state
    )
    first = clone(model).fit(X, y, treatment=a)
    two = clone(model).set_params(n_jobs=2).fit(X, y, treatment=a)
    assert np.array_equal(two.result_.draws, first.result_.draws)
    assert (first.se_, first.means_cov_.tolist()) == (two.se_, two.means_cov_.tolist())
    plain = subsampled(Inverse()).fit(X, y, treatment=a)
    draws = plain.result_.draws
    assert np.array_equal(plain.fit(X, y, treatment=a).result_.draws, draws)
    other = subsampled(Inverse(), random_state=2).fit(X, y, treatment=a)
    assert not np.any(other.result_.draws == draws)


def test_frames_and_pipelines(sample):
    X, y, a = sample
    weighter = make_pipeline(StandardScaler(), PropensityWeighter())
    frame = pd.DataFrame(X, columns=["u", "v"])
    fit = subsampled(weighter).fit(frame, y, treatment=a)
    plain = subsampled(PropensityWeighter()).fit(X, y, treatment=a)
    np.testing.assert_allclose(fit.result_.draws, plain.result_.draws, atol=1e-6)
    names = np.where(a == 1, "drug", "placebo")
    ordered = pd.Categorical(names, categories=["placebo", "drug"], ordered=True)
    by_name = subsampled(weighter).fit(frame, y, treatment=pd.Series(ordered))
    assert by_name.se_ == pytest.approx(fit.se_, abs=1e-12)


# -------------------------------------------------------------------- warnings
def test_warnings_of_subsamples_are_counted(sample):
    X, y, a = sample
    with pytest.warns(ConvergenceWarning) as caught:
        fit = subsampled(Inverse(warn=True)).fit(X, y, treatment=a)
    total = 5 * DRAWS
    expected = f"of {total} of {total} subsamples did not converge"
    assert len(caught) == 1 and expected in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning, match=expected):
            subsampled(Inverse(warn=True)).fit(X, y, treatment=a)
        assert subsampled(Inverse()).fit(X, y, treatment=a).se_ == fit.se_


# -------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("weighter", "options", "message"),
    [
        (None, {}, "weighter=None has none: use se='m_estimation'"),
        (np.ones(N), {"estimand": "ate"}, "a vector of weights and a FrozenEst"),
        ("frozen", {}, "a vector of weights and a FrozenEstimator do not allow"),
        ("pipeline", {}, "a vector of weights and a FrozenEstimator do not allow"),
        (Inverse(), {"inference": "sample"}, "for inference='population'; given"),
        (Inverse(), {"weight_type": "frequency"}, "repeat the rows, or use"),
        ("outside", {}, "does not draw from a target= outside"),
        (Inverse(), {"cv": "list"}, "pass a number of folds, a splitter or None"),
        (Inverse(), {"n_subsamples": 19}, "'n_subsamples' parameter"),
        (Inverse(), {"cv": 5, "outcome_model": LinearRegression()}, "fewer folds help"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(weighter, options, message, sample):
    X, y, a = sample
    fitted = PropensityWeighter().fit(X, a)
    named = {
        "frozen": FrozenEstimator(fitted),
        "pipeline": make_pipeline(FrozenEstimator(fitted)),
        "outside": IPMBalancer(target=X[:20] + 0.1),
    }
    weighter = named[weighter] if isinstance(weighter, str) else weighter
    s = np.ones(N) if "weight_type" in options else None
    if options.get("cv") == "list":
        half = np.arange(N) % 2 == 0
        options = {"cv": [(half, ~half), (~half, half)]}
    if options.get("cv") == 5:  # some subsamples of few treated rows have no folds
        a = np.where(np.arange(N) < 12, a, 0)
    with pytest.raises(ValueError, match=message):
        subsampled(weighter, **options).fit(X, y, treatment=a, sample_weight=s)


def test_a_refused_fit_leaves_the_older_one(sample):
    X, y, a = sample
    fit = WeightedEffect(Inverse(), outcome_model=LinearRegression())
    before = fit.fit(X, y, treatment=a).se_
    fit.set_params(se="subsample", inference="sample")
    with pytest.raises(ValueError, match="inference='population'"):
        fit.fit(X, y, treatment=a)
    assert fit.se_ == before and fit.influence_ is not None


# -------------------------------------------------------------------- coverage
@pytest.mark.slow
def test_intervals_cover():
    """200 replications of 300 rows: a Monte-Carlo error of 0.015 at 0.95."""
    hits, errors, ses = 0, [], []
    for rep in range(200):
        rng = np.random.default_rng([31, rep])
        X = rng.normal(size=(300, 2))
        a = (0.5 * X[:, 0] + rng.logistic(size=300) > 0).astype(int)
        y = X[:, 0] + np.sin(X[:, 1]) + a * (1 + X[:, 0]) + rng.normal(size=300)
        fit = subsampled("ipm", n_subsamples=40).fit(X, y, treatment=a)
        low, high = fit.conf_int()[0]
        hits += low < 1 < high
        errors.append(fit.effect_ - 1)
        ses.append(fit.se_)
    low, high = binom.ppf(1e-3, 200, 0.92), binom.ppf(1 - 1e-3, 200, 0.97)
    assert low <= hits <= high, hits
    assert np.mean(ses) == pytest.approx(np.std(errors), rel=0.2)
