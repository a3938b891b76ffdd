"""WeightedEffect: identities, routes, data of all kinds and refusals."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalweights import (
    EntropyBalancer,
    IPMBalancer,
    PropensityWeighter,
    WeightedEffect,
    compare,
)
from causalweights.inference import augmented_means

STEP = 1e-4  # of numerical derivatives
ROUNDING = 1e-9  # sums over a few hundred rows, and weights solved to 1e-12


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(11)
    n = 240
    X = rng.normal(size=(n, 3))
    a = (X[:, 0] - 0.5 * X[:, 1] + rng.logistic(size=n) > 0).astype(int)
    y = X @ [1.0, 0.5, 0.0] + a * (1 + X[:, 0]) + rng.normal(size=n)
    return X, y, a


def fast(**options):
    options.setdefault("outcome_model", Ridge())
    return WeightedEffect(**options)


# -------------------------------------------------------------------- identities
@pytest.mark.parametrize("estimand", ["ate", "att", "atc"])
@pytest.mark.parametrize("outcome_model", [None, Ridge()])
def test_estimate_and_influence_by_hand(estimand, outcome_model, sample):
    X, y, a = sample
    folds = [(np.flatnonzero(np.arange(240) % 2 == k), np.flatnonzero(
        np.arange(240) % 2 != k)) for k in (0, 1)]  # fmt: skip
    fit = WeightedEffect(
        estimand=estimand, outcome_model=outcome_model or None, cv=folds
    )
    if outcome_model is None:
        plain = fit.fit(X, y, treatment=a)
        w = IPMBalancer(estimand=estimand).fit(X, a).masses_
        expected = w[a == 1] @ y[a == 1] - w[a == 0] @ y[a == 0]
        assert plain.effect_ == pytest.approx(expected, abs=ROUNDING)
        return
    fit.fit(X, y, treatment=a)
    m = np.zeros((240, 2))
    for train, test in folds:
        for arm in (0, 1):
            rows = train[a[train] == arm]
            m[test, arm] = Ridge().fit(X[rows], y[rows]).predict(X[test])
    M, n = fit.masses_, 240
    if estimand == "ate":
        tau = np.mean(m[:, 1] - m[:, 0])
        tau += np.where(a == 1, M * (y - m[:, 1]), -M * (y - m[:, 0])).sum()
        psi = m[:, 1] - m[:, 0] - tau
        psi += np.where(a == 1, n * M * (y - m[:, 1]), -n * M * (y - m[:, 0]))
    else:
        sign, own = (1, 1) if estimand == "att" else (-1, 0)
        residual = y - m[:, 1 - own]
        tau = sign * (residual[a == own].mean() - M[a != own] @ residual[a != own])
        psi = np.where(
            a == own,
            n / np.sum(a == own) * (sign * residual - tau),
            -sign * n * M * residual,
        )
    assert fit.effect_ == pytest.approx(tau, abs=ROUNDING)
    np.testing.assert_allclose(fit.influence_, psi, atol=1e-8)
    assert fit.se_ == pytest.approx(np.sqrt(np.sum(psi**2)) / n, abs=ROUNDING)
    assert fit.means_[1] - fit.means_[0] == pytest.approx(tau, abs=ROUNDING)


@pytest.mark.parametrize("estimand", ["ate", "att", "atc"])
def test_outcome_shift_and_scale(estimand, sample):
    X, y, a = sample
    one = WeightedEffect(estimand=estimand).fit(X, y, treatment=a)
    moved = WeightedEffect(estimand=estimand).fit(X, 5 - 3 * y, treatment=a)
    assert moved.effect_ == pytest.approx(-3 * one.effect_, rel=1e-6)
    assert moved.se_ == pytest.approx(3 * one.se_, rel=1e-6)
    flat = WeightedEffect(estimand=estimand).fit(X, np.full(240, 7.0), treatment=a)
    assert flat.effect_ == pytest.approx(0, abs=1e-10)


def test_swapping_labels_flips_the_sign(sample):
    X, y, a = sample
    att = fast(estimand="att").fit(X, y, treatment=a)
    atc = fast(estimand="atc").fit(X, y, treatment=1 - a)
    assert atc.effect_ == pytest.approx(-att.effect_, abs=ROUNDING)
    assert atc.se_ == pytest.approx(att.se_, rel=1e-6)


def test_linear_kernel_without_ridge_is_ols_imputation(sample):
    """Unconstrained weights of a linear kernel, augmented, impute as OLS does."""
    from causalweights.inference import augmented_means
    from causalweights.kernels import Linear

    X, y, a = sample
    S, T, ys, ridge = X[a == 0], X[a == 1], y[a == 0], 1e-7
    kernel = Linear(constant=1.0)
    inverse = np.linalg.inv(kernel(S) + ridge * np.eye(len(S)))
    masses, target = np.zeros(240), (a == 1) / np.sum(a)
    masses[a == 0] = inverse @ kernel(S, T).mean(axis=1)
    predictions = np.column_stack([kernel(X, S) @ inverse @ ys, np.zeros(240)])
    mean = augmented_means(y, a, masses, target, predictions).means[0]
    imputed = LinearRegression().fit(S, ys).predict(T).mean()
    assert mean == pytest.approx(imputed, abs=1e-6)


def test_kernel_ridge_augmented_by_kernel_weights_is_undersmoothing(sample):
    """Bruns-Smith, Dukes, Feller & Ogburn (2025): k'(K+l)^-1 [Y + l (K+l)^-1 Y]."""
    from causalweights.kernels import Gaussian

    X, y, a = sample
    S, T, ys, ridge = X[a == 0], X[a == 1], y[a == 0], 0.3
    K = Gaussian(1.5)(S)
    k = Gaussian(1.5)(S, T).mean(axis=1)
    inverse = np.linalg.inv(K + ridge * np.eye(len(S)))
    w = inverse @ k  # unconstrained weights
    m_source, m_target = K @ inverse @ ys, k @ inverse @ ys
    augmented = m_target + w @ (ys - m_source)
    smoothed = k @ inverse @ (ys + ridge * inverse @ ys)
    assert augmented == pytest.approx(smoothed, abs=1e-10)


def test_three_arms_contrast_with_the_control(sample):
    X, y, a = sample
    three = np.where((a == 1) & (X[:, 2] > 0), 2, a)
    fit = fast().fit(X, y, treatment=three)
    assert fit.effect_.shape == fit.se_.shape == (2,)
    assert fit.influence_.shape == (240, 2)
    np.testing.assert_allclose(fit.effect_, fit.means_[1:] - fit.means_[0])
    np.testing.assert_allclose(fit.se_, np.sqrt(np.diag(fit.cov_)))
    np.testing.assert_allclose(
        fit.cov_, fit.influence_.T @ fit.influence_ / 240**2, atol=1e-12
    )
    other = fast(control=2).fit(X, y, treatment=three)
    assert other.effect_[0] == pytest.approx(-fit.effect_[1], abs=ROUNDING)
    assert fit.predict(X[:4]).shape == (4, 2)
    assert list(fit.to_frame().index) == ["1 vs 0", "2 vs 0"]


@pytest.mark.parametrize("contrast", ["ratio", "odds_ratio"])
def test_ratios_of_a_binary_outcome(contrast, sample):
    X, y, a = sample
    event = (y > 0).astype(int)
    fit = WeightedEffect(contrast=contrast, outcome_model=LogisticRegression()).fit(
        X, event, treatment=a
    )
    m0, m1 = fit.means_
    odds = m1 / m0 if contrast == "ratio" else m1 / (1 - m1) / (m0 / (1 - m0))
    assert fit.effect_ == pytest.approx(odds)
    low, high = fit.conf_int()[0]
    assert 0 < low < fit.effect_ < high


# ------------------------------------------------------------------------- routes
def test_weighter_in_all_its_forms_agrees(sample):
    X, y, a = sample
    fitted = IPMBalancer(estimand="att").fit(X, a)
    effects = [
        fast(estimand="att").fit(X, y, treatment=a),
        fast(weighter=IPMBalancer(estimand="att")).fit(X, y, treatment=a),
        fast(weighter=FrozenEstimator(fitted)).fit(X, y, treatment=a),
        fast(weighter=fitted.weights_, estimand="att").fit(X, y, treatment=a),
        fast(weighter=make_pipeline(StandardScaler(), IPMBalancer(estimand="att"))).fit(
            X, y, treatment=a
        ),
    ]
    for other in effects[1:]:
        assert other.effect_ == pytest.approx(effects[0].effect_, abs=1e-7)
        assert other.se_ == pytest.approx(effects[0].se_, abs=1e-7)
        assert other.estimand_ == "att"


def test_user_objects_are_not_fitted_in_place(sample):
    X, y, a = sample
    weighter, model = IPMBalancer(), Ridge()
    WeightedEffect(weighter, outcome_model=model).fit(X, y, treatment=a)
    assert not hasattr(weighter, "weights_") and not hasattr(model, "coef_")


def test_regression_adjustment_equals_statsmodels_margins(sample):
    X, y, a = sample
    fit = WeightedEffect(
        None, outcome_model=LinearRegression(), cv=None, inference="sample"
    ).fit(X, y, treatment=a)
    center = X - X.mean(axis=0)
    design = sm.add_constant(np.column_stack([a, center, a[:, None] * center]))
    ols = sm.OLS(y, design).fit(cov_type="HC0")
    assert fit.effect_ == pytest.approx(ols.params[1], abs=ROUNDING)
    assert fit.se_ == pytest.approx(ols.bse[1], rel=1e-9)


@pytest.mark.parametrize(
    ("weighter", "estimand"),
    [
        *product([EntropyBalancer, PropensityWeighter, None], ["ate", "att", "atc"]),
        (PropensityWeighter, "ato"),
    ],
)
@pytest.mark.parametrize(
    "outcome_model", [None, LinearRegression(), LogisticRegression(C=np.inf)]
)
def test_m_estimation_is_the_derivative_in_the_row_weights(
    weighter, outcome_model, estimand, sample
):
    """The estimate as a function of row weights has slope phi_i in log s_i.

    Every nuisance parameter is solved again under the perturbed weights, so this checks
    all derivatives of the stacked estimating equations at once.
    """
    if weighter is None and outcome_model is None:
        outcome_model = make_pipeline(StandardScaler(), LinearRegression())
    X, y, a = (v[:90] for v in sample)
    if isinstance(outcome_model, LogisticRegression):
        y = (y > np.median(y)).astype(float)
    given = None if weighter is None else weighter(estimand=estimand)
    effect = WeightedEffect(
        given,
        outcome_model=outcome_model,
        cv=None,
        se="m_estimation",
        estimand=estimand,
    )
    fit = clone(effect).fit(X, y, treatment=a)
    step = 1e-4
    for i in (0, 17, 44):
        values = []
        for sign in (1, -1):
            s = np.ones(90)
            s[i] = np.exp(sign * step)
            again = clone(effect).fit(X, y, treatment=a, sample_weight=s)
            values.append(again.effect_)
        slope = (values[0] - values[1]) / (2 * step)
        assert fit.influence_[i] / 90 == pytest.approx(slope, rel=1e-4, abs=1e-7)


def test_an_estimated_target_moves_with_the_propensity(sample):
    """With the outcome's mean known, the effect varies by the overlap population."""
    X, y, a = (v[:90] for v in sample)
    m = np.column_stack([np.sin(X[:, 0]), X[:, 1] ** 2])

    def mean(s):
        fit = PropensityWeighter(estimand="ato").fit(X, a, sample_weight=s)
        return fit.target_masses_ @ m, fit

    fit = mean(np.ones(90))[1]
    for weighter in (fit, IPMBalancer(estimand="ato").fit(X, a)):
        model = weighter._target_model()
        means = augmented_means(
            y, a, np.zeros(90), fit.target_masses_, m, target_model=model
        )
        for i in (3, 40, 77):
            up, down = (
                np.where(np.arange(90) == i, np.exp(e), 1) for e in (STEP, -STEP)
            )
            slope = (mean(up)[0] - mean(down)[0]) / (2 * STEP)
            assert means.contributions[i] == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_energy_weights_for_the_overlap_population(sample):
    X, y, a = sample
    fit = WeightedEffect(estimand="ato").fit(X, y, treatment=a)
    other = WeightedEffect(PropensityWeighter(estimand="ato")).fit(X, y, treatment=a)
    assert fit.estimand_ == "ato"
    assert abs(fit.effect_ - other.effect_) < 2 * other.se_
    assert 0.5 < fit.se_ / other.se_ < 2


def test_logistic_g_computation_equals_statsmodels(sample):
    """Regression adjustment by logistic regression: predictive margins, delta method.

    statsmodels holds the covariates fixed, as inference="sample" does.
    """
    X, y, a = sample
    binary = (y > np.median(y)).astype(float)
    fit = WeightedEffect(
        None, outcome_model=LogisticRegression(C=np.inf), cv=None,
        se="m_estimation", inference="sample",
    ).fit(X, binary, treatment=a)  # fmt: skip
    gradients, covariances, means = [], [], []
    for k in (0, 1):
        logit = sm.Logit(binary[a == k], sm.add_constant(X[a == k])).fit(
            disp=0, cov_type="HC0"
        )
        p = logit.predict(sm.add_constant(X))
        gradients.append((p * (1 - p)) @ sm.add_constant(X) / len(X))
        covariances.append(logit.cov_params())
        means.append(p.mean())
    variance = sum(g @ V @ g for g, V in zip(gradients, covariances, strict=True))
    assert fit.effect_ == pytest.approx(means[1] - means[0], abs=1e-8)
    assert fit.se_ == pytest.approx(np.sqrt(variance), rel=1e-6)


def test_a_logistic_outcome_model_needs_both_outcomes(sample):
    X, y, a = sample
    model = LogisticRegression(C=np.inf)
    effect = WeightedEffect(EntropyBalancer(), outcome_model=model, cv=None)
    effect.set_params(se="m_estimation")
    with pytest.raises(ValueError, match="arm 1 has one outcome only"):
        effect.fit(X, np.where(a == 1, 1.0, y > 0), treatment=a)
    with pytest.raises(ValueError, match="0 and 1"):
        effect.fit(X, y, treatment=a)


def test_overlap_weights_give_the_overlap_effect(sample):
    X, y, a = sample
    fit = WeightedEffect(
        PropensityWeighter(estimand="ato"), outcome_model=None, se="m_estimation"
    ).fit(X, y, treatment=a)
    e = fit.weighter_.propensity_[:, 1]
    m1 = np.average(y[a == 1], weights=1 - e[a == 1])
    m0 = np.average(y[a == 0], weights=e[a == 0])
    assert fit.effect_ == pytest.approx(m1 - m0, abs=ROUNDING)
    assert fit.estimand_ == "ato" and np.isfinite(fit.se_)


def test_clusters_sum_contributions_and_hold_folds_together(sample):
    X, y, a = sample
    groups = np.repeat(np.arange(60), 4)
    fit = fast().fit(X, y, treatment=a, groups=groups)
    sums = np.array([fit.influence_[groups == g].sum() for g in range(60)]) / 240
    assert fit.se_ == pytest.approx(np.sqrt(60 / 59 * np.sum(sums**2)), rel=1e-10)
    names = np.array([f"g{g:02}" for g in groups])
    named = fast().fit(X, y, treatment=a, groups=names)
    assert named.se_ == pytest.approx(fit.se_)
    assert "clustered" in str(fit.summary())


@pytest.mark.parametrize("estimand", ["ate", "att", "atc"])
@pytest.mark.parametrize("outcome_model", ["ols", None])
def test_frequency_weights_equal_replication(estimand, outcome_model, sample):
    from causalweights.kernels import Gaussian

    X, y, a = sample
    counts = np.random.default_rng(1).integers(0, 3, 240)
    keep = np.repeat(np.arange(240), counts)
    options = {
        "outcome_model": LinearRegression() if outcome_model else None,
        "cv": None,
        "weight_type": "frequency",
        "weighter": IPMBalancer(
            estimand=estimand, discriminator=Gaussian(1.0), weight_type="frequency"
        ),
    }
    if outcome_model is None:
        options |= {
            "weighter": EntropyBalancer(estimand=estimand, weight_type="frequency"),
            "se": "m_estimation",
        }
    one = WeightedEffect(**options).fit(X, y, treatment=a, sample_weight=counts)
    many = WeightedEffect(**options).fit(X[keep], y[keep], treatment=a[keep])
    assert one.effect_ == pytest.approx(many.effect_, abs=1e-7)
    assert one.se_ == pytest.approx(many.se_, rel=1e-6)
    np.testing.assert_allclose(one.influence_[keep], many.influence_, atol=1e-5)
    assert one.result_.n_samples == len(keep)


def test_sampling_weights_are_scale_free(sample):
    X, y, a = sample
    s = np.random.default_rng(2).uniform(0.5, 2, 240)
    one = WeightedEffect().fit(X, y, treatment=a, sample_weight=s)
    ten = WeightedEffect().fit(X, y, treatment=a, sample_weight=10 * s)
    assert ten.effect_ == pytest.approx(one.effect_, rel=1e-7)
    assert ten.se_ == pytest.approx(one.se_, rel=1e-7)


def test_repetitions_average_folds_and_seeds_repeat(sample):
    X, y, a = sample
    forest = RandomForestRegressor(n_estimators=10, max_depth=3, random_state=0)
    model = WeightedEffect(outcome_model=forest, cv=2, n_rep=3, random_state=5)
    first = clone(model).fit(X, y, treatment=a)
    again = clone(model).fit(X, y, treatment=a)
    other = clone(model).set_params(random_state=6).fit(X, y, treatment=a)
    two_jobs = clone(model).set_params(n_jobs=2).fit(X, y, treatment=a)
    assert first.effect_ == again.effect_ == two_jobs.effect_
    assert first.effect_ != other.effect_
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    clone(model).fit(X, y, treatment=a)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_default_outcome_model_does_not_run_away_at_the_edges():
    # Leave-one-out all but interpolates in one of these folds, through a wide kernel:
    # unbounded, rows beyond the fold's last one are predicted at 980.
    rng = np.random.default_rng([9, 21])
    X = rng.normal(size=(300, 1))
    a = (0.7 * X[:, 0] + rng.logistic(size=300) > 0).astype(int)
    y = X[:, 0] + 0.5 * np.sin(2 * X[:, 0]) + a * (1 + X[:, 0]) + rng.normal(size=300)
    effect = WeightedEffect().fit(X, y, treatment=a)
    assert effect.effect_ == pytest.approx(1.0, abs=3 * effect.se_)
    assert effect.se_ < 0.3


# ------------------------------------------------------------ data of all kinds
def test_frames_columns_and_pipelines(sample, frame_library):
    X, y, a = sample
    frame = frame_library(X, ["u", "v", "w"])
    model = make_pipeline(StandardScaler(), Ridge())
    expected = fast(outcome_model=model).fit(X, y, treatment=a)
    got = fast(outcome_model=model).fit(frame, y, treatment=a)
    assert got.effect_ == pytest.approx(expected.effect_, abs=1e-10)
    assert got.n_features_in_ == 3


def test_columns_may_differ_between_weights_and_outcome(sample):
    X, y, a = sample
    frame = pd.DataFrame(X, columns=["u", "v", "w"])
    weighter = make_pipeline(
        make_column_transformer(("passthrough", ["u", "v"])), PropensityWeighter()
    )
    outcome = make_pipeline(
        make_column_transformer(("passthrough", ["w"])), LinearRegression()
    )
    fit = WeightedEffect(weighter, outcome_model=outcome, cv=None).fit(
        frame, y, treatment=a
    )
    direct = PropensityWeighter().fit(X[:, :2], a)
    np.testing.assert_allclose(fit.masses_, direct.masses_, atol=1e-10)


def test_shuffled_index_is_positional_only_when_shared(sample):
    X, y, a = sample
    order = np.random.default_rng(3).permutation(240)
    frame = pd.DataFrame(X).iloc[order]
    outcome, arm = pd.Series(y).iloc[order], pd.Series(a).iloc[order]
    fit = fast(cv=None).fit(frame, outcome, treatment=arm)
    plain = fast(cv=None).fit(X, y, treatment=a)
    assert fit.effect_ == pytest.approx(plain.effect_, abs=1e-9)
    with pytest.raises(ValueError, match="same index labels in another order"):
        fast().fit(frame, pd.Series(y), treatment=arm)


def test_string_and_categorical_treatment(sample):
    X, y, a = sample
    labels = np.where(a == 1, "drug", "placebo")
    expected = fast().fit(X, y, treatment=a).effect_
    got = fast(control="placebo").fit(X, y, treatment=labels)
    assert got.effect_ == pytest.approx(expected, abs=1e-9)
    assert got.result_.names == ["drug vs placebo"]
    ordered = pd.Series(
        pd.Categorical(labels, categories=["placebo", "drug"], ordered=True)
    )
    assert fast().fit(X, y, treatment=ordered).effect_ == pytest.approx(
        expected, abs=1e-9
    )


def test_zero_weight_rows_are_removed_first(sample):
    X, y, a = sample
    s = np.ones(240)
    s[::7] = 0
    broken = y.copy()
    broken[::7] = 1e6
    one = fast(cv=None).fit(X, broken, treatment=a, sample_weight=s)
    two = fast(cv=None).fit(X[s > 0], y[s > 0], treatment=a[s > 0])
    assert one.effect_ == pytest.approx(two.effect_, abs=1e-9)
    assert one.se_ == pytest.approx(two.se_, rel=1e-9)
    assert np.all(one.influence_[s == 0] == 0)


def test_results_print_and_predict(sample):
    X, y, a = sample
    fit = fast().fit(X, y, treatment=a)
    text = str(fit.summary())
    for part in ("1 vs 0", "IPMBalancer (energy)", "Ridge", "ESS 0", "ATE"):
        assert part in text
    np.testing.assert_array_equal(fit.predict(X[:3]), np.full(3, fit.effect_))
    assert fit.to_latex() == fit.result_.to_latex() and "1 vs 0" in fit.to_latex()
    assert fit.to_html() == fit.result_.to_html()
    assert compare(fit, fit.result_)["effect"].tolist() == [fit.effect_] * 2
    assert "<div" in fit._repr_html_()
    assert not hasattr(fit, "score")


# ----------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weighter": "ebal"}, "'weighter' parameter"),
        ({"weighter": None}, "weighter=None is regression adjustment"),
        ({"se": "m_estimation"}, "IPMBalancer \\(energy\\) weights are not"),
        ({"estimand": "ato", "weighter": None}, "estimand='ato' needs a weighter"),
        ({"estimand": "late"}, "estimand='late' is not available"),
        (
            {"weighter": IPMBalancer(estimand="att"), "estimand": "ate"},
            "estimand='ate' disagrees with the weighter's estimand='att'",
        ),
        (
            {"weighter": IPMBalancer(), "weight_type": "frequency"},
            "weight_type='frequency' disagrees",
        ),
        (
            {"weighter": EntropyBalancer(), "se": "m_estimation"},
            "stacks least squares or logistic",
        ),
        ({"weighter": np.ones(5), "estimand": "ate"}, "shape \\(5,\\), X has 240 rows"),
        ({"weighter": -np.ones(240), "estimand": "ate"}, "finite and non-negative"),
        ({"weighter": np.ones(240)}, "vector need estimand="),
        ({"weighter": IPMBalancer}, "pass an instance, IPMBalancer\\(\\)"),
        ({"weighter": Ridge()}, "has no weights_"),
        ({"control": "x"}, "control='x' is not a treatment label"),
    ],
)
def test_bad_options_are_named(options, message, sample):
    X, y, a = sample
    with pytest.raises(ValueError, match=message):
        fast(**options).fit(X, y, treatment=a)


def test_bad_data_is_refused_by_name(sample):
    X, y, a = sample
    with pytest.raises(ValueError, match="treatment is missing"):
        fast().fit(X, y)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        fast().fit(X, np.where(np.arange(240) == 3, np.nan, y), treatment=a)
    with pytest.raises(ValueError, match="y must be numeric"):
        fast().fit(X, np.where(y > 0, "yes", "no"), treatment=a)
    bad = X.copy()
    bad[0, 0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        fast().fit(bad, y, treatment=a)
    with pytest.raises(ValueError, match="groups has shape"):
        fast().fit(X, y, treatment=a, groups=np.zeros(3))
    with pytest.raises(ValueError, match="one cluster only"):
        fast(cv=None).fit(X, y, treatment=a, groups=np.zeros(240))
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        fast().fit(X[:1], y[:1], treatment=a[:1])
    with pytest.raises(ValueError, match="all weights of arm 1 are zero"):
        fast(weighter=(a == 0).astype(float), estimand="ate").fit(X, y, treatment=a)


def test_weights_and_splits_of_all_rows_follow_zero_weight_rows(sample):
    X, y, a = sample
    s = np.ones(240)
    s[5:60:9] = 0
    kept = s > 0
    weighter = PropensityWeighter(estimand="att").fit(X, a, sample_weight=s)
    folds = [(np.flatnonzero(np.arange(240) % 3 != k), np.flatnonzero(
        np.arange(240) % 3 == k)) for k in range(3)]  # fmt: skip
    fits = [
        fast(weighter=w, cv=folds, estimand="att").fit(
            X, y, treatment=a, sample_weight=s
        )
        for w in (weighter, FrozenEstimator(weighter), weighter.weights_)
    ]
    for fit in fits[1:]:
        assert fit.effect_ == pytest.approx(fits[0].effect_, abs=1e-9)
        assert fit.se_ == pytest.approx(fits[0].se_, rel=1e-9)
    frozen = WeightedEffect(
        FrozenEstimator(weighter), outcome_model=None, se="m_estimation"
    ).fit(X, y, treatment=a, sample_weight=s)
    direct = WeightedEffect(
        PropensityWeighter(estimand="att"), outcome_model=None, se="m_estimation"
    ).fit(X[kept], y[kept], treatment=a[kept])
    assert frozen.se_ == pytest.approx(direct.se_, rel=1e-8)
