"""Frames with categories, in every estimator that takes covariates.

A category of two levels is its 0/1 column; of more, distances and models of linear
span are what indicators made by hand give.
"""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from causalweights import (
    EntropyBalancer,
    IndependenceBalancer,
    IPMBalancer,
    PropensityWeighter,
    WeightedEffect,
    WeightedKernelRidge,
)

N, LEVELS = 120, ["low", "mid", "high"]
# Weights of the same program, up to the rounding of its data.
SAME = 1e-10

_rng = np.random.default_rng(5)
AGE, INCOME = _rng.normal(size=(2, N))
LEVEL = _rng.integers(0, 3, size=N)
SEX = _rng.integers(0, 2, size=N)
A = (0.7 * AGE + 0.5 * (LEVEL == 2) + 0.4 * SEX + _rng.logistic(size=N) > 0.6).astype(
    int
)
Y = AGE + (LEVEL == 1) - SEX + A + 0.3 * _rng.normal(size=N)
DOSE = AGE + (LEVEL == 2) + _rng.normal(size=N)
S = _rng.integers(1, 4, size=N).astype(float)

NUMBERS = pd.DataFrame({"age": AGE, "income": INCOME})
BINARY = NUMBERS.assign(sex=SEX)
MIXED = NUMBERS.assign(
    sex=pd.Categorical(np.array(["f", "m"])[SEX]),
    level=pd.Categorical(np.array(LEVELS)[LEVEL], LEVELS),
)
NAMES = ["age", "income", "sex=f", "sex=m", "level=low", "level=mid", "level=high"]

WEIGHTERS = {
    "ipm": IPMBalancer(),
    "ipm att": IPMBalancer(estimand="att", discriminator="gaussian"),
    "ipm moments": IPMBalancer(moments=2, moment_tol=0.05, between_arms=False),
    "ipm raw": IPMBalancer(standardize=False, discriminator="matern"),
    "ipm low rank": IPMBalancer(solver="low_rank", rank=60, ridge=1.0, tol=1.0),
    "variance": IPMBalancer(
        discriminator=None, ridge=1.0, moments=1, interactions=True, moment_tol=0.1,
        between_arms=False,
    ),
    "wasserstein": IPMBalancer(discriminator="wasserstein", between_arms=False),
    "entropy": EntropyBalancer(moments=2),
    "propensity": PropensityWeighter(),
    "independence": IndependenceBalancer(moments=1),
}  # fmt: skip
WITH_PREDICTIONS = [
    "ipm", "ipm att", "ipm moments", "ipm raw", "ipm low rank", "variance", "entropy",
    "propensity",
]  # fmt: skip


def treatment_of(weighter):
    return DOSE if isinstance(weighter, IndependenceBalancer) else A


def fitted(key, X, **data):
    weighter = clone(WEIGHTERS[key])
    return weighter.fit(X, treatment_of(weighter), **data)


def as_polars(frame):
    return pl.from_pandas(frame)


# ---- two levels are a 0/1 column -----------------------------------------------------


@pytest.mark.parametrize("sample_weight", [None, S])
@pytest.mark.parametrize("key", WEIGHTERS)
def test_two_levels_are_a_column_of_zeros_and_ones(key, sample_weight):
    number = fitted(key, BINARY, sample_weight=sample_weight)
    words = fitted(key, MIXED.drop(columns="level"), sample_weight=sample_weight)
    assert_allclose(words.weights_, number.weights_, rtol=0, atol=SAME)
    assert_array_equal(words.feature_names_in_, ["age", "income", "sex"])
    assert words.n_features_in_ == 3


@pytest.mark.parametrize("key", WITH_PREDICTIONS)
def test_two_levels_are_a_column_in_new_rows(key):
    new = slice(10, 70)
    one = fitted(key, BINARY)
    two = fitted(key, MIXED.drop(columns="level"))
    numbers, words = BINARY[new], MIXED[new].drop(columns="level")
    assert_allclose(
        two.predict_weights(words, A[new]),
        one.predict_weights(numbers, A[new]),
        atol=1e-8,
    )
    assert two.score(words, A[new]) == pytest.approx(
        one.score(numbers, A[new]), rel=1e-8
    )
    if hasattr(two, "witness") and key != "variance":
        assert_allclose(two.witness(words), one.witness(numbers), atol=1e-8)


@pytest.mark.parametrize("options", [{}, {"standardize": False}, {"max_exact": 0}])
def test_two_levels_are_a_column_in_kernel_ridge(options):
    one = WeightedKernelRidge(**options).fit(BINARY, Y, S)
    words = MIXED.drop(columns="level")
    two = WeightedKernelRidge(**options).fit(words, Y, S)
    assert two.bandwidth_ == pytest.approx(one.bandwidth_)
    assert_allclose(two.predict(words), one.predict(BINARY), atol=1e-7)
    assert_array_equal(two.feature_names_in_, ["age", "income", "sex"])


def test_kernel_ridge_with_two_levels_predicts_one_row():
    model = WeightedKernelRidge().fit(MIXED, Y)
    assert model.predict(MIXED[:1]) == pytest.approx(model.predict(MIXED)[0])


# ---- more levels: the same numbers made by hand --------------------------------------


def by_hand(factor):
    """Return standardised columns, indicators times a factor."""
    dummies = [SEX == 0, SEX == 1, *(LEVEL == k for k in range(3))]
    D = np.column_stack(dummies).astype(float)
    Z = np.column_stack(
        [AGE, INCOME, *((D - D.mean(axis=0)) / D.std(axis=0) * factor).T]
    )
    Z[:, :2] = (Z[:, :2] - Z[:, :2].mean(axis=0)) / Z[:, :2].std(axis=0)
    return Z


@pytest.mark.parametrize("scale", [None, 1.0, 0.3])
def test_ipm_distances_are_those_of_scaled_indicators(scale):
    options = {} if scale is None else {"categorical_scale": scale}
    found = IPMBalancer(**options).fit(MIXED, A)
    Z = by_hand(np.sqrt(0.5) if scale is None else scale)
    expected = IPMBalancer(standardize=False).fit(Z, A)
    assert_allclose(found.weights_, expected.weights_, rtol=0, atol=SAME)
    m1, m0 = np.where(A == 1, found.masses_, 0), np.where(A == 0, found.masses_, 0)
    distance = -(m1 - m0) @ cdist(Z, Z) @ (m1 - m0)
    assert found.pairwise_discrepancy_[(0, 1)] == pytest.approx(distance, rel=1e-6)


@pytest.mark.parametrize("scale", [None, 1.0, 0.3])
def test_independence_weights_are_those_of_scaled_indicators(scale):
    options = {} if scale is None else {"categorical_scale": scale}
    factor = np.sqrt(0.5) if scale is None else scale
    found = IndependenceBalancer(**options).fit(MIXED, DOSE)
    D = cdist(by_hand(factor), by_hand(factor))
    D = D - D.mean(axis=0) - D.mean(axis=1)[:, None] + D.mean()
    energy = -found.masses_ @ D @ found.masses_
    assert found.energy_covariates_ == pytest.approx(energy, rel=1e-8)
    # p of the dimension adjustment: two numbers, and five indicators of factor^2.
    root = np.sqrt(2 + 5 * factor**2)
    parts = (
        found.distance_covariance_
        + found.energy_treatment_ / (1 + root)
        + found.energy_covariates_ * root / (1 + root)
        + 1e-2 * np.sum(found.masses_**2)
    )
    assert found.objective_ == pytest.approx(parts, rel=1e-8)


def test_logistic_weights_are_those_of_a_dropped_level():
    found = PropensityWeighter().fit(MIXED, A)
    design = sm.add_constant(
        np.column_stack([AGE, INCOME, SEX, LEVEL == 1, LEVEL == 2]).astype(float)
    )
    e = sm.Logit(A, design).fit(disp=0, tol=1e-14).predict()
    assert_allclose(found.propensity_[:, 1], e, atol=1e-8)
    model = LogisticRegression(C=1e12, tol=1e-12, max_iter=10_000)
    given = PropensityWeighter(propensity_model=model).fit(design[:, 1:], A)
    assert_allclose(found.weights_, given.weights_, rtol=1e-4)
    new = MIXED[:30][::-1]
    assert_allclose(found.predict_propensity(new)[:, 1], e[:30][::-1], atol=1e-8)


@pytest.mark.parametrize("interactions", [False, True])
def test_entropy_weights_are_those_of_a_dropped_level(interactions):
    """The span of indicators and their products is that of all but one."""
    balancer = EntropyBalancer(estimand="att", interactions=interactions)
    design = np.column_stack([AGE, INCOME, SEX, LEVEL == 1, LEVEL == 2]).astype(float)
    found, expected = clone(balancer).fit(MIXED, A), balancer.fit(design, A)
    assert_allclose(found.weights_, expected.weights_, rtol=1e-8)
    focal = MIXED[A == 1]
    for level, share in focal["level"].value_counts(normalize=True).items():
        held = found.masses_ * ((MIXED["level"] == level) & (A == 0))
        assert held.sum() == pytest.approx(share, abs=1e-9)


# ---- names ---------------------------------------------------------------------------


def test_moments_are_named_by_level():
    assert EntropyBalancer().fit(MIXED, A).moment_names_ == NAMES
    balancer = IPMBalancer(moments=1, moment_tol=0.1).fit(MIXED, A)
    assert balancer.moment_names_ == NAMES
    assert_array_equal(balancer.feature_names_in_, MIXED.columns)
    with pytest.raises(ValueError, match="worst covariate is 'level=high'"):
        EntropyBalancer(estimand="att").fit(MIXED.assign(age=0.1 * AGE), LEVEL == 2)


def test_separation_is_told_by_level():
    rows = np.flatnonzero(LEVEL != 1)
    with pytest.warns(UserWarning, match="'level=low'|'level=high'"):
        PropensityWeighter().fit(MIXED.iloc[rows], LEVEL[rows] == 2)


def test_a_constant_level_is_named():
    frame = MIXED.assign(town="oslo")
    for estimator in (IPMBalancer(), IndependenceBalancer()):
        with pytest.warns(UserWarning, match="constant covariates.*: town=oslo"):
            estimator.fit(frame, treatment_of(estimator))


def test_unused_categories_say_nothing():
    wide = MIXED.assign(level=MIXED["level"].cat.set_categories(["none", *LEVELS]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = IPMBalancer().fit(wide, A)
    assert_array_equal(found.weights_, IPMBalancer().fit(MIXED, A).weights_)


# ---- frames of any library, new rows -------------------------------------------------


@pytest.mark.parametrize("key", WEIGHTERS)
def test_strings_categories_and_polars_are_one(key):
    # In alphabetical order, which strings have.
    frame = MIXED.assign(level=MIXED["level"].cat.set_categories(sorted(LEVELS)))
    words = frame.astype({"sex": object, "level": str})
    expected = fitted(key, frame)
    for other in (words, as_polars(words), as_polars(frame)):
        assert_array_equal(fitted(key, other).weights_, expected.weights_)
    if key in WITH_PREDICTIONS:
        found = expected.predict_weights(as_polars(words), A)
        assert_array_equal(found, expected.predict_weights(frame, A))
        again = pickle.loads(pickle.dumps(expected))
        assert_array_equal(again.predict_weights(frame, A), found)
        # Three levels of four rows: the columns are those of fit.
        assert len(expected.predict_weights(frame[:4], A[:4])) == 4


@pytest.mark.parametrize("key", WITH_PREDICTIONS)
def test_unseen_levels_are_refused_by_name(key):
    weighter = fitted(key, MIXED)
    new = MIXED.astype({"level": object})
    new.loc[7, "level"] = "unheard"
    calls = [lambda: weighter.predict_weights(new, A), lambda: weighter.score(new, A)]
    if hasattr(weighter, "witness"):
        calls.append(lambda: weighter.witness(new))
    for call in calls:
        with pytest.raises(
            ValueError, match=r"'level' holds the level 'unheard'.*row 7"
        ):
            call()
    with pytest.raises(ValueError, match="feature names should match"):
        weighter.predict_weights(MIXED[MIXED.columns[::-1]], A)
    with pytest.raises(ValueError, match="pass a frame with the same columns"):
        weighter.predict_weights(MIXED.to_numpy(), A)


def test_strings_where_fit_saw_numbers_are_refused_by_name():
    weighter = IPMBalancer().fit(BINARY, A)
    with pytest.raises(ValueError, match="Not numeric in X: 'sex'"):
        weighter.predict_weights(MIXED.drop(columns="level"), A)
    weighter.fit(BINARY.assign(sex=MIXED["sex"]), A)  # and a refit forgets
    weighter.fit(BINARY, A)
    assert_array_equal(weighter.weights_, IPMBalancer().fit(BINARY, A).weights_)
    assert weighter.predict_weights(BINARY, A) == pytest.approx(weighter.weights_)


def test_an_outside_target_has_the_categories_of_fit():
    target = MIXED[LEVEL != 0].astype({"level": object})
    found = IPMBalancer(target=target).fit(MIXED, A)
    Z = by_hand(np.sqrt(0.5))
    expected = IPMBalancer(target=Z[LEVEL != 0], standardize=False).fit(Z, A)
    assert_allclose(found.weights_, expected.weights_, rtol=0, atol=SAME)
    target.iloc[3, 3] = "unheard"
    with pytest.raises(ValueError, match="'level' holds the level 'unheard'"):
        IPMBalancer(target=target).fit(MIXED, A)


@pytest.mark.parametrize("cls", [IPMBalancer, IndependenceBalancer])
@pytest.mark.parametrize("scale", [0.0, -1.0, "half"])
def test_a_scale_is_a_positive_number(cls, scale):
    with pytest.raises(ValueError, match="categorical_scale"):
        cls(categorical_scale=scale).fit(MIXED, A)


# ---- effects -------------------------------------------------------------------------


@pytest.mark.parametrize("convert", [lambda frame: frame, as_polars])
def test_the_default_effect_takes_categories(convert):
    found = WeightedEffect().fit(convert(MIXED), Y, treatment=A)
    assert abs(found.effect_ - 1.0) < 3 * found.se_ < 0.5
    expected = IPMBalancer().fit(MIXED, A)
    # polars sorts the levels, and sums in that order.
    assert_allclose(found.weighter_.weights_, expected.weights_, rtol=0, atol=SAME)
    assert_array_equal(found.feature_names_in_, MIXED.columns)


def test_an_effect_of_two_levels_is_that_of_a_column():
    one = WeightedEffect().fit(BINARY, Y, treatment=A)
    two = WeightedEffect().fit(MIXED.drop(columns="level"), Y, treatment=A)
    assert two.effect_ == pytest.approx(one.effect_, abs=1e-7)
    assert two.se_ == pytest.approx(one.se_, abs=1e-7)


def test_a_level_that_a_fold_lacks_is_known_from_the_dtype():
    frame = MIXED.assign(level=MIXED["level"].cat.add_categories("rare"))
    frame.loc[0, "level"] = "rare"
    assert np.isfinite(WeightedEffect().fit(frame, Y, treatment=A).se_)
    with pytest.raises(ValueError, match=r"'rare'.*categorical dtype that lists every"):
        WeightedEffect().fit(frame.astype({"level": object}), Y, treatment=A)
