"""Both ways to name the samples, and the trap of a target that is sliced."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate

from causalweights.shift import (
    KernelMeanMatching,
    ShiftWeightedEstimator,
    TargetSample,
)
from causalweights.shift._samples import check_samples, source_rows, split_samples

X = np.arange(12.0).reshape(6, 2)
DOMAIN = np.array([1, -1, 1, 1, -1, 1])
WEIGHT = np.array([1.0, 2.0, 0.0, 3.0, 4.0, 5.0])


class Anyone(BaseEstimator):
    pass


def test_target_given_apart():
    target = TargetSample(X[:3] + 0.5, [1.0, 0.0, 2.0])
    found = check_samples(Anyone(), X, target, None, WEIGHT)
    assert_array_equal(found.source, X[WEIGHT > 0])
    assert_array_equal(found.target, X[[0, 2]] + 0.5)
    assert_array_equal(found.source_weight, WEIGHT[WEIGHT > 0])
    assert_array_equal(found.target_weight, [1.0, 2.0])
    assert_array_equal(found.target_kept, [True, False, True])


@pytest.mark.parametrize(
    "labels", [DOMAIN, DOMAIN.tolist(), DOMAIN * [1, 2, 3, 1, 5, 2]]
)
def test_target_among_the_rows(labels):
    # skada numbers its domains: positive ones are sources, negative ones targets.
    found = check_samples(Anyone(), X, None, labels, WEIGHT)
    assert_array_equal(found.source, X[[0, 3, 5]])
    assert_array_equal(found.target, X[[1, 4]])
    assert_array_equal(found.source_weight, [1.0, 3.0, 5.0])
    assert_array_equal(found.target_weight, [2.0, 4.0])
    assert_array_equal(found.source_kept, [True, False, True, True])


def test_containers_are_kept_before_they_are_validated():
    frame = pd.DataFrame(X, columns=["u", "v"])
    split = split_samples(frame, None, DOMAIN)
    y = pd.Series(["a", None, "b", "a", None, "b"])
    pd.testing.assert_frame_equal(split.source_of(frame), frame[DOMAIN == 1])
    pd.testing.assert_frame_equal(split.target_of(frame).X, frame[DOMAIN == -1])
    assert split.source_of(y).tolist() == ["a", "b", "a", "b"]
    assert split.source_of(y, np.array([1])).tolist() == ["b"]


def test_rows_with_an_outcome():
    rows, y, weight = source_rows(X, DOMAIN, DOMAIN, WEIGHT)
    assert_array_equal(rows, X[DOMAIN == 1])
    assert_array_equal(y, 1)
    assert_array_equal(weight, WEIGHT[DOMAIN == 1])
    assert source_rows(X, DOMAIN)[0] is X


BAD = {
    "none": ({}, "target sample is missing.*X_target=.*sample_domain="),
    "both": ({"X_target": X, "sample_domain": DOMAIN}, "X_target and sample_domain"),
    "short domain": ({"sample_domain": DOMAIN[:-1]}, r"sample_domain has shape \(5,\)"),
    "zero": ({"sample_domain": DOMAIN * (np.arange(6) != 3)}, "1 .source.*row 3"),
    "missing": ({"sample_domain": np.where(DOMAIN > 0, 1, np.nan)}, "row 1"),
    "words": ({"sample_domain": ["source"] * 6}, "must be 1"),
    "no source": ({"sample_domain": -np.ones(6)}, "no source row"),
    "no target": ({"sample_domain": np.ones(6)}, "no target row"),
    "empty target": ({"X_target": X[:0]}, "X_target has no rows"),
    "one target row": ({"X_target": X[:1]}, r"target sample has 1 row.*at least two"),
    "one source row": ({"sample_domain": [1, -1, -1, -1, -1, -1]}, "source.* has 1"),
    "other columns": ({"X_target": X[:, :1]}, "X_target: .*1 features.*expecting 2"),
    "NaN": ({"X_target": np.where(X == 3, np.nan, X)}, "(?s)X_target: .*NaN"),
    "sparse": ({"X_target": sp.csr_array(X[:5])}, "(?s)X_target: Sparse"),
    "target weights": ({"X_target": TargetSample(X, [1, 2])}, ".*the target has"),
    "no mass": ({"X_target": TargetSample(X, np.zeros(6))}, "TargetSample: .*zero"),
    "weights": ({"X_target": X, "sample_weight": -WEIGHT}, "negative values"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:X_target has as many rows")
@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(case):
    given, message = BAD[case]
    with pytest.raises((ValueError, TypeError), match=message):
        check_samples(Anyone(), X, **given)


def test_source_rows_are_checked_as_covariates():
    for bad, message in ((sp.csr_array(X), "Sparse"), (np.full((6, 2), np.nan), "NaN")):
        with pytest.raises((ValueError, TypeError), match=message):
            check_samples(Anyone(), bad, X[:4])
    frame = pd.DataFrame(X, columns=["u", "v"])
    with pytest.raises(ValueError, match=r"(?s)X_target: .*feature names"):
        check_samples(Anyone(), frame, frame.set_axis(["u", "w"], axis=1)[:4])


# ---- the trap: scikit-learn slices arguments that are as long as X -------------------


class Recorder(ClassifierMixin, BaseEstimator):
    """Record how many target rows arrive."""

    def __init__(self, power=1):
        self.power = power

    def fit(self, X, y, X_target=None):
        self.classes_, self.n_target_ = (
            np.unique(y),
            len(getattr(X_target, "X", X_target)),
        )
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def rows_received(target, n=60):
    rng = np.random.default_rng(0)
    found = cross_validate(
        Recorder(), rng.normal(size=(n, 2)), np.arange(n) % 2, cv=3,
        params={"X_target": target}, return_estimator=True,
    )  # fmt: skip
    return [fit.n_target_ for fit in found["estimator"]]


def test_scikit_learn_slices_a_target_as_long_as_the_source():
    # The premise of the wrapper: should scikit-learn stop, it is not needed any more.
    target = np.zeros((60, 2))
    assert rows_received(target) == [40, 40, 40]
    assert rows_received(target[:59]) == [59, 59, 59]
    assert rows_received(TargetSample(target)) == [60, 60, 60]


@pytest.mark.parametrize("routing", [False, True])
def test_a_wrapped_target_is_whole_in_a_search(routing, labelled):
    X, y, target = labelled(90, 1)
    model = ShiftWeightedEstimator(LogisticRegression(), KernelMeanMatching())
    with (
        sklearn.config_context(enable_metadata_routing=routing),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("error", "X_target has as many")
        found = cross_validate(
            model, X, y, params={"X_target": TargetSample(target)}, cv=3,
            return_estimator=True,
        )  # fmt: skip
        search = GridSearchCV(model, {"weighter__kappa": [1e-3, 1e-2]}, cv=3)
        search.fit(X, y, X_target=TargetSample(target))
    assert [len(fit.weighter_.alpha_) for fit in found["estimator"]] == [90] * 3
    assert len(search.best_estimator_.weighter_.alpha_) == 90


def test_a_bare_target_as_long_as_the_source_warns_at_the_callers_line(labelled):
    X, y, target = labelled(60, 1)
    message = "X_target has as many rows as X.*TargetSample"
    with pytest.warns(UserWarning, match=message) as caught:
        KernelMeanMatching().fit(X, X_target=target)
    assert caught[0].filename == __file__
    model = ShiftWeightedEstimator(LogisticRegression(), KernelMeanMatching())
    with pytest.warns(UserWarning, match=message) as caught:
        model.fit(X, y, X_target=target)
    assert len([w for w in caught if "as many" in str(w.message)]) == 1
    assert caught[0].filename == __file__
    # In the folds of a search as well, where the slice has as many rows as the fold.
    with pytest.warns(UserWarning, match=message):
        cross_validate(model, X, y, params={"X_target": target}, cv=2)


def test_no_warning_where_nothing_can_be_sliced(labelled):
    X, _, target = labelled(60, 1)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "X_target has as many")
        found = [
            split_samples(X, given, None)
            for given in (TargetSample(target), target[:59], X)
        ]
    assert [len(split.target_weight) for split in found] == [60, 59, 60]


def test_repr_of_the_wrapper():
    assert repr(TargetSample(X)) == "TargetSample(6 rows)"
    assert repr(TargetSample(X, WEIGHT)) == "TargetSample(6 rows, weighted)"
