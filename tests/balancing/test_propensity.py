"""Propensity weights: statsmodels, closed forms, trimming, cross-fitting, refits."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from causalweights.balancing import PropensityWeighter
from causalweights.balancing._logistic import UnpenalizedLogistic, scores
from causalweights.balancing._tilting import (
    balancing_ratio,
    crump_threshold,
    overlap_tilt,
)
from causalweights.crossfit import make_folds, propensity_predictions

# Published to two decimals.
ESS = 0.006
# statsmodels stops at its own tolerance, the scores here are zero to rounding.
LOGIT = 1e-6
# Two runs of the same convex problem, in another order or scale.
SAME = 1e-10
# Central differences with step 1e-5 of masses computed to 1e-15.
DERIVATIVE = 1e-6

ESTIMANDS = ["ate", "att", "atc", "ato"]


def fitted(X, a, sample_weight=None, propensity=None, **options):
    """Fit without the overlap warning and note the arms for the oracle."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the weights of arm", UserWarning)
        weighter = PropensityWeighter(**options).fit(
            X, a, sample_weight=sample_weight, propensity=propensity
        )
    weighter.arm_of = np.asarray(a)
    return weighter


def exact_logit():
    """Return scikit-learn's logistic regression without a penalty, tightly solved."""
    return LogisticRegression(C=np.inf, tol=1e-8, max_iter=10_000)


# ---- parity ----------------------------------------------------------------------


def test_lalonde_att_effective_size_as_published(lalonde):
    X, a = lalonde
    assert abs(fitted(X, a, estimand="att").ess_[0] - 99.82) < ESS


def test_logistic_is_that_of_statsmodels(lalonde):
    import statsmodels.api as sm

    X, a = lalonde
    weighter = fitted(X, a)
    result = sm.Logit(a, sm.add_constant(X.to_numpy())).fit(disp=0, tol=1e-12)
    np.testing.assert_allclose(weighter.propensity_[:, 1], result.predict(), atol=LOGIT)
    model = weighter.propensity_model_
    np.testing.assert_allclose(model.coef_[0], result.params[1:], atol=LOGIT)
    np.testing.assert_allclose(model.intercept_, result.params[:1], atol=LOGIT)


def test_multinomial_is_that_of_statsmodels(three_arms):
    import statsmodels.api as sm

    X, a, _ = three_arms
    result = sm.MNLogit(a, sm.add_constant(X)).fit(disp=0, tol=1e-12)
    weighter = fitted(X, a)
    np.testing.assert_allclose(weighter.propensity_, result.predict(), atol=LOGIT)
    slopes = weighter.propensity_model_.coef_
    np.testing.assert_allclose((slopes - slopes[0])[1:].T, result.params[1:], atol=1e-5)


@pytest.mark.parametrize("arms", ["two_arms", "three_arms"])
def test_scores_are_zero_to_rounding_with_sampling_weights(request, arms):
    X, a, s = request.getfixturevalue(arms)
    e = fitted(X, a, s).propensity_
    design = np.column_stack([np.ones(len(a)), X])
    assert np.abs((s / s.sum()) @ scores(design, a, e)).max() < 1e-14
    np.testing.assert_allclose(
        e, exact_logit().fit(X, a, sample_weight=s).predict_proba(X), atol=1e-5
    )


# ---- weights ---------------------------------------------------------------------


def test_weights_of_two_arms_are_the_textbook_formulas(two_arms):
    X, a, s = two_arms
    e = fitted(X, a, s).propensity_[:, 1]
    np.testing.assert_allclose(overlap_tilt(np.column_stack([1 - e, e])), e * (1 - e))
    formulas = {
        "ate": np.where(a == 1, 1 / e, 1 / (1 - e)),
        "att": np.where(a == 1, 1.0, e / (1 - e)),
        "atc": np.where(a == 1, (1 - e) / e, 1.0),
        "ato": np.where(a == 1, 1 - e, e),
    }
    targets = {"ate": s, "att": s * a, "atc": s * (1 - a), "ato": s * e * (1 - e)}
    for estimand in ESTIMANDS:
        weighter = fitted(X, a, s, estimand=estimand.upper())
        raw = s * formulas[estimand]
        for k in (0, 1):
            expected = raw[a == k] / raw[a == k].sum()
            np.testing.assert_allclose(weighter.masses_[a == k], expected, rtol=SAME)
            mean = np.average(weighter.weights_[a == k], weights=s[a == k])
            assert abs(mean - 1) < SAME
        target = targets[estimand] / targets[estimand].sum()
        np.testing.assert_allclose(weighter.target_masses_, target, atol=1e-14)
        assert weighter.estimand_ == estimand


@pytest.mark.parametrize("estimand", ESTIMANDS)
def test_weights_of_three_arms_are_the_textbook_formulas(three_arms, estimand):
    X, a, s = three_arms
    weighter = fitted(X, a, s, estimand=estimand, focal=2, control=1)
    e = weighter.propensity_
    h = {"ate": 1.0, "att": e[:, 2], "atc": e[:, 1], "ato": 1 / np.sum(1 / e, axis=1)}
    raw = s * h[estimand] / e[np.arange(len(a)), a]
    for k in range(3):
        expected = raw[a == k] / raw[a == k].sum()
        np.testing.assert_allclose(weighter.masses_[a == k], expected, rtol=SAME)
    if estimand == "ato":
        expected = s * h["ato"] / np.sum(s * h["ato"])
        np.testing.assert_allclose(weighter.target_masses_, expected, rtol=SAME)


def test_overlap_weights_of_a_logistic_model_balance_means_exactly(two_arms):
    X, a, s = two_arms
    weighter = fitted(X, a, s, estimand="ato")
    means = [weighter.masses_[a == k] @ X[a == k] for k in (0, 1)]
    np.testing.assert_allclose(means[0], means[1], atol=SAME)


def test_a_certain_propensity_has_overlap_weight_but_no_inverse():
    e = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    codes = np.array([0, 0, 1])
    np.testing.assert_array_equal(
        balancing_ratio(e, codes, "ato", None), [1.0, 0.0, 0.5]
    )
    assert balancing_ratio(e, codes, "ate", None)[0] == np.inf


def test_atc_is_att_of_the_swapped_treatment(two_arms):
    X, a, s = two_arms
    atc, att = fitted(X, a, s, estimand="atc"), fitted(X, 1 - a, s, estimand="att")
    np.testing.assert_allclose(atc.masses_, att.masses_, rtol=SAME)


def test_given_probabilities_are_used_as_they_are(two_arms):
    X, a, _ = two_arms
    e = np.random.default_rng(0).uniform(0.2, 0.8, size=len(a))
    one = fitted(X, a, propensity=e, estimand="att")
    np.testing.assert_allclose(one.weights_[a == 1], 1.0)
    odds = (e / (1 - e))[a == 0]
    np.testing.assert_allclose(one.masses_[a == 0], odds / odds.sum())
    both = fitted(X, a, propensity=np.column_stack([1 - e, e]), estimand="att")
    np.testing.assert_array_equal(both.weights_, one.weights_)
    # One column means the non-control arm, whichever that is.
    swapped = fitted(X, a, propensity=1 - e, estimand="att", control=1, focal=1)
    np.testing.assert_allclose(swapped.weights_, one.weights_)
    assert one.propensity_model_ is None and one._weight_model() is None
    with pytest.raises(AttributeError):
        one.predict_propensity(X)
    assert not hasattr(one, "predict_weights")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e[:3], "propensity has shape"),
        (lambda e: np.column_stack([e, e, e]), "propensity has shape"),
        (lambda e: np.column_stack([e, e]), "sum to one"),
        (lambda e: e * 3, "must lie in"),
        (lambda e: e * np.nan, "NaN"),
        (lambda e: np.zeros_like(e), "infinite"),
    ],
)
def test_impossible_probabilities_are_refused(two_arms, change, message):
    X, a, _ = two_arms
    e = np.full(len(a), 0.4)
    with warnings.catch_warnings(), pytest.raises(ValueError, match=message):
        warnings.simplefilter("ignore")
        fitted(X, a, propensity=change(e))


def test_no_row_that_resembles_the_target_is_refused(two_arms):
    X, a, _ = two_arms
    e = np.where(a == 1, 0.5, 0.0)
    with pytest.warns(UserWarning, match="given propensities"):
        with pytest.raises(ValueError, match="every weight of arm 0 is zero"):
            fitted(X, a, propensity=e, estimand="att")


# ---- trimming and clipping -------------------------------------------------------


@pytest.mark.parametrize("estimand", ESTIMANDS)
def test_trimmed_rows_leave_weights_and_target(two_arms, estimand):
    X, a, s = two_arms
    X = 2 * X
    weighter = fitted(X, a, s, estimand=estimand, trim=0.25)
    e = weighter.propensity_[:, 1]
    kept = (e >= 0.25) & (e <= 0.75)
    np.testing.assert_array_equal(weighter.kept_, kept)
    assert 0 < (~kept).sum() < len(a) // 2
    assert np.all(weighter.masses_[~kept] == 0)
    assert np.all(weighter.target_masses_[~kept] == 0)
    assert abs(weighter.target_masses_.sum() - 1) < 1e-12
    part = fitted(X[kept], a[kept], s[kept], weighter.propensity_[kept],
                  estimand=estimand)  # fmt: skip
    np.testing.assert_allclose(weighter.masses_[kept], part.masses_, rtol=SAME)
    np.testing.assert_allclose(
        weighter.target_masses_[kept], part.target_masses_, rtol=SAME
    )
    np.testing.assert_allclose(
        weighter.predict_weights(X, a), weighter.weights_, rtol=SAME
    )


def test_crump_rule_is_the_best_threshold(three_arms):
    X, a, s = three_arms
    for codes in (a, np.minimum(a, 1)):
        weighter = fitted(3 * X, codes, s, trim="crump")
        v = np.sum(1 / weighter.propensity_, axis=1)

        def bound(level, v=v):
            kept = v <= level
            return np.sum(s[kept] * v[kept]) / np.sum(s[kept]) ** 2

        best = min(v, key=bound)
        np.testing.assert_array_equal(weighter.kept_, v <= best)
        assert weighter.trim_threshold_ == pytest.approx(best)
        assert not np.all(weighter.kept_)
        # Its first-order condition: about twice the mean of what is kept.
        mean = np.average(v[v <= best], weights=s[v <= best])
        assert np.max(v[v <= best]) <= 2.1 * mean
    even = np.full((10, 2), 0.5)
    assert crump_threshold(even, np.ones(10)) == np.inf


def test_crump_rule_is_for_the_ate(two_arms):
    X, a, _ = two_arms
    with pytest.raises(ValueError, match="rule for estimand='ate' only"):
        fitted(X, a, estimand="att", trim="crump")


def test_trimming_an_arm_away_raises(two_arms):
    X, a, _ = two_arms
    e = np.where(a == 1, 0.95, 0.5)
    with pytest.raises(ValueError, match="arm 1 has no row"):
        fitted(X, a, propensity=e, trim=0.1)


@pytest.mark.parametrize("arms", ["two_arms", "three_arms"])
def test_clipping_bounds_the_probabilities(request, arms):
    X, a, _ = request.getfixturevalue(arms)
    weighter = fitted(2 * X, a, clip=0.2)
    bounded = np.clip(weighter.propensity_, 0.2, 0.8)
    bounded /= bounded.sum(axis=1, keepdims=True)
    raw = 1 / bounded[np.arange(len(a)), a]
    for k in np.unique(a):
        own = a == k
        np.testing.assert_allclose(
            weighter.masses_[own], raw[own] / raw[own].sum(), rtol=SAME
        )
    assert weighter.propensity_.min() < 0.2
    np.testing.assert_allclose(weighter.target_masses_, 1 / len(a))


# ---- models ----------------------------------------------------------------------


@pytest.mark.parametrize("arms", ["two_arms", "three_arms"])
def test_out_of_fold_probabilities(request, arms):
    X, a, s = request.getfixturevalue(arms)
    cv = KFold(4, shuffle=True, random_state=3)
    weighter = fitted(X, a, s, cv=cv)
    for train, test in cv.split(X):
        model = UnpenalizedLogistic().fit(X[train], a[train], s[train])
        np.testing.assert_allclose(
            weighter.propensity_[test], model.predict_proba(X[test]), rtol=SAME
        )
    whole = UnpenalizedLogistic().fit(X, a, s)
    np.testing.assert_allclose(
        weighter.predict_propensity(X), whole.predict_proba(X), rtol=SAME
    )
    assert weighter._weight_model() is None


def test_cross_fitting_is_that_of_the_package_and_repeatable(two_arms):
    X, a, s = two_arms
    forest = RandomForestClassifier(20, min_samples_leaf=5, random_state=0)
    options = dict(propensity_model=forest, cv=5, random_state=7, clip=0.05)
    weighter = fitted(X, a, s, **options)
    folds = make_folds(5, len(a), codes=a, random_state=7)
    expected = propensity_predictions(
        forest, X, a, 2, folds, sample_weight=s / s.mean()
    )
    np.testing.assert_array_equal(weighter.propensity_, expected)
    two_jobs = fitted(X, a, s, n_jobs=2, **options)
    np.testing.assert_array_equal(weighter.weights_, two_jobs.weights_)
    assert not hasattr(forest, "classes_")


def test_list_of_splits_counts_the_callers_rows(two_arms):
    X, a, s = two_arms
    s[[0, 50, 199]] = 0.0
    splits = list(KFold(4).split(X))
    weighter = fitted(X, a, s, cv=splits)
    kept = s > 0
    assert np.all(np.isnan(weighter.propensity_[~kept]))
    for train, test in splits:
        train, test = train[kept[train]], test[kept[test]]
        model = UnpenalizedLogistic().fit(X[train], a[train], s[train])
        np.testing.assert_allclose(
            weighter.propensity_[test], model.predict_proba(X[test]), rtol=SAME
        )


def test_a_model_that_takes_no_weights_is_refused_only_with_weights(two_arms):
    X, a, s = two_arms
    neighbors = KNeighborsClassifier(25)
    plain = fitted(X, a, propensity_model=neighbors, clip=0.01)
    np.testing.assert_allclose(
        plain.propensity_, clone(neighbors).fit(X, a).predict_proba(X)
    )
    with pytest.raises(ValueError, match="sample_weight"):
        fitted(X, a, s, propensity_model=neighbors)


@pytest.mark.parametrize("weight_type", ["sampling", "frequency"])
def test_a_penalised_model_sees_the_weights_of_the_weight_type(two_arms, weight_type):
    X, a, s = two_arms
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
    weighter = fitted(X, a, s, propensity_model=model, weight_type=weight_type)
    seen = s / s.mean() if weight_type == "sampling" else s
    model.fit(X, a, logisticregression__sample_weight=seen)
    np.testing.assert_allclose(weighter.propensity_, model.predict_proba(X))


# ---- identities ------------------------------------------------------------------


@pytest.mark.parametrize("estimand", ESTIMANDS)
def test_frequency_weights_are_replication_and_zero_is_absence(two_arms, estimand):
    X, a, _ = two_arms
    count = np.random.default_rng(2).integers(0, 4, size=len(a))
    options = dict(estimand=estimand, weight_type="frequency")
    counted = fitted(X, a, count, **options)
    rows = np.repeat(np.arange(len(a)), count)
    copied = fitted(X[rows], a[rows], **options)
    np.testing.assert_allclose(counted.weights_[rows], copied.weights_, rtol=1e-9)
    assert counted.ess_ == pytest.approx(copied.ess_)
    assert np.all(counted.weights_[count == 0] == 0)
    assert np.all(counted.target_masses_[count == 0] == 0)


def test_sampling_weights_are_scale_free(two_arms):
    X, a, s = two_arms
    penalised = LogisticRegression(C=0.1)
    for model in (None, penalised):
        one = fitted(X, a, s, propensity_model=model)
        many = fitted(X, a, 1e6 * s, propensity_model=model)
        np.testing.assert_allclose(one.weights_, many.weights_, rtol=1e-6)


def test_permuting_rows_and_columns_permutes_weights(three_arms):
    X, a, s = three_arms
    rows = np.random.default_rng(1).permutation(len(a))
    moved = fitted(X[rows][:, [2, 0, 1]], a[rows], s[rows])
    np.testing.assert_allclose(
        moved.weights_, fitted(X, a, s).weights_[rows], rtol=SAME
    )


@pytest.mark.parametrize("scale", [1e-150, 1e-12, 1e12, 1e150])
def test_units_do_not_matter(two_arms, scale):
    X, a, _ = two_arms
    moved = fitted(X * scale * [1, -1, 2] + 3 * scale, a)
    np.testing.assert_allclose(moved.weights_, fitted(X, a).weights_, rtol=1e-9)


def test_redundant_columns_change_nothing(three_arms):
    X, a, _ = three_arms
    wide = np.column_stack([X, X[:, 0], 2 * X[:, 1] - X[:, 2] + 5])
    plain, redundant = fitted(X, a), fitted(wide, a)
    np.testing.assert_allclose(redundant.weights_, plain.weights_, rtol=1e-9)
    np.testing.assert_allclose(
        redundant.predict_weights(wide, a), redundant.weights_, rtol=SAME
    )


def test_constant_columns_are_ignored_with_a_warning(two_arms):
    X, a, _ = two_arms
    wide = np.column_stack([X, np.full(len(a), 7.0)])
    with pytest.warns(UserWarning, match="constant covariates.*column 3"):
        weighter = fitted(wide, a)
    np.testing.assert_allclose(weighter.weights_, fitted(X, a).weights_, rtol=SAME)
    assert weighter.propensity_model_.coef_.shape == (1, 4)
    assert weighter.propensity_model_.coef_[0, 3] == 0
    wide[:, 3] = 0.0  # what a constant column holds in new rows does not matter
    np.testing.assert_allclose(weighter.predict_weights(wide, a), weighter.weights_)


@pytest.mark.parametrize("estimand", ESTIMANDS)
def test_predicted_weights_are_the_training_weights(three_arms, estimand):
    X, a, s = three_arms
    weighter = fitted(X, a, s, estimand=estimand, focal=2)
    predicted = weighter.predict_weights(X, a)
    np.testing.assert_allclose(predicted, weighter.weights_, rtol=SAME)
    np.testing.assert_allclose(weighter.predict_weights(X[:5], a[:5]), predicted[:5])
    with pytest.raises(ValueError, match="label 7"):
        weighter.predict_weights(X[:1], [7])


# ---- the weight model ------------------------------------------------------------


@pytest.mark.parametrize("estimand", ESTIMANDS)
@pytest.mark.parametrize("arms", ["two_arms", "three_arms"])
def test_weight_model_predicts_refits(request, mass_derivative_error, arms, estimand):
    X, a, s = request.getfixturevalue(arms)
    s[3] = 0.0

    def fit(s):
        return fitted(X, a, s, estimand=estimand, focal=1)

    assert mass_derivative_error(fit, s) < DERIVATIVE
    model = fit(s)._weight_model()
    assert model.log_gradient.shape == (len(a), 4 * (len(np.unique(a)) - 1))
    assert np.all(model.log_gradient[3] == 0) and np.all(model.influence[3] == 0)
    assert np.all(model.target_influence == 0)
    np.testing.assert_allclose(model.influence.sum(axis=0), 0.0, atol=1e-10)


@pytest.mark.parametrize("option", [{"trim": 0.2}, {"clip": 0.2}])
def test_weight_model_with_bounds_predicts_refits(
    two_arms, mass_derivative_error, option
):
    X, a, s = two_arms

    def fit(s):
        return fitted(1.5 * X, a, s, **option)

    assert mass_derivative_error(fit, s) < DERIVATIVE


def test_weight_model_of_a_users_logistic_regression_is_the_same(two_arms):
    X, a, s = two_arms

    def spread(model, X):
        found = fitted(X, a, s, propensity_model=model)._weight_model()
        # Free of the basis: the first-order error of each log mass.
        return found.log_gradient @ found.influence.T

    expected = spread(None, X)
    for model in (
        exact_logit(),
        make_pipeline(StandardScaler(), exact_logit()),
        make_pipeline(StandardScaler(), "passthrough", exact_logit()),
    ):
        np.testing.assert_allclose(spread(model, X), expected, atol=1e-4)
    quadratic = make_pipeline(PolynomialFeatures(2), StandardScaler(), exact_logit())
    wide = PolynomialFeatures(2, include_bias=False).fit_transform(X)
    np.testing.assert_allclose(spread(quadratic, X), spread(None, wide), atol=1e-4)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(C=0.01),
        LogisticRegression(C=np.inf, class_weight={0: 1.0, 1: 9.0}),
        make_pipeline(PCA(2), LogisticRegression(C=np.inf)),
        make_pipeline(
            StandardScaler(), LogisticRegression(C=np.inf, fit_intercept=False)
        ),
        RandomForestClassifier(10, min_samples_leaf=20, random_state=0),
    ],
)
def test_weight_model_is_claimed_only_where_the_scores_are_solved(two_arms, model):
    X, a, _ = two_arms
    assert fitted(X, a, propensity_model=model, clip=0.01)._weight_model() is None


def test_clipped_rows_of_three_arms_have_no_weight_model(three_arms):
    X, a, _ = three_arms
    assert fitted(2 * X, a, clip=0.2)._weight_model() is None


# ---- warnings and input ----------------------------------------------------------


def test_separation_names_rows_and_covariate(two_arms):
    import pandas as pd

    X, _, _ = two_arms
    frame = pd.DataFrame(X, columns=["u", "v", "w"])
    a = (X[:, 1] > 0).astype(int)
    with pytest.warns(UserWarning, match=r"separates the arms \(by 'v'.*of arm 0"):
        fitted(frame, a)
    level = (np.arange(200) < 4).astype(float)
    half = np.where(level == 1, 1, np.arange(200) % 2)
    with pytest.warns(UserWarning, match=r"by 'column 3'.*concerned: 4 of arm 1\."):
        fitted(np.column_stack([X, level]), half)


def test_concentrated_weights_are_said(two_arms):
    X, a, _ = two_arms
    e = np.where((a == 0) & (np.arange(len(a)) < 5), 0.999, 0.5)
    with pytest.warns(UserWarning, match="arm 0 rest on few rows"):
        PropensityWeighter().fit(X, a, propensity=e)


def test_containers_and_layouts_agree(two_arms, frame_library):
    X, a, _ = two_arms
    plain = fitted(X, a).weights_
    framed = fitted(frame_library(X, ["u", "v", "w"]), a)
    np.testing.assert_allclose(framed.weights_, plain, rtol=SAME)
    strided = np.repeat(np.asfortranarray(X), 2, axis=1)[:, ::2]
    np.testing.assert_allclose(fitted(strided, a).weights_, plain, rtol=SAME)
    small = fitted(X.astype(np.float32), a).weights_
    np.testing.assert_allclose(small, plain, rtol=1e-4)


def test_inputs_are_left_as_they_are(two_arms):
    X, a, s = two_arms
    e = np.full(len(a), 0.4)
    copies = [v.copy() for v in (X, a, s, e)]
    for v in (X, a, s, e):
        v.flags.writeable = False
    fitted(X, a, s, trim=0.05, clip=0.1)
    fitted(X, a, s, e)
    for v, copy in zip((X, a, s, e), copies, strict=True):
        np.testing.assert_array_equal(v, copy)


def test_bad_input_is_refused_with_advice(two_arms):
    X, a, _ = two_arms
    with pytest.raises(ValueError, match=r"control must be given.*'drug', 'none'"):
        fitted(X, np.where(a == 1, "drug", "none"))
    missing = X.copy()
    missing[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        fitted(missing, a)
    with pytest.raises(ValueError, match="no row with a positive sample_weight"):
        fitted(X, a, sample_weight=(a == 1).astype(float))
    with pytest.raises(ValueError, match="needs focal="):
        fitted(X, np.arange(len(a)) % 3, estimand="att")
    for bad in ({"trim": 0.5}, {"clip": 0}, {"propensity_model": "logit"}):
        with pytest.raises(ValueError, match=f"'{next(iter(bad))}' parameter"):
            fitted(X, a, **bad)


def test_pipeline_clone_pickle_and_labels(two_arms):
    X, a, _ = two_arms
    labels = np.where(a == 1, "drug", "none")
    plain = fitted(X, a, estimand="att")
    weighter = PropensityWeighter(estimand="att", control="none")
    piped = make_pipeline(StandardScaler(), clone(weighter)).fit(X, labels)
    np.testing.assert_allclose(piped[-1].weights_, plain.weights_, rtol=SAME)
    # Columns follow treatments_ (drug, none), not the order of the control.
    np.testing.assert_allclose(piped[-1].propensity_[:, ::-1], plain.propensity_)
    again = pickle.loads(pickle.dumps(plain))
    np.testing.assert_array_equal(
        again.predict_weights(X, a), plain.predict_weights(X, a)
    )


def test_rows_travel_through_a_routing_pipeline(two_arms):
    X, a, s = two_arms
    e = np.random.default_rng(0).uniform(0.2, 0.8, size=len(a))
    pipeline = make_pipeline(StandardScaler(), PropensityWeighter())
    plain = fitted(X, a, s, e)
    with config_context(enable_metadata_routing=True):
        pipeline[0].set_fit_request(sample_weight=False)
        pipeline.fit(X, a, sample_weight=s, propensity=e)
    np.testing.assert_array_equal(pipeline[-1].weights_, plain.weights_)


def test_unpenalized_logistic_is_a_classifier_of_its_own(two_arms):
    X, a, s = two_arms
    model = clone(UnpenalizedLogistic()).fit(X, np.where(a == 1, "b", "a"), s)
    np.testing.assert_array_equal(model.classes_, ["a", "b"])
    raw = X @ model.coef_[0] + model.intercept_
    np.testing.assert_allclose(model.decision_function(X), raw, rtol=1e-9)
    assert model.score(X, np.where(a == 1, "b", "a")) > 0.5
    with pytest.raises(ValueError, match="one arm only"):
        UnpenalizedLogistic().fit(X, np.zeros(len(a)))
