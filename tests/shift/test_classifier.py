"""The double-weighting classifier against independent programs and known identities."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linprog
from scipy.special import softmax, xlogy
from scipy.stats import norm

from causalweights import DoubleKernelMeanMatching, DoubleWeightingClassifier
from causalweights.kernels import Gaussian
from causalweights.shift import MatchingProblem, TargetSample
from causalweights.shift._classifier_fit import (
    LabelledSamples,
    fit_rule,
    probabilities,
    trivial_risk,
)

LOSSES = ["log", "0-1"]
SCALE = {"log": 0.5, "0-1": 0.25}
# Of the conic solver, whose gap is 1e-7.
CONIC = 1e-6


def fitted(X, y, target, **options):
    model = DoubleWeightingClassifier(**options)
    return model.fit(X, y, X_target=TargetSample(target))


def with_ones(X):
    return np.column_stack([np.ones(len(X)), X])


def squares(X):
    return np.column_stack([np.ones(len(X)), X, X**2])


def moments_by_hand(phi, y, beta):
    """Return mean and standard error of beta 1(y = c) phi, one row a class."""
    terms = [beta[:, None] * phi * (y == c)[:, None] for c in np.unique(y)]
    tau = np.array([term.mean(axis=0) for term in terms])
    return tau, np.array([term.std(axis=0) for term in terms]) / np.sqrt(len(y))


def maximum_entropy(weighted, tau, lam, loss):
    """Return the largest entropy of labels with the moments: the minimax risk."""
    t, n_classes = len(weighted), len(tau)
    p = cp.Variable((t, n_classes), nonneg=True)
    entropy = 1 - cp.sum(cp.max(p, axis=1)) / t
    if loss == "log":
        entropy = cp.sum(cp.entr(p)) / t
    residual = p.T @ weighted / t - tau
    constraints = [cp.sum(p, axis=1) == 1, cp.abs(residual) <= lam]
    program = cp.Problem(cp.Maximize(entropy), constraints)
    tol = dict.fromkeys(["tol_gap_abs", "tol_gap_rel", "tol_feas"], 1e-7)
    return program.solve(solver=cp.CLARABEL, **tol)


def extreme_loss(weighted, tau, lam, losses, sign):
    """Return the largest (sign 1) or smallest mean loss of a rule over the set."""
    t, n_classes = losses.shape
    moments = np.kron(np.eye(n_classes), weighted.T / t)
    sums = np.kron(np.ones(n_classes), np.eye(t))
    found = linprog(
        -sign * losses.T.ravel() / t, A_ub=np.vstack([moments, -moments]),
        b_ub=np.concatenate([(tau + lam).ravel(), (lam - tau).ravel()]),
        A_eq=sums, b_eq=np.ones(t), bounds=(0, None),
    )  # fmt: skip
    return -sign * found.fun


def expected_loss(loss, truth, h):
    """Return the mean loss of probabilities h, given those of the labels."""
    losses = 1 - h if loss == "0-1" else -np.log(h)
    return np.mean(np.sum(truth * losses, axis=1))


# ---- the program ---------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("features", "phi"), [("linear", with_ones), ("poly2", squares)]
)
def test_without_shift_it_is_the_plain_minimax_classifier(
    loss, features, phi, three_classes
):
    X, y, _ = three_classes(90, 0)
    model = fitted(X, y, X, loss=loss, features=features)
    assert_allclose(model.beta_, 1.0, atol=1e-6)
    assert_allclose(model.alpha_, 1.0, atol=1e-6)
    assert model.mmd2_ < 1e-12
    tau, se = moments_by_hand(phi(X), y, np.ones(90))
    assert_allclose(model.tau_, tau, atol=1e-7)
    # The labels themselves meet the moments: only the margin is left.
    assert_allclose(model.lambda_, SCALE[loss] * se, rtol=0, atol=2e-5)
    expected = maximum_entropy(phi(X), tau, model.lambda_, loss)
    assert model.minimax_risk_ == pytest.approx(expected, abs=CONIC)
    assert model.converged_


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("D", [1.0, 2.5, np.inf])
def test_minimax_risk_is_the_largest_entropy(loss, D, three_classes):
    X, y, target = three_classes(80, 1, 60)
    model = fitted(X, y, target, loss=loss, D=D, kappa=0.01)
    weights = DoubleKernelMeanMatching(D=D, kappa=0.01).fit(X, X_target=target)
    assert_array_equal(model.alpha_, weights.alpha_)
    assert_array_equal(model.beta_, weights.beta_)
    tau, _ = moments_by_hand(with_ones(X), y, weights.beta_)
    assert_allclose(model.tau_, tau, atol=1e-12)
    weighted = weights.alpha_[:, None] * with_ones(target)
    expected = maximum_entropy(weighted, tau, model.lambda_, loss)
    assert model.minimax_risk_ == pytest.approx(expected, abs=CONIC)
    assert 0 <= model.minimax_gap_ < 1e-8


@pytest.mark.parametrize("loss", LOSSES)
def test_minimax_and_lower_risk_are_the_extremes_over_the_set(loss, three_classes):
    X, y, target = three_classes(80, 2, 60)
    model = fitted(X, y, target, loss=loss)
    h = model.predict_proba(target)
    losses = 1 - h if loss == "0-1" else -np.log(h)
    weighted = model.alpha_[:, None] * with_ones(target)
    program = weighted, model.tau_, model.lambda_, losses
    assert model.minimax_risk_ == pytest.approx(extreme_loss(*program, 1), abs=CONIC)
    assert model.lower_risk_ == pytest.approx(extreme_loss(*program, -1), abs=CONIC)


def test_log_rule_meets_its_conditions(three_classes):
    X, y, target = three_classes(120, 3, 100)
    model = fitted(X, y, target)
    h = model.predict_proba(target)
    entropy = -np.mean(np.sum(xlogy(h, h), axis=1))
    assert model.minimax_risk_ == pytest.approx(entropy, abs=1e-6)
    residual = h.T @ (model.alpha_[:, None] * with_ones(target)) / 100 - model.tau_
    assert np.all(np.abs(residual) <= model.lambda_ + 1e-7)
    # Tolerances with a coefficient are used up, on its side.
    active = np.abs(model.mu_) > 1e-3
    assert 0 < active.sum()
    assert_allclose(
        residual[active], -(model.lambda_ * np.sign(model.mu_))[active], atol=1e-5
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_confidence_bound_is_that_of_wider_tolerances(loss, three_classes):
    X, y, target = three_classes(80, 4, 60)
    model = fitted(X, y, target, loss=loss, confidence=0.8)
    tau, se = moments_by_hand(with_ones(X), y, model.beta_)
    wide = model.lambda_ + (norm.ppf(1 - 0.2 / 18) - SCALE[loss]) * se
    # The objective at mu_ with the wider tolerances.
    scores = model.alpha_[:, None] * (with_ones(target) @ model.mu_.T)
    if loss == "log":
        potential = np.log(np.exp(scores).sum(axis=1))
    else:
        falling = -np.sort(-scores, axis=1)
        potential = 1 + np.max((np.cumsum(falling, axis=1) - 1) / [1, 2, 3], axis=1)
    value = potential.mean() - np.sum(tau * model.mu_) + np.sum(wide * abs(model.mu_))
    assert model.confidence_bound_ == pytest.approx(value, abs=1e-9)
    # It bounds the worst loss over the wider set.
    h = model.predict_proba(target)
    losses = 1 - h if loss == "0-1" else -np.log(h)
    weighted = model.alpha_[:, None] * with_ones(target)
    assert extreme_loss(weighted, tau, wide, losses, 1) <= model.confidence_bound_
    surer = fitted(X, y, target, loss=loss, confidence=0.99)
    assert surer.confidence_bound_ > model.confidence_bound_ > model.minimax_risk_


@pytest.mark.parametrize("loss", LOSSES)
def test_lambda_scale(loss, three_classes):
    X, y, target = three_classes(80, 5, 60)
    paper, given = (
        fitted(X, y, target, loss=loss, D=2.0, lambda_scale=scale)
        for scale in (0.0, 0.7)
    )
    _, se = moments_by_hand(with_ones(X), y, paper.beta_)
    assert_allclose(given.lambda_, paper.lambda_ + 0.7 * se, atol=1e-9)
    assert given.minimax_risk_ > paper.minimax_risk_
    assert np.abs(given.mu_).sum() < np.abs(paper.mu_).sum()
    # An array is lambda, but no less than what leaves labels to choose from.
    array = paper.lambda_ + np.linspace(-1, 1, 9).reshape(3, 3)
    array = np.maximum(array, 0)
    own = fitted(X, y, target, loss=loss, D=2.0, lambda_scale=array)
    assert_array_equal(own.lambda_, np.maximum(array, paper.lambda_))


@pytest.mark.parametrize("loss", LOSSES)
def test_order_of_rows_and_names_of_labels_do_not_matter(loss, three_classes):
    X, y, target = three_classes(80, 6, 60)
    model = fitted(X, y, target, loss=loss)
    rng = np.random.default_rng(0)
    rows, others = rng.permutation(80), rng.permutation(60)
    moved = fitted(X[rows], y[rows], target[others], loss=loss)
    assert moved.minimax_risk_ == pytest.approx(model.minimax_risk_, abs=1e-7)
    assert_array_equal(moved.predict(target), model.predict(target))
    names = np.array(["c", "a", "b"])
    renamed = fitted(X, names[y], target, loss=loss)
    assert renamed.classes_.tolist() == ["a", "b", "c"]
    assert renamed.minimax_risk_ == pytest.approx(model.minimax_risk_, abs=1e-6)
    assert_array_equal(renamed.predict(target), names[model.predict(target)])
    assert_allclose(
        renamed.predict_proba(target), model.predict_proba(target)[:, [1, 2, 0]],
        atol=1e-4,
    )  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("design", ["A", "B"])
def test_the_risk_is_bounded_where_the_set_holds_the_truth(loss, design, shifted):
    phi, features = {"A": (with_ones, "linear"), "B": (squares, "poly2")}[design]
    for seed in range(3):
        X, y, target, _, truth = shifted(design, seed)
        options = {"loss": loss, "features": features, "D": 4.0}
        model = fitted(X, y, target, lambda_scale=0.0, **options)
        distance = np.abs(
            truth.T @ (model.alpha_[:, None] * phi(target)) / 200 - model.tau_
        )
        h = model.predict_proba(target)
        risk = expected_loss(loss, truth, h)
        excess = np.sum(np.maximum(distance - model.lambda_, 0) * np.abs(model.mu_))
        assert risk <= model.minimax_risk_ + excess + 1e-8
        assert excess > 0
        oracle = fitted(X, y, target, lambda_scale=distance, **options)
        risk = expected_loss(loss, truth, oracle.predict_proba(target))
        assert oracle.lower_risk_ - 1e-8 <= risk <= oracle.minimax_risk_ + 1e-8


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_have_no_scale_together(loss, three_classes):
    X, y, target = three_classes(80, 7, 60)
    n, t = np.ones(80), np.ones(60)
    data = LabelledSamples(with_ones(X), with_ones(target), y, 3, n, t, False)
    weights = MatchingProblem(X, target, Gaussian(0.8)).solve(2.0)
    half = replace(weights, beta=weights.beta / 2, alpha=weights.alpha / 2)
    one, two = (
        fit_rule(data, w, w.beta, loss=loss, lambda_scale=0.3, tol=1e-8)
        for w in (weights, half)
    )
    assert two.rule.risk == pytest.approx(one.rule.risk, abs=1e-6)
    assert_allclose(two.rule.mu, 2 * one.rule.mu, atol=1e-3)
    # Less and less is asked of the labels, up to nothing.
    none = replace(weights, alpha=1e-9 * weights.alpha, beta=1e-9 * weights.beta)
    lam = np.full((3, 3), 1e-3)
    last = fit_rule(data, none, none.beta, loss=loss, lambda_scale=lam, tol=1e-8)
    assert last.rule.risk == pytest.approx(trivial_risk(loss, 3), abs=1e-6)


# ---- predictions ---------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_scores_are_unweighted_and_probabilities_weighted(loss, three_classes):
    X, y, target = three_classes(100, 7, 80)
    model = fitted(X, y, target, loss=loss, D=4.0)
    scores = with_ones(target) @ model.mu_.T
    assert_allclose(model.decision_function(target), scores, atol=1e-12)
    assert_array_equal(model.predict(target), np.argmax(scores, axis=1))
    assert_array_equal(model.target_weights(target), model.alpha_)
    assert model.alpha_.min() < 0.5
    weighted = model.alpha_[:, None] * scores
    h = model.predict_proba(target)
    assert_allclose(h.sum(axis=1), 1.0, atol=1e-12)
    if loss == "log":
        assert_allclose(h, softmax(weighted, axis=1), atol=1e-12)
        assert_allclose(model.predict_log_proba(target), np.log(h), atol=1e-10)
    else:
        # The projection on the simplex, by its conditions.
        shift = np.max(weighted - h, axis=1, keepdims=True)
        assert_allclose((weighted - shift)[h > 0], h[h > 0], atol=1e-12)
        assert np.all((weighted - shift)[h == 0] <= 1e-12)
        assert not hasattr(model, "predict_log_proba")
    new = target + 0.2
    weights = DoubleKernelMeanMatching().fit(X, X_target=target)
    assert_array_equal(model.target_weights(new), weights.target_weights(new))
    assert_array_equal(model.predict_weights(new), weights.predict_weights(new))


def test_rows_out_of_reach_get_probabilities_near_uniform(three_classes):
    X, y, target = three_classes(100, 8, 80)
    far = np.vstack([target, [[9.0, 0.0], [-9.0, 0.0]]])
    for loss in LOSSES:
        model = fitted(X, y, far, loss=loss, D=4.0, kappa=1e-4)
        assert model.alpha_[-2:].max() < 0.02
        assert np.ptp(model.predict_proba(far[-2:]), axis=1).max() < 0.2
        near = model.alpha_[:-2, None] * model.decision_function(target)
        assert np.ptp(near, axis=1).max() > 1.0
        assert len(set(model.predict(far[-2:]))) == 2


@pytest.mark.parametrize("loss", LOSSES)
def test_probabilities_of_rows_without_weight(loss, rng):
    scores = rng.normal(size=(50, 3))
    h = probabilities(loss, scores, np.zeros(50))
    assert_allclose(h, 1 / 3, atol=1e-15)
    if loss == "0-1":
        # Ties go to the class that `predict` returns.
        assert_array_equal(np.argmax(h, axis=1), np.argmax(scores, axis=1))


@pytest.mark.parametrize("loss", LOSSES)
def test_two_classes_have_one_score(loss, labelled):
    X, y, target = labelled(100, 0, 80)
    model = fitted(X, y == 1, target, loss=loss)
    score = model.decision_function(target)
    assert score.shape == (80,)
    assert model.classes_.tolist() == [False, True]
    assert_array_equal(model.predict(target), score > 0)
    both = with_ones(target) @ model.mu_.T
    assert_allclose(score, both[:, 1] - both[:, 0], atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_randomised_labels_are_drawn_from_the_probabilities(loss, three_classes):
    X, y, target = three_classes(100, 9, 80)
    names = np.array(["x", "y", "z"])[y]
    options = {"loss": loss, "prediction": "randomized", "D": 4.0}
    drawn = [
        fitted(X, names, target, random_state=seed, **options) for seed in range(3)
    ]
    first = drawn[0].predict(target)
    assert_array_equal(first, drawn[0].predict(target))
    assert_array_equal(first, fitted(X, names, target, **options).predict(target))
    assert not np.array_equal(first, drawn[1].predict(target))
    many = np.repeat(target[:5], 4000, axis=0)
    h = drawn[2].predict_proba(target[:5])
    labels = drawn[2].predict(many).reshape(5, 4000)
    shares = np.stack([(labels == name).mean(axis=1) for name in "xyz"], axis=1)
    # Four standard deviations of a share of 4000 draws are at most .032.
    assert_allclose(shares, h, atol=0.032)
    assert np.all(shares[h == 0] == 0)


# ---- designs -------------------------------------------------------------------------


# Mean error over seeds 0-9 of reference runs with these options (other tolerances of
# the same sum), with the standard error of such a mean.
REFERENCE = [
    ("A", "log", 0.167, 0.010), ("A", "0-1", 0.170, 0.012),
    ("B", "log", 0.125, 0.010), ("B", "0-1", 0.145, 0.012),
]  # fmt: skip


@pytest.mark.parametrize(("design", "loss", "error", "se"), REFERENCE)
def test_errors_of_the_designs(design, loss, error, se, shifted):
    features = {"A": "linear", "B": "poly2"}[design]
    errors = []
    for seed in range(10):
        X, y, target, labels, _ = shifted(design, seed)
        model = fitted(X, y, target, loss=loss, features=features)
        errors.append(np.mean(model.predict(target) != labels))
    assert abs(np.mean(errors) - error) < 3 * se, np.mean(errors)


def test_double_weighting_beats_reweighting(shifted):
    gains = []
    for seed in range(10):
        X, y, target, labels, _ = shifted("B", seed)
        double, single = (
            fitted(X, y, target, features="poly2", loss="0-1", lambda_scale=0.0, D=D)
            for D in (4.0, 1.0)
        )
        gains.append(double.score(target, labels) - single.score(target, labels))
        assert double.ess_source_ > 1.5 * single.ess_source_
    assert np.mean(gains) > 0.02
