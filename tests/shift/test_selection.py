"""How the classifier chooses D."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax
from sklearn.base import clone
from sklearn.model_selection import KFold, StratifiedKFold

from causalweights import (
    DoubleKernelMeanMatching,
    DoubleWeightingClassifier,
    KernelMeanMatching,
)
from causalweights.displays import ShiftPathDisplay
from causalweights.shift import ClassifierPath, TargetSample, weight_path
from causalweights.shift._feasible import feasible_lambda
from causalweights.shift._log_loss import log_rule
from causalweights.shift._matching import D_GRID
from causalweights.shift._probabilities import sparsemax
from causalweights.shift._selection import check_grid, label_folds, row_losses
from causalweights.shift._zero_one import zero_one_rule


@pytest.fixture
def sample(labelled):
    X, y, target = labelled(90, 0, 70)
    return X, y, TargetSample(target)


@pytest.mark.parametrize("loss", ["log", "0-1"])
def test_the_path_has_the_risks_of_single_fits(loss, sample):
    X, y, target = sample
    model = DoubleWeightingClassifier(loss=loss).fit(X, y, X_target=target)
    path = model.D_path_
    assert isinstance(path, ClassifierPath)
    for k, D in enumerate(path.D):
        single = DoubleWeightingClassifier(loss=loss, D=D).fit(X, y, X_target=target)
        assert path.minimax_risk[k] == pytest.approx(single.minimax_risk_, abs=1e-6)
        assert path.mmd2[k] == pytest.approx(single.mmd2_, rel=1e-4, abs=1e-10)
        assert path.ess_source[k] == pytest.approx(single.ess_source_, rel=1e-5)
        assert path.ess_target[k] == pytest.approx(single.ess_target_, rel=1e-5)
    assert path.selected == np.argmin(path.minimax_risk)
    assert model.D_ == path.D[path.selected]
    assert model.minimax_risk_ == path.minimax_risk[path.selected]
    assert path.iwcv_loss is None and np.all(path.converged)


def test_the_path_stops_where_the_ball_is_inactive(sample):
    X, y, target = sample
    weights = weight_path(DoubleKernelMeanMatching(), X, X_target=target)
    model = DoubleWeightingClassifier().fit(X, y, X_target=target)
    D = model.D_path_.D
    assert D[-1] == weights.first_inactive < D_GRID[-1]
    assert_array_equal(D, [d for d in D_GRID if d <= weights.first_inactive])
    # Without a ridge it never is.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        bare = DoubleWeightingClassifier(kappa=0.0).fit(X, y, X_target=target)
    assert len(bare.D_path_.D) > len(D)


def test_a_grid_of_ones_own(sample):
    X, y, target = sample
    model = DoubleWeightingClassifier(D_grid=[np.inf, 1.5, 3.0, 1.5])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the minimax risk")
        model.fit(X, y, X_target=target)
    assert model.D_path_.D.tolist() == [1.5, 3.0, np.inf]
    assert check_grid(None) == list(D_GRID)
    for bad in ([], [0.5, 2.0], [np.nan], ["a"], [[1.0], [2.0, 3.0]]):
        with pytest.raises(ValueError, match="D_grid="):
            check_grid(bad)


def test_frame_and_display(sample):
    X, y, target = sample
    model = DoubleWeightingClassifier(D_selection="iwcv").fit(X, y, X_target=target)
    frame = model.D_path_.to_frame()
    assert isinstance(frame, pd.DataFrame) and frame.index.name == "D"
    assert frame.columns.tolist() == [
        "minimax_risk", "mmd2", "ess_source", "ess_target", "converged", "iwcv_loss",
        "selected",
    ]  # fmt: skip
    assert frame.index[frame["selected"]].tolist() == [model.D_]
    assert len(ShiftPathDisplay.from_estimator(model).plot().axes_) == 3
    plain = DoubleWeightingClassifier(D=2.0).fit(X, y, X_target=target)
    assert "iwcv_loss" not in plain.D_path_.to_frame().columns


# ---- importance-weighted validation --------------------------------------------------


def fold_rule(loss, rows, y, beta, target, alpha):
    """Return the coefficients of a fold's rule: standard errors are those of rows."""
    terms = [(beta * (y == c))[:, None] * rows for c in (0, 1)]
    tau = np.array([term.mean(axis=0) for term in terms])
    se = np.array([term.std(axis=0) for term in terms]) / np.sqrt(len(y))
    weighted, shares = alpha[:, None] * target, np.full(len(target), 1 / len(target))
    smallest = feasible_lambda(weighted, shares, tau).lam
    solve, scale = {"log": (log_rule, 0.5), "0-1": (zero_one_rule, 0.25)}[loss]
    return solve(weighted, shares, tau, smallest + scale * se, tol=1e-8).mu


def by_hand(model, X, y, target, folds):
    """Return the validation loss of the only D of a model, from its definition."""
    importance = KernelMeanMatching().fit(X, X_target=target).beta_
    weights = DoubleKernelMeanMatching(D=model.D_grid[0]).fit(X, X_target=target)
    alpha = weights.target_weights(X)
    rows, others = (np.column_stack([np.ones(len(Z)), Z]) for Z in (X, target.X))
    total = 0.0
    for train, test in folds:
        mu = fold_rule(
            model.loss, rows[train], y[train], weights.beta_[train], others,
            weights.alpha_,
        )  # fmt: skip
        scores = rows[test] @ mu.T
        if model.loss == "log":
            own = softmax(alpha[test, None] * scores, axis=1)[np.arange(30), y[test]]
            losses = -np.log(own)
        elif model.prediction == "randomized":
            h = sparsemax(alpha[test, None] * scores)
            losses = 1 - h[np.arange(30), y[test]]
        else:
            losses = np.argmax(scores, axis=1) != y[test]
        total += importance[test] @ losses
    return total / importance.sum()


@pytest.mark.parametrize(
    ("loss", "prediction"),
    [("log", "deterministic"), ("0-1", "deterministic"), ("0-1", "randomized")],
)
def test_validation_is_the_weighted_loss_out_of_fold(loss, prediction, sample):
    X, y, target = sample
    folds = list(KFold(3).split(X))
    for D in (1.0, 3.0):
        model = DoubleWeightingClassifier(
            loss=loss, prediction=prediction, D_selection="iwcv", cv=folds, D_grid=[D]
        )
        found = clone(model).fit(X, y, X_target=target).D_path_.iwcv_loss
        assert_allclose(found, by_hand(model, X, y, target, folds), rtol=1e-5)


def test_the_smallest_validation_loss_is_chosen(sample):
    X, y, target = sample
    model = DoubleWeightingClassifier(D_selection="iwcv", cv=3)
    model.fit(X, y, X_target=target)
    path = model.D_path_
    assert path.selected == np.argmin(path.iwcv_loss)
    assert len(path.iwcv_loss) == len(path.D)
    # The rule is that of all rows.
    single = DoubleWeightingClassifier(D=model.D_).fit(X, y, X_target=target)
    assert_allclose(model.mu_, single.mu_, atol=1e-5)


def test_folds(sample):
    _, y, _ = sample
    folds = label_folds(3, y, None)
    for (train, test), again in zip(folds, label_folds(3, y, 0)):
        assert_array_equal(test, again[1])
        assert abs(y[test].mean() - y.mean()) < 0.05
        assert len(train) + len(test) == 90
    assert not np.array_equal(folds[0][1], label_folds(3, y, 1)[0][1])
    splitter = StratifiedKFold(3, shuffle=True, random_state=0)
    assert_array_equal(label_folds(splitter, y, 5)[0][1], folds[0][1])
    for bad in (1, [], [(np.arange(5), np.arange(5))]):
        with pytest.raises(ValueError, match=r"cv|fold|n_splits"):
            label_folds(bad, y, None)


def test_splits_are_positions_of_source_rows(both):
    _, mixed = both
    kept = np.flatnonzero(mixed["sample_domain"] == 1)
    weight = np.ones(150)
    weight[kept[:4]] = 0.0
    halves = [(np.arange(45), np.arange(45, 90)), (np.arange(45, 90), np.arange(45))]
    model = DoubleWeightingClassifier(D_selection="iwcv", cv=halves)
    one = clone(model).fit(**mixed, sample_weight=weight)
    rows = np.setdiff1d(np.arange(150), kept[:4])
    fewer = [(train[train > 3] - 4, test[test > 3] - 4) for train, test in halves]
    two = clone(model).set_params(cv=fewer).fit(
        mixed["X"][rows], mixed["y"][rows], sample_domain=mixed["sample_domain"][rows]
    )  # fmt: skip
    assert_allclose(one.D_path_.iwcv_loss, two.D_path_.iwcv_loss, rtol=1e-9)


def test_a_class_that_a_fold_lacks_costs_no_error(sample):
    X, y, target = sample
    order = np.argsort(y, kind="stable")
    model = DoubleWeightingClassifier(D_selection="iwcv", cv=KFold(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.fit(X[order], y[order], X_target=target)
    assert np.all(np.isfinite(model.D_path_.iwcv_loss))


def test_few_effective_rows_of_validation_are_warned_of(labelled):
    X, y, target = labelled(60, 0, 55)
    model = DoubleWeightingClassifier(D_selection="iwcv", kappa=1e-6, cv=2)
    with pytest.warns(
        UserWarning, match="validation that rests on .* Raise kappa"
    ) as w:
        model.fit(X, y, X_target=TargetSample(target + 0.5))
    assert all(warning.filename == __file__ for warning in w)


def test_row_losses():
    h = np.array([[0.25, 0.75], [1.0, 0.0]])
    assert_allclose(row_losses("0-1", h, np.array([1, 1])), [0.25, 1.0])
    logs = row_losses("log", h, np.array([0, 1]))
    assert logs[0] == pytest.approx(np.log(4)) and np.isfinite(logs[1])
