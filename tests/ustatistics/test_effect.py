"""UniformTransformerEffect: conventions, identities, invariances, refusals."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import PolynomialFeatures

from causalweights import UniformTransformerEffect, compare
from causalweights.inference import nearest_matching
from causalweights.ustatistics import UniformTransformer

# Sums over a few hundred rows, in another order.
ROUNDING = 1e-10

# Nine controls and five treated rows, and what the deterministic form of the authors'
# estimator gives on them, computed by an implementation of its own.
CONTROLS = [
    (0.1, 2, 1), (0.4, -1, 0), (0.9, 0.5, 2), (1.3, 3, 3), (1.8, -2, -1),
    (2.2, 1.1, 2.5), (2.7, 0.2, 1.5), (3.1, -0.6, 0.5), (3.9, 1.7, 4),
]  # fmt: skip
TREATED = [(0.7, 1, 2), (2, 0, 1), (2.5, 2.4, 4.5), (3.5, -1.5, 0.5), (4.2, 0.8, 5)]
GOLDEN = {
    ("joint", "none"): (0.843466071762, 0.795597987624, 1.453683334888, 0.054715647724),
    ("joint", "reflect"):
        (0.813887687200, 0.805238065909, 0.852478861592, 0.071414314412),
    ("marginal", "none"):
        (0.878625023016, 0.858383450690, 1.523292846606, 0.052456363089),
    ("marginal", "reflect"):
        (0.882354171766, 0.875029095527, 0.910869545737, 0.067293752894),
    ("rank", "none"): (0.934840923904, 0.884663257313, 1.586191163001, 0.044231671911),
    ("rank", "reflect"):
        (0.928535079657, 0.917773911602, 0.961775551788, 0.060525830601),
}  # fmt: skip
PLAIN = {"augment": None, "se": None}


@pytest.fixture(scope="module")
def golden():
    rows = np.array(CONTROLS + TREATED, dtype=float)
    return rows[:, :2], rows[:, 2], np.repeat([0, 1], [9, 5])


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(7)
    n = 260
    X = rng.normal(size=(n, 2))
    a = (X @ [0.7, 0.4] + rng.logistic(size=n) > 0).astype(int)
    y = X[:, 0] + np.sin(2 * X[:, 1]) + a * (1 + X[:, 0]) + rng.normal(size=n)
    return X, y, a


def fit(data, *, estimand="ate", weight=None, groups=None, **options):
    X, y, a = data
    with warnings.catch_warnings():
        # Of dependent covariates under "global", which some tests are about.
        warnings.simplefilter("ignore", UserWarning)
        return UniformTransformerEffect(estimand, **options).fit(
            X, y, treatment=a, sample_weight=weight, groups=groups
        )


# ------------------------------------------------------------------- published numbers
@pytest.mark.parametrize(("transform", "boundary"), GOLDEN)
def test_kernel_estimates_of_the_specification(transform, boundary, golden):
    options = {**PLAIN, "transformer": transform, "boundary": boundary}
    found = [
        fit(golden, estimand="att", normalization=name, **options)
        for name in ("global", "per_target", "none")
    ]
    expected = GOLDEN[transform, boundary]
    assert [f.effect_ for f in found] == pytest.approx(expected[:3], abs=1e-9)
    assert found[1].masses_[0] == pytest.approx(expected[3], abs=1e-9)
    assert found[0].bandwidth_ == {0: pytest.approx(14**-0.5)}


@pytest.mark.parametrize(
    ("transform", "expected"),
    [("joint", 0.632943743451), ("marginal", 0.731995803922), ("rank", 0.776262626263)],
)
def test_projection_of_the_specification(transform, expected, golden):
    options = {**PLAIN, "basis": "polynomial", "degree": 1, "transformer": transform}
    found = fit(golden, estimand="att", **options)
    assert found.effect_ == pytest.approx(expected, abs=1e-9)


# -------------------------------------------------------------------------- identities
def images(found, X, arm):
    return found.maps_[arm][0].transform(X)


@pytest.mark.parametrize("normalization", ["per_target", "global"])
@pytest.mark.parametrize("estimand", ["ate", "att", "atc"])
def test_weights_by_brute_force(estimand, normalization, sample):
    X, y, a = sample
    found = fit(
        sample, estimand=estimand, normalization=normalization, augment=None,
        boundary="none", transformer="joint",
    )  # fmt: skip
    focal = {"ate": None, "att": 1, "atc": 0}[estimand]
    t = np.ones(len(y)) if focal is None else (a == focal) * 1.0
    t /= t.sum()
    means = np.zeros(2)
    for arm in (0, 1):
        own, other = a == arm, a != arm
        expected = t[own].copy()
        if t[other].sum() > 0:
            U, V = (images(found, X[part], arm) for part in (own, other))
            h = len(y) ** -0.5
            K = np.exp(-cdist(U, V, "sqeuclidean") / (2 * h**2))
            if normalization == "global":
                expected += t[other].sum() * K.sum(axis=1) / K.sum()
            else:
                expected += (K / K.sum(axis=0)) @ t[other]
        assert np.allclose(found.masses_[own], expected, atol=ROUNDING)
        means[arm] = found.masses_[own] @ y[own]
    assert found.effect_ == pytest.approx(means[1] - means[0], abs=ROUNDING)
    assert np.allclose(found.means_, means, atol=ROUNDING)
    for arm in (0, 1):
        assert found.masses_[a == arm].sum() == pytest.approx(1.0, abs=1e-12)
        assert found.weights_[a == arm].mean() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("options", [{}, {"augment": None}, {"basis": "legendre"}])
def test_ate_is_the_average_of_att_and_atc_at_their_bandwidths(options, sample):
    X, y, a = sample
    parts = {name: fit(sample, estimand=name, **options) for name in ("att", "atc")}
    share = a.mean()
    ate = fit(sample, **options).effect_
    expected = share * parts["att"].effect_ + (1 - share) * parts["atc"].effect_
    assert ate == pytest.approx(expected, abs=1e-12)
    flipped = (X, y, 1 - a)
    assert fit(flipped, **options).effect_ == pytest.approx(-ate, abs=1e-12)
    other = fit(flipped, estimand="atc", **options)
    assert other.effect_ == pytest.approx(-parts["att"].effect_, abs=1e-12)


@pytest.mark.parametrize("normalization", ["per_target", "global"])
@pytest.mark.parametrize("options", [{}, {"augment": None}, {"kernel": "gaussian4"}])
def test_outcome_shift_and_scale(options, normalization, sample):
    X, y, a = sample
    options = {**options, "normalization": normalization}
    base = fit(sample, **options)
    moved = fit((X, 100 - 3 * y, a), **options)
    assert moved.effect_ == pytest.approx(-3 * base.effect_, abs=1e-9)
    assert moved.se_ == pytest.approx(3 * base.se_, rel=1e-9)
    treated_more = fit((X, y + 2 * a, a), **options)
    assert treated_more.effect_ == pytest.approx(base.effect_ + 2, abs=1e-9)
    constant = fit((X, np.full(len(y), 5.0), a), **options)
    assert np.allclose(constant.means_, 5.0, atol=1e-12)


def test_rows_in_another_order_change_nothing(sample):
    X, y, a = sample
    order = np.random.default_rng(3).permutation(len(y))
    X = X.round(1)  # with ties
    for transform in ("rank", "marginal", "joint"):
        base = fit((X, y, a), transformer=transform)
        other = fit((X[order], y[order], a[order]), transformer=transform)
        assert np.allclose(other.masses_, base.masses_[order], atol=1e-12)
        assert other.effect_ == pytest.approx(base.effect_, abs=1e-12)
        assert other.se_ == pytest.approx(base.se_, rel=1e-10)


def test_local_averages_stay_within_the_outcomes(sample):
    _X, y, a = sample
    found = fit(sample, estimand="att", augment=None)
    assert y[a == 0].min() <= found.means_[0] <= y[a == 0].max()
    assert np.all(found.masses_ >= 0)


def test_wide_kernel_is_the_difference_in_means(sample):
    _X, y, a = sample
    difference = y[a == 1].mean() - y[a == 0].mean()
    for normalization in ("per_target", "global"):
        found = fit(
            sample, bandwidth=1e6, boundary="none", augment=None,
            normalization=normalization,
        )  # fmt: skip
        assert found.effect_ == pytest.approx(difference, abs=ROUNDING)


@pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov"])
def test_narrow_kernel_matches_nearest_neighbors(kernel, sample):
    X, y, a = sample
    frozen = FrozenEstimator(UniformTransformer("rank").fit(X))
    found = fit(
        sample, estimand="att", transformer=frozen, kernel=kernel, bandwidth=1e-4,
        augment=None,
    )  # fmt: skip
    U = frozen.transform(X)
    t = (a == 1) / np.sum(a == 1)
    assert np.allclose(found.masses_, nearest_matching(U, y, a, t).masses, atol=1e-9)
    if kernel == "epanechnikov":
        assert found.n_unsupported_[0] > 200 * a.mean()


def test_one_neighbor_has_the_variance_of_matching(sample):
    X, y, a = sample
    frozen = FrozenEstimator(UniformTransformer("marginal").fit(X))
    for estimand in ("ate", "att"):
        found = fit(
            sample, estimand=estimand, transformer=frozen, bandwidth=1e-4, augment=None,
            kernel="epanechnikov",
        )  # fmt: skip
        U, n = frozen.transform(X), len(y)
        # Abadie & Imbens (2006), theorems 6 and 7, by hand with one match.
        sigma2, imputed, times = np.zeros(n), np.zeros((n, 2)), np.zeros(n)
        for arm in (0, 1):
            own, other = np.flatnonzero(a == arm), np.flatnonzero(a != arm)
            D = cdist(U[own], U[own])
            near = np.argsort(D, axis=1)[:, 1:5]
            sigma2[own] = 0.8 * (y[own] - y[own][near].mean(axis=1)) ** 2
            match = own[np.argmin(cdist(U[other], U[own]), axis=1)]
            imputed[own, arm], imputed[other, arm] = y[own], y[match]
            if estimand == "ate" or arm == 0:
                np.add.at(times, match, 1)
        effects = imputed[:, 1] - imputed[:, 0]
        if estimand == "ate":
            variance = np.sum((effects - found.effect_) ** 2)
            variance += np.sum((times**2 + times) * sigma2)
            expected = np.sqrt(variance) / n
        else:
            treated = a == 1
            variance = np.sum((effects[treated] - found.effect_) ** 2)
            variance += np.sum((times * (times - 1) * sigma2)[~treated])
            expected = np.sqrt(variance) / treated.sum()
        assert found.se_ == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("transform", ["rank", "joint"])
def test_projection_is_least_squares_imputation(transform, sample):
    X, y, a = sample
    options = {"basis": "polynomial", "degree": 2, "transformer": transform}
    found = fit(sample, estimand="att", augment=None, **options)
    U = PolynomialFeatures(2).fit_transform(images(found, X, 0))
    model = LinearRegression(fit_intercept=False).fit(U[a == 0], y[a == 0])
    expected = y[a == 1].mean() - model.predict(U[a == 1]).mean()
    assert found.effect_ == pytest.approx(expected, abs=ROUNDING)
    balanced = found.masses_[a == 0] @ U[a == 0]
    assert np.allclose(balanced, U[a == 1].mean(axis=0), atol=ROUNDING)
    wiggly = fit(sample, estimand="att", **{**options, "degree": 6})
    assert np.any(wiggly.masses_ < 0) and wiggly.se_ > 0
    same = fit(
        sample, estimand="att", augment_space="u",
        augment=LinearRegression(), cv=None, **{**options, "degree": 1},
    )  # fmt: skip
    alone = fit(sample, estimand="att", augment=None, **{**options, "degree": 1})
    assert same.effect_ == pytest.approx(alone.effect_, abs=ROUNDING)


@pytest.mark.parametrize("basis", ["cosine", "legendre", "haar", "bspline"])
def test_identity_gram_is_the_kernel_of_the_basis(basis, sample):
    a = sample[2]
    found = fit(
        sample, estimand="att", augment=None, transformer="joint", basis=basis,
        degree=1, basis_gram="identity", normalization="global",
    )  # fmt: skip
    exact = fit(
        sample, estimand="att", augment=None, transformer="joint", basis=basis, degree=1
    )
    assert found.masses_[a == 0].sum() == pytest.approx(1.0, abs=1e-12)
    # The joint map makes the reference uniform up to its cells.
    assert found.effect_ == pytest.approx(exact.effect_, abs=0.15)


def test_linear_outcomes_are_exact(sample):
    X, _, a = sample
    y = X @ [2.0, -1.0] + 3 * a
    for options in ({}, {"normalization": "global"}, {"basis": "haar"}):
        assert fit((X, y, a), **options).effect_ == pytest.approx(3.0, abs=1e-10)


def test_order_average_is_the_mean_of_both_orders(sample):
    _X, _y, _a = sample
    options = {"transformer": "joint", "estimand": "att", "augment": None}
    both = fit(sample, order_average=2, **options)
    orders = [
        fit(sample, **{**options, "transformer": UniformTransformer(
            "joint", coordinate_order=order)})
        for order in ([0, 1], [1, 0])
    ]  # fmt: skip
    assert np.allclose(
        both.masses_, np.mean([one.masses_ for one in orders], axis=0), atol=ROUNDING
    )
    assert both.effect_ == pytest.approx(np.mean([o.effect_ for o in orders]))
    alone = fit(sample, **options)
    one = fit(sample, **{**options, "order_average": 1})
    assert alone.se_ == one.se_


def test_authors_package_is_a_preset(golden):
    first, again, other = (
        UniformTransformerEffect.wunt(random_state=seed, se=None) for seed in (1, 1, 2)
    )
    X, y, a = golden
    values = [model.fit(X, y, treatment=a).effect_ for model in (first, again, other)]
    assert values[0] == values[1] != values[2]
    assert first.estimand == "att"
    assert first.normalization == "global" and first.boundary == "none"


# ----------------------------------------------------------------------- uncertainty
def test_standard_error_is_that_of_the_formula(sample):
    X, y, a = sample
    found = fit(sample, estimand="att", transformer="marginal", boundary="none")
    own, other = np.flatnonzero(a == 0), np.flatnonzero(a == 1)
    model = LinearRegression().fit(X[own], y[own])
    r = y - model.predict(X)
    U, V = images(found, X[own], 0), images(found, X[other], 0)
    K = np.exp(-cdist(U, V, "sqeuclidean") * len(y) / 2)
    kappa = K / K.sum(axis=0)
    near = np.argsort(cdist(U, U), axis=1)[:, 1:5]
    sigma2 = 0.8 * (r[own] - r[own][near].mean(axis=1)) ** 2
    noise = np.sum((kappa.sum(axis=1) ** 2 - (kappa**2).sum(axis=1)) * sigma2)
    spread = np.sum((r[other] - r[own] @ kappa - found.effect_) ** 2)
    assert found.se_ == pytest.approx(np.sqrt(noise + spread) / len(other), rel=1e-9)
    conservative = np.sqrt(np.sum(found.influence_**2)) / len(y)
    assert found.se_ < conservative < 1.2 * found.se_


def test_order_average_squares_are_those_of_the_shares(sample):
    X, y, a = sample
    found = fit(
        sample, estimand="att", transformer="joint", order_average=2, augment=None,
        boundary="none",
    )  # fmt: skip
    own, other = np.flatnonzero(a == 0), np.flatnonzero(a == 1)
    kappa = 0
    for one in found.maps_[0]:
        K = cdist(one.transform(X[own]), one.transform(X[other]), "sqeuclidean")
        K = np.exp(-K * len(y) / 2)
        kappa = kappa + K / K.sum(axis=0) / 2
    near = np.argsort(cdist(*2 * [found.maps_[0][0].transform(X[own])]), axis=1)
    sigma2 = 0.8 * (y[own] - y[own][near[:, 1:5]].mean(axis=1)) ** 2
    noise = np.sum((kappa.sum(axis=1) ** 2 - (kappa**2).sum(axis=1)) * sigma2)
    spread = np.sum((y[other] - y[own] @ kappa - found.effect_) ** 2)
    assert found.se_ == pytest.approx(np.sqrt(noise + spread) / len(other), rel=1e-9)


def test_multiplier_draws_have_the_analytic_variance_and_a_third_moment(sample):
    X, y, a = sample
    skewed = np.exp(y)
    found = fit((X, skewed, a), se="multiplier", n_draws=4000)
    plain = fit((X, skewed, a))
    assert found.se_ == plain.se_
    draws = found.result_.draws[:, 0]
    assert draws.std() == pytest.approx(plain.se_, rel=0.05)
    assert abs(draws.mean()) < 4 * plain.se_ / np.sqrt(len(draws))
    low, high = found.conf_int()[0]
    assert high - found.effect_ != pytest.approx(found.effect_ - low, rel=0.02)
    again = fit((X, skewed, a), se="multiplier", n_draws=4000)
    assert np.array_equal(again.result_.draws, found.result_.draws)


def test_clusters_sum_influence(sample):
    y = sample[1]
    groups = np.arange(len(y)) // 4
    found = fit(sample, groups=groups)
    sums = np.bincount(groups, weights=found.influence_) / len(y)
    G = len(sums)
    assert found.se_ == pytest.approx(np.sqrt(np.sum(sums**2) * G / (G - 1)))
    drawn = fit(sample, groups=groups, se="multiplier", n_draws=4000)
    assert drawn.se_ == pytest.approx(found.se_)
    assert drawn.result_.draws.std() == pytest.approx(found.se_, rel=0.06)


def test_subsamples_agree_with_the_formula(sample):
    found = fit(sample, se="subsample", n_draws=60)
    assert found.se_ == pytest.approx(fit(sample).se_, rel=0.4)
    assert found.influence_ is None
    assert fit(sample, se="subsample", n_draws=60, n_jobs=2).se_ == found.se_


# -------------------------------------------------------------------- data of all kinds
@pytest.mark.parametrize("transform", ["rank", "marginal", "joint"])
@pytest.mark.parametrize("augment", ["linear", None])
def test_frequencies_are_copies(transform, augment, sample):
    y = sample[1]
    times = np.random.default_rng(2).integers(0, 4, len(y))
    options = {"transformer": transform, "augment": augment, "bandwidth": 0.1}
    weighted = fit(sample, weight=times, weight_type="frequency", **options)
    copied = fit(tuple(np.repeat(v, times, axis=0) for v in sample), **options)
    assert weighted.effect_ == pytest.approx(copied.effect_, abs=1e-9)
    assert weighted.se_ == pytest.approx(copied.se_, rel=1e-9)
    assert np.allclose(
        np.repeat(weighted.weights_, times), copied.weights_, rtol=1e-8, atol=1e-10
    )
    assert np.all(weighted.weights_[times == 0] == 0)


def test_sampling_weights_are_scale_free_and_ones_are_none(sample):
    s = np.random.default_rng(5).uniform(0.5, 2.0, len(sample[1]))
    for options in ({}, {"transformer": "joint"}, {"basis": "cosine"}):
        base, other = (fit(sample, weight=c * s, **options) for c in (1, 1000))
        assert other.effect_ == pytest.approx(base.effect_, abs=1e-9)
        assert other.se_ == pytest.approx(base.se_, rel=1e-9)
        ones, none = (fit(sample, weight=w, **options) for w in (np.ones_like(s), None))
        assert ones.effect_ == pytest.approx(none.effect_, abs=1e-12)
        means = [np.average(base.weights_[sample[2] == k], weights=s[sample[2] == k])
                 for k in (0, 1)]  # fmt: skip
        assert np.allclose(means, 1.0, atol=1e-12)


def test_duplicated_rows_leave_the_rank_map_and_global_estimate(sample):
    X = sample[0]
    twice = tuple(np.concatenate([v, v]) for v in sample)
    options = {"bandwidth": 0.1, "normalization": "global", "augment": None}
    base, doubled = fit(sample, **options), fit(twice, **options)
    assert np.array_equal(images(base, X, 0), images(doubled, X, 0))
    assert doubled.effect_ == pytest.approx(base.effect_, abs=1e-12)


def test_three_arms_with_text_labels(sample):
    X, y, a = sample
    arm = np.where(a == 1, "b", np.where(np.arange(len(y)) % 2, "c", "a"))
    found = fit((X, y, arm), control="c")
    assert found.effect_.shape == found.se_.shape == (2,)
    assert found.influence_.shape == (len(y), 2)
    pairs = [
        fit((X, y, arm), control="c", estimand="att", focal=label).effect_[k]
        for k, label in enumerate(["a", "b"])
    ]
    assert np.all(np.isfinite(pairs))
    two = arm != "b"
    alone = fit((X[two], y[two], arm[two]), control="c", estimand="att", bandwidth=0.1)
    among = fit((X, y, arm), control="c", estimand="att", focal="a", bandwidth=0.1)
    assert among.effect_[0] == pytest.approx(alone.effect_, abs=1e-12)
    assert among.se_[0] == pytest.approx(alone.se_, rel=1e-9)


def test_ratios_by_the_delta_method(sample):
    X, y, a = sample
    rng = np.random.default_rng(1)
    binary = (y + rng.normal(size=len(y)) > 0).astype(float)
    found = fit((X, binary, a), contrast="odds_ratio")
    p0, p1 = found.means_
    assert found.effect_ == pytest.approx(p1 / (1 - p1) / (p0 / (1 - p0)))
    low, high = found.conf_int()[0]
    assert 0 < low < found.effect_ < high
    classified = fit((X, binary, a), augment=LogisticRegression())
    difference = fit((X, binary, a))
    assert classified.effect_ == pytest.approx(difference.effect_, abs=0.05)
    drawn = fit((X, binary, a), contrast="ratio", se="multiplier", n_draws=2000)
    plain = fit((X, binary, a), contrast="ratio")
    assert np.allclose(drawn.conf_int(), plain.conf_int(), rtol=0.1)


def test_frames_categories_and_layouts(sample, frame_library):
    X, y, a = sample
    frame = frame_library(X, ["age", "wage"])
    base = fit(sample)
    assert fit((frame, y, a)).effect_ == base.effect_
    single = np.asfortranarray(X.astype(np.float32))
    single.setflags(write=False)
    assert fit((single, y, a)).effect_ == pytest.approx(base.effect_, abs=1e-5)
    words = pd.DataFrame({"x": X[:, 0], "place": np.where(X[:, 1] > 0, "in", "out")})
    assert np.isfinite(fit((words, y, a)).se_)


def test_own_maps(sample):
    X, y, a = sample
    frozen = FrozenEstimator(UniformTransformer("rank").fit(X))
    by_class = fit(sample, transformer=frozen)
    by_function = fit(sample, transformer=frozen.transform)
    ready = fit((frozen.transform(X), y, a), transformer="none", augment_space="u")
    assert by_function.effect_ == by_class.effect_
    in_space = fit(sample, transformer=frozen, augment_space="u")
    assert ready.effect_ == pytest.approx(in_space.effect_, abs=1e-12)
    custom = fit(sample, transformer=UniformTransformer("joint", within_cell="linear"))
    assert np.isfinite(custom.effect_)


def test_a_model_that_is_cross_fitted_and_predictions(sample):
    X, y, a = sample
    forest = RandomForestRegressor(20, random_state=0)
    found = fit(sample, augment=forest, cv=3)
    assert found.effect_ == clone(found).fit(X, y, treatment=a).effect_
    assert abs(found.effect_ - 1) < 4 * found.se_
    linear = fit(sample, estimand="att")
    predicted = linear.predict_outcome(X[a == 1], 0)
    expected = y[a == 1].mean() - predicted.mean()
    assert linear.effect_ == pytest.approx(expected, abs=ROUNDING)
    assert np.array_equal(linear.predict(X[:3]), np.repeat(linear.effect_, 3))
    with pytest.raises(ValueError, match="was not imputed; these were: 0"):
        linear.predict_outcome(X, 1)
    signed = fit(sample, kernel="gaussian4")
    with pytest.raises(ValueError, match="without negative values"):
        signed.predict_outcome(X, 0)


def test_bandwidth_rules(sample):
    y = sample[1]
    n = len(y)
    assert fit(sample).bandwidth_[0] == pytest.approx(n**-0.5)
    assert fit(sample, bandwidth="wide").bandwidth_[1] == pytest.approx(2 * n**-0.5)
    rule = fit(sample, bandwidth=lambda U, V: 1 / (len(U) + len(V)))
    assert rule.bandwidth_[0] == pytest.approx(1 / n)
    chosen = fit(sample, bandwidth="lepski", transformer="joint").bandwidth_
    for h in chosen.values():
        assert np.log2(h * n**0.5) == pytest.approx(round(np.log2(h * n**0.5)))


def test_lepski_stays_low_where_the_outcome_is_rough(rng):
    n = 600
    X = rng.uniform(size=(n, 1))
    a = (rng.uniform(size=n) < 0.1 + 0.8 * X[:, 0]).astype(int)
    y = 20 * np.sin(20 * X[:, 0]) + 20 * X[:, 0] + 0.1 * rng.normal(size=n)
    chosen = fit((X, y, a), bandwidth="lepski", augment=None).bandwidth_
    assert max(chosen.values()) < 0.05


def test_results_print_and_compare(sample):
    found = fit(sample)
    text = str(found.summary())
    assert "Average treatment effect" in text and "rank map" in text
    assert "LinearRegression" in text or "linear" in text
    table = compare(found, fit(sample, basis="polynomial"))
    assert list(table["effect"]) == [found.effect_, table["effect"].iloc[1]]
    assert "0.00" in found.to_latex() or "&" in found.to_latex()


# ---------------------------------------------------------------- warnings and refusals
def test_inconsistent_form_warns(rng):
    n = 400
    X = rng.normal(size=(n, 2))
    X[:, 1] = 0.8 * X[:, 0] + 0.6 * X[:, 1]
    a = (X[:, 0] + rng.logistic(size=n) > 0).astype(int)
    y = X.sum(axis=1) + rng.normal(size=n)
    model = UniformTransformerEffect("att", normalization="global")
    with pytest.warns(UserWarning, match="leaves the covariates of arm 0 dependent"):
        model.fit(X, y, treatment=a)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone(model).set_params(transformer="joint").fit(X, y, treatment=a)
        UniformTransformerEffect("att").fit(X, y, treatment=a)


def test_many_covariates_without_a_model_warn(rng):
    X, a = rng.normal(size=(200, 5)), np.arange(200) % 2
    with pytest.warns(UserWarning, match="a kernel of 5 covariates without"):
        UniformTransformerEffect(augment=None).fit(X, X[:, 0], treatment=a)


def test_targets_out_of_reach_are_counted_and_warned_of(rng):
    X = np.concatenate([rng.uniform(0, 0.5, 60), rng.uniform(0.4, 1, 20)])[:, None]
    a = np.repeat([0, 1], [60, 20])
    lost = np.sum(cdist(X[a == 1], X[a == 0]).min(axis=1) > 0.05)
    model = UniformTransformerEffect(
        "att", kernel="uniform", transformer="none", boundary="none", bandwidth=0.05
    )
    with pytest.warns(UserWarning, match=f"{lost} of 20 target rows have no row of"):
        model.fit(X, X[:, 0], treatment=a)
    assert model.n_unsupported_ == {0: lost}
    beyond = np.mean(X[a == 1] > X[a == 0].max())
    assert model.frac_out_of_range_[0] == pytest.approx([beyond])


@pytest.mark.parametrize("normalization", ["per_target", "global"])
def test_weakly_supported_targets_are_counted(normalization):
    rng = np.random.default_rng(5)
    X = np.concatenate([rng.uniform(0, 0.5, 60), rng.uniform(0.2, 0.7, 40)])[:, None]
    a = np.repeat([0, 1], [60, 40])
    model = UniformTransformerEffect(
        "att", transformer="none", boundary="none", bandwidth=0.05,
        normalization=normalization,
    ).fit(X, X[:, 0], treatment=a)  # fmt: skip
    sums = np.exp(-((cdist(X[a == 1], X[a == 0]) / 0.05) ** 2) / 2).sum(axis=1)
    weak = np.mean(sums < np.median(sums) / 20)
    assert 0 < weak < 1
    assert model.frac_weakly_supported_ == {0: pytest.approx(weak)}
    assert model.n_unsupported_ == {0: 0}


def test_a_kernel_that_cancels_falls_back_and_says_so(rng):
    # Two standard deviations from all reference rows a fourth-order kernel is negative.
    X = np.concatenate([rng.uniform(0, 0.4, 80), [0.62, 0.63]])[:, None]
    a = np.arange(82) % 2
    a[80:] = 1
    options = {"kernel": "gaussian4", "bandwidth": 0.1, "boundary": "none",
               "transformer": "none", "augment": None}  # fmt: skip
    model = UniformTransformerEffect("att", **options)
    with pytest.warns(UserWarning, match="normalization='global' was used"):
        model.fit(X, X[:, 0], treatment=a)
    same = fit((X, X[:, 0], a), estimand="att", normalization="global", **options)
    assert model.effect_ == same.effect_


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalization": "none"}, "has no variance formula"),
        ({"estimand": "ato"}, "estimand='ato' is not available"),
        ({"order_average": 2}, "use transformer='joint'"),
        ({"order_average": 3, "transformer": "joint"}, "have 2 orders only"),
        ({"order_average": 2, "kernel": "gaussian4", "transformer": "joint"},
         "kernels without negative"),
        ({"basis": "haar", "degree": 6}, "more than half of an arm's"),
        ({"transformer": "none"}, "must map into the unit cube"),
        ({"transformer": lambda X: X[:3, 0]}, "one image a row"),
        ({"bandwidth": lambda U, V: -1.0}, "must be a positive number"),
        ({"kernel": "sinc"}, "kernel"),
        ({"n_neighbors": 300}, "use fewer neighbors"),
        ({"se": "subsample", "cv": [([0], [1])]}, "makes the folds of every"),
    ],
)  # fmt: skip
def test_refused_options(options, message, sample):
    X, y, a = sample
    model = UniformTransformerEffect(**options)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, treatment=a)
    assert not hasattr(model, "effect_")


def test_refused_data(sample):
    X, y, a = sample
    model = UniformTransformerEffect()
    bad = X.copy()
    bad[3, 0] = np.nan
    for args, options, message in [
        ((bad, y), {"treatment": a}, "NaN"),
        ((X, y), {"treatment": np.zeros(len(y))}, "one arm only"),
        ((X, y), {}, "treatment is missing"),
        ((np.ones_like(X), y), {"treatment": a}, "constant"),
        ((X, y), {"treatment": a, "sample_weight": (a == 0) * 1.0}, "arm 1 has no row"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.fit(*args, **options)
    frame, other = pd.DataFrame(X), pd.Series(y).sample(frac=1, random_state=0)
    with pytest.raises(ValueError, match="same index labels in another order"):
        model.fit(frame, other, treatment=a)
