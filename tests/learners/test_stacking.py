"""Convex stacks: the weights' oracle, invariances, folds, missing values, frames."""

import pickle

import cvxpy as cp
import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, KFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from threadpoolctl import threadpool_info, threadpool_limits

from causalweights.learners import (
    StackedClassifier,
    StackedRegressor,
    WeightedKernelRidge,
)
from causalweights.learners._stack import convex_weights

# The program's gap, relative to its value; weights move by the root of that.
LOSS, WEIGHTS = 1e-12, 1e-6

MEMBERS = [
    ("mean", DummyRegressor()),
    ("line", LinearRegression()),
    ("tree", DecisionTreeRegressor(max_leaf_nodes=6, random_state=0)),
]
# Linear in the rows' weights, so that a weight of three is three rows.
EXACT = [("mean", DummyRegressor()), ("line", LinearRegression())]


@pytest.fixture
def data(rng):
    """Return covariates, outcomes and weights of 120 rows."""
    X = rng.normal(size=(120, 3))
    y = X[:, 0] + (X[:, 1] > 0) + rng.normal(size=120)
    return X, y, rng.uniform(0.2, 3.0, 120)


@pytest.fixture
def labels(data, rng):
    """Return three classes that depend on the covariates."""
    X = data[0]
    scores = X @ rng.normal(size=(3, 3)) + rng.gumbel(size=(120, 3))
    return np.array(["a", "b", "c"])[np.argmax(scores, axis=1)]


# ---- the weights ------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_weights_solve_the_program_as_cvxpy_does(rng, columns, weighted):
    target = rng.normal(size=(80, columns))
    noise = rng.normal(size=(6, 80, columns)) * np.arange(1, 7)[:, None, None]
    predictions = 0.5 * target + 0.4 * noise
    s = rng.uniform(0.1, 2.0, 80) if weighted else None
    ours = convex_weights(predictions, target, s)
    w, share = cp.Variable(6), np.ones(80) if s is None else s
    errors = [
        cp.multiply(np.sqrt(share / share.sum()), target[:, k])
        - np.sqrt(share / share.sum())[:, None] * predictions[:, :, k].T @ w
        for k in range(columns)
    ]
    loss = sum(cp.sum_squares(error) for error in errors)
    problem = cp.Problem(cp.Minimize(loss), [w >= 0, cp.sum(w) == 1])
    problem.solve(solver="CLARABEL")
    assert_allclose(ours.weights, w.value, atol=1e-5)
    assert_allclose(ours.loss, problem.value, rtol=1e-7)
    assert 0 <= ours.gap <= LOSS
    # An optimum between the corners, or the comparison says little.
    assert np.sum(ours.weights > 0.01) >= 2


def test_a_single_member_has_weight_one_and_is_the_stack(data):
    X, y, s = data
    stack = StackedRegressor([("tree", MEMBERS[2][1])]).fit(X, y, s)
    alone = clone(MEMBERS[2][1]).fit(X, y, s / s.mean())
    assert_array_equal(stack.weights_, [1.0])
    assert_array_equal(stack.predict(X), alone.predict(X))


def test_losses_are_those_of_refits_without_the_fold(data):
    X, y, s = data
    splits = list(KFold(4).split(X))
    stack = StackedRegressor(MEMBERS, cv=splits).fit(X, y, s)
    out = np.empty((3, 120))
    for train, test in splits:
        for m, (_, member) in enumerate(MEMBERS):
            fitted = clone(member).fit(X[train], y[train], s[train] / s.mean())
            out[m, test] = fitted.predict(X[test])
    losses = ((y - out) ** 2 @ s) / s.sum()
    assert_allclose([stack.oof_loss_[k] for k, _ in MEMBERS], losses, rtol=1e-12)
    combined = (y - stack.weights_ @ out) ** 2 @ s / s.sum()
    assert_allclose(stack.oof_loss_["stack"], combined, rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_stack_is_no_worse_out_of_fold_than_any_member(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 2))
    y = np.sin(2 * X[:, 0]) + rng.normal(size=60)
    loss = StackedRegressor(MEMBERS).fit(X, y).oof_loss_
    assert loss["stack"] <= min(loss.values()) * (1 + LOSS)


def test_predictions_are_the_weighted_mean_of_members_fitted_on_all_rows(data):
    X, y, s = data
    stack = StackedRegressor(MEMBERS).fit(X, y, s)
    parts = [clone(m).fit(X, y, s / s.mean()).predict(X) for _, m in MEMBERS]
    assert_allclose(stack.predict(X), stack.weights_ @ parts, rtol=1e-12)
    assert_allclose(stack.weights_.sum(), 1.0)


def test_useless_members_are_not_kept(data):
    X, y, s = data
    # Of two biases of either sign, at most one can help.
    biased = [
        (f"far {c}", DummyRegressor(strategy="constant", constant=c)) for c in (-99, 99)
    ]
    stack = StackedRegressor([*MEMBERS, *biased]).fit(X, y, s)
    assert np.sum(stack.weights_[3:] == 0) >= 1 and np.all(stack.weights_[3:] < 0.01)
    kept = [k for k, w in zip(stack.oof_loss_, stack.weights_, strict=False) if w > 0]
    assert list(stack.named_estimators_) == kept
    assert list(stack.named_estimators_.values()) == stack.estimators_


def test_a_member_that_makes_no_error_takes_all(data):
    X = data[0]
    y = X @ [1.0, 2.0, 3.0]
    stack = StackedRegressor(MEMBERS).fit(X, y)
    assert_allclose(stack.weights_, [0, 1, 0], atol=WEIGHTS)
    assert_allclose(stack.predict(X), y, atol=1e-6)


def test_copies_of_a_member_share_its_weight_and_change_no_prediction(data):
    X, y, s = data
    stack = StackedRegressor(MEMBERS).fit(X, y, s)
    more = [*MEMBERS, ("line again", LinearRegression()), ("line 3", Ridge(alpha=0.0))]
    copied = StackedRegressor(more).fit(X, y, s)
    assert_allclose(copied.predict(X), stack.predict(X), atol=1e-8)
    thirds = copied.weights_[[1, 3, 4]]
    assert_allclose(thirds, stack.weights_[1] / 3, atol=WEIGHTS)
    assert stack.weights_[1] > 0.1


# ---- weights of rows ----------------------------------------------------------------


def test_scale_of_weights_does_not_matter(data):
    X, y, s = data
    # A penalty, whose share would change with the weights' scale.
    members = [("mean", DummyRegressor()), ("ridge", Ridge(alpha=30.0))]
    one = StackedRegressor(members).fit(X, y, s)
    for scale in (1e6, 1e-6):
        other = StackedRegressor(members).fit(X, y, scale * s)
        assert_allclose(other.weights_, one.weights_, atol=1e-9)
        assert_allclose(other.predict(X), one.predict(X), atol=1e-9)


def split_by(parts):
    """Return the splits whose test rows are those of each part in turn."""
    return [
        (np.flatnonzero(parts != k), np.flatnonzero(parts == k))
        for k in np.unique(parts)
    ]


def test_whole_number_weights_are_repeated_rows(data, labels, rng):
    X, y, _ = data
    s = rng.integers(1, 4, size=120)
    parts = rng.permutation(np.arange(120) % 3)
    again = np.repeat(np.arange(120), s)
    weighted = StackedRegressor(EXACT, cv=split_by(parts)).fit(X, y, s)
    copies = StackedRegressor(EXACT, cv=GroupKFold(3))
    copies.fit(X[again], y[again], groups=parts[again])
    assert_allclose(copies.weights_, weighted.weights_, atol=1e-7)
    assert_allclose(copies.predict(X), weighted.predict(X), atol=1e-8)
    # The penalty of a logistic regression is relative to weights of mean one.
    members = [
        ("shares", DummyClassifier(strategy="prior")),
        ("logit", LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)),
    ]
    a = StackedClassifier(members, cv=split_by(parts)).fit(X, labels, s)
    b = StackedClassifier(members, cv=split_by(parts[again]))
    b.fit(X[again], labels[again])
    assert_allclose(b.predict_proba(X), a.predict_proba(X), atol=1e-5)


def test_zero_weight_is_a_dropped_row(data, labels):
    X, y, s = data
    s = np.where(np.arange(120) % 5 == 0, 0.0, s)
    kept = s > 0
    parts = np.arange(120) % 3
    y, labels = y.copy(), labels.copy()
    y[~kept], labels[~kept] = 1e9, "never seen"
    for stack, target in [
        (StackedRegressor(MEMBERS), y),
        (StackedClassifier(), labels),
    ]:
        zero = clone(stack).set_params(cv=split_by(parts)).fit(X, target, s)
        gone = clone(stack).set_params(cv=split_by(parts[kept]))
        gone.fit(X[kept], target[kept], s[kept])
        assert_array_equal(zero.weights_, gone.weights_)
        assert_array_equal(zero.predict(X), gone.predict(X))
    assert_array_equal(zero.classes_, ["a", "b", "c"])


def test_members_without_weights_are_refused_early(data):
    X, y, s = data
    members = [("record", Recorder()), ("nearest", KNeighborsRegressor())]
    Recorder.log.clear()
    with pytest.raises(ValueError, match="KNeighborsRegressor cannot be fitted with"):
        StackedRegressor(members).fit(X, y, s)
    assert not Recorder.log
    StackedRegressor(members).fit(X, y)


# ---- folds --------------------------------------------------------------------------


class Recorder(RegressorMixin, BaseEstimator):
    """Remember the rows of each fit and prediction by the value of column 0."""

    log: list = []

    def fit(self, X, y, sample_weight=None):
        self.seen_ = set(X[:, 0])
        return self

    def predict(self, X):
        Recorder.log.append((self.seen_, set(X[:, 0])))
        return np.zeros(len(X))


@pytest.mark.parametrize("cv", [4, KFold(5), "groups"])
def test_no_row_is_predicted_by_a_member_that_saw_it(cv):
    X = np.arange(60.0)[:, None]
    groups = np.arange(60) // 3 if cv == "groups" else None
    Recorder.log.clear()
    stack = StackedRegressor([("record", Recorder())], cv=3 if cv == "groups" else cv)
    stack.fit(X, X[:, 0], groups=groups)
    predicted = [row for _, rows in Recorder.log for row in rows]
    assert sorted(predicted) == list(range(60))
    for seen, rows in Recorder.log:
        assert len(seen) + len(rows) == 60
        assert not seen & rows
        if groups is not None:
            whole = {int(row) // 3 for row in rows}
            assert len(rows) == 3 * len(whole)
    # The last fit, which predicts new rows, saw all of them.
    assert stack.estimators_[0].seen_ == set(range(60))


def test_classes_are_spread_over_the_folds(rng):
    # Three rows of a class: each training part keeps two.
    X, y = rng.normal(size=(90, 2)), np.repeat([0, 1], [87, 3])
    for seed in range(5):
        p = StackedClassifier(random_state=seed).fit(X, y).predict_proba(X)
        assert abs(p[:, 1].mean() - 3 / 90) < 0.03
    splits = split_by(np.repeat([0, 1, 0], [40, 47, 3]))
    with pytest.raises(ValueError, match=r"hold no row of .* 1: use fewer folds"):
        StackedClassifier(cv=splits).fit(X, y)


class CountsThreads(DummyRegressor):
    """Remember how many OpenMP threads a fit may use."""

    def fit(self, X, y, sample_weight=None):
        self.threads_ = openmp_threads()
        return super().fit(X, y)


def openmp_threads():
    return {i["num_threads"] for i in threadpool_info() if i["user_api"] == "openmp"}


def test_few_rows_are_fitted_on_one_thread(data):
    X, y, _ = data
    with threadpool_limits(2, user_api="openmp"):
        stack = StackedRegressor([("mean", CountsThreads())]).fit(X, y)
        assert openmp_threads() == {2}
    assert stack.estimators_[0].threads_ == {1}


def test_an_interpolating_member_gains_nothing_from_its_own_rows(rng):
    X = rng.normal(size=(100, 2))
    y = rng.normal(size=100)
    members = [("mean", DummyRegressor()), ("tree", DecisionTreeRegressor())]
    assert StackedRegressor(members).fit(X, y).weights_[0] > 0.7
    assert StackedRegressor(members, cv=None).fit(X, y).weights_[0] < 1e-3


def test_number_of_jobs_changes_no_bit(data, labels):
    X, y, s = data
    for stack, target in [(StackedRegressor(), y), (StackedClassifier(), labels)]:
        one, two = (clone(stack).set_params(n_jobs=n).fit(X, target, s) for n in (1, 2))
        assert_array_equal(one.weights_, two.weights_)
        predict = "predict_proba" if hasattr(one, "classes_") else "predict"
        assert_array_equal(getattr(one, predict)(X), getattr(two, predict)(X))


def test_seeds_reach_members_that_have_none(data):
    X, y, _ = data
    forest = RandomForestRegressor(5)
    members = [("forest", make_pipeline(StandardScaler(), forest))]
    same = [StackedRegressor(members).fit(X, y).predict(X) for _ in range(2)]
    assert_array_equal(*same)
    other = StackedRegressor(members, random_state=1).fit(X, y).predict(X)
    assert np.any(other != same[0])
    assert forest.random_state is None
    kept = StackedRegressor([("f", RandomForestRegressor(5, random_state=7))])
    assert kept.fit(X, y).estimators_[0].random_state == 7


# ---- probabilities ------------------------------------------------------------------


def test_probabilities_are_the_brier_stack_of_members(data, labels):
    X, _, s = data
    splits = split_by(np.arange(120) % 3)
    members = [
        ("shares", DummyClassifier(strategy="prior")),
        ("logit", LogisticRegression()),
    ]
    stack = StackedClassifier(members, cv=splits).fit(X, labels, s)
    target = (labels[:, None] == ["a", "b", "c"]).astype(float)
    out = np.empty((2, 120, 3))
    for train, test in splits:
        for m, (_, member) in enumerate(members):
            fitted = clone(member).fit(X[train], labels[train], s[train] / s.mean())
            out[m, test] = fitted.predict_proba(X[test])
    expected = convex_weights(out, target, s)
    assert_allclose(stack.weights_, expected.weights, atol=1e-9)
    assert_allclose(stack.oof_loss_["stack"], expected.loss, rtol=1e-9)
    p = stack.predict_proba(X)
    assert_allclose(p.sum(axis=1), 1.0)
    assert_array_equal(stack.predict(X), stack.classes_[p.argmax(axis=1)])
    assert stack.score(X, labels) > 0.4


def test_probabilities_of_pure_noise_are_the_shares(rng):
    X = rng.normal(size=(300, 5))
    y = rng.random(300) < 0.2
    p = StackedClassifier().fit(X, y).predict_proba(X)[:, 1]
    assert p.std() < 0.05 and abs(p.mean() - 0.2) < 0.07


# ---- what may be in X ---------------------------------------------------------------


def test_missing_values_leave_the_members_that_take_them(data, labels):
    X, y, s = data
    holes = X.copy()
    holes[::4, 2] = np.nan
    for stack, target in [(StackedRegressor(), y), (StackedClassifier(), labels)]:
        full = clone(stack).fit(X, target, s)
        model = clone(stack).fit(holes, target, s)
        left = [k for k in full.oof_loss_ if k in model.oof_loss_]
        assert list(model.oof_loss_) == left and "constant" in left
        assert len(model.predict(holes)) == 120
        with pytest.raises(ValueError, match="contains NaN"):
            full.predict(holes)
        # In rows of no weight they change nothing.
        free = clone(stack).fit(holes, target, np.where(np.isnan(holes[:, 2]), 0, s))
        assert list(free.oof_loss_) == list(full.oof_loss_)


def test_missing_values_reach_given_members(data):
    X, y, _ = data
    holes = np.where(X > 1.5, np.nan, X)
    trees = ("trees", HistGradientBoostingRegressor(max_iter=5))
    takes = StackedRegressor([("mean", DummyRegressor()), trees])
    assert takes.__sklearn_tags__().input_tags.allow_nan
    assert np.all(np.isfinite(takes.fit(holes, y).predict(holes)))
    refuses = StackedRegressor(EXACT)
    assert not refuses.__sklearn_tags__().input_tags.allow_nan
    with pytest.raises(ValueError, match="contains NaN"):
        refuses.fit(holes, y)
    # Also where the member that minds is not used.
    constant = StackedRegressor([("mean", DummyRegressor()), ("record", Recorder())])
    constant.fit(X, np.full(120, 50.0))
    assert list(constant.named_estimators_) == ["mean"]
    with pytest.raises(ValueError, match="contains NaN"):
        constant.predict(holes)


def test_infinity_is_refused(data):
    X, y, _ = data
    with pytest.raises(ValueError, match="infinity"):
        StackedRegressor().fit(np.where(X > 1.5, np.inf, X), y)


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_columns_of_words_become_indicators(data, labels, library):
    X, y, s = data
    words = library({"x": X[:, 0], "z": X[:, 1], "word": labels})
    plain = np.column_stack([X[:, :2], labels[:, None] == ["a", "b", "c"]])
    ours = StackedRegressor().fit(words, y, s)
    theirs = StackedRegressor().fit(plain, y, s)
    assert list(ours.feature_names_in_) == ["x", "z", "word"]
    assert_allclose(ours.predict(words), theirs.predict(plain), atol=1e-7)
    target = y > 0
    p = StackedClassifier().fit(words, target, s).predict_proba(words)
    q = StackedClassifier().fit(plain, target, s).predict_proba(plain)
    assert_allclose(p, q, atol=1e-7)
    with pytest.raises(ValueError, match="pass a frame with the same columns"):
        ours.predict(X)


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_frames_reach_given_members_as_they_are(data, labels, library):
    X, y, s = data
    frame = library({"x": X[:, 0], "word": labels})
    stack = StackedRegressor([("ridge", WeightedKernelRidge(bandwidth=1.0))])
    stack.fit(frame, y, s)
    assert list(stack.estimators_[0].feature_names_in_) == ["x", "word"]
    assert len(stack.predict(frame)) == 120
    with pytest.raises(ValueError, match="feature names"):
        stack.predict(frame[["word", "x"]])


# ---- parameters and errors ----------------------------------------------------------


def test_parameters_of_members_are_reached_by_name(data):
    X, y, _ = data
    stack = StackedRegressor([("mean", DummyRegressor()), ("ridge", Ridge())])
    assert stack.get_params()["ridge__alpha"] == 1.0
    stack.set_params(ridge__alpha=5.0, mean=LinearRegression())
    assert stack.estimators[1][1].alpha == 5.0
    assert isinstance(stack.fit(X, y).estimators[0][1], LinearRegression)
    assert not hasattr(stack.estimators[0][1], "coef_")
    again = pickle.loads(pickle.dumps(stack))
    assert_array_equal(again.predict(X), stack.predict(X))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "not empty"),
        ([LinearRegression()], "list of .name, estimator. pairs"),
        ([("line", LinearRegression)], "is not an estimator"),
        ([("logit", LogisticRegression())], "LogisticRegression is no regressor"),
        ([("a", LinearRegression()), ("a", Ridge())], "not unique"),
        ([("stack", LinearRegression())], "not unique"),
        ([("cv", LinearRegression())], "conflict with constructor"),
    ],
)
def test_unusable_members_are_refused(data, members, message):
    X, y, _ = data
    with pytest.raises(ValueError, match=message):
        StackedRegressor(members).fit(X, y)


def test_a_refused_fit_leaves_the_stack_as_it_was(data, labels):
    X, y, _ = data
    stack = StackedRegressor(EXACT).fit(X, y)
    before = vars(stack).copy()
    with pytest.raises(ValueError, match="cv=200 folds of 120 rows"):
        stack.set_params(cv=200).fit(X[:, :2], y)
    assert stack.n_features_in_ == 3
    assert vars(stack).keys() == before.keys()
    regressors = StackedClassifier([("ridge", Ridge())])
    with pytest.raises(ValueError, match="Ridge is no classifier with predict_proba"):
        regressors.fit(X, labels)


def test_labels_are_checked(data):
    X, y, _ = data
    with pytest.raises(ValueError, match="one class only"):
        StackedClassifier().fit(X, np.ones(120, dtype=int))
    with pytest.raises(ValueError, match="Unknown label type"):
        StackedClassifier().fit(X, y)
    with pytest.raises(ValueError, match="one label a row"):
        StackedClassifier().fit(X, y[:5] > 0)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_missing_numbers_beside_strings_of_a_frame(rng, frame):
    number, level = rng.normal(size=200), rng.choice(["u", "v", "w"], 200)
    y = number + (level == "u") + rng.normal(size=200)
    number[::9] = np.nan
    rows = frame({"number": number, "level": level})
    found = StackedRegressor().fit(rows, y).predict(rows)
    dummies = np.column_stack([number, *(level == k for k in "uvw")])
    plain = StackedRegressor().fit(dummies, y).predict(dummies)
    assert np.allclose(found, plain)
