"""Convex stacking (Wolpert 1992; Breiman 1996): a weighted average of learners."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples, column_or_1d

from causalweights._base import unchanged_on_error
from causalweights._typing import FloatArray
from causalweights._validation import check_outcome, check_same_rows
from causalweights.learners._members import default_classifiers, default_regressors
from causalweights.learners._stack import Stack, positive_rows


def check_labels(y: Any, n: int) -> np.ndarray:
    """Return the labels of a classification as a vector."""
    if y is None:
        raise ValueError(
            "y is missing: this estimator requires y to be passed, but the target y is "
            "None. Pass one label a row."
        )
    labels = column_or_1d(y, warn=True)
    if len(labels) != n:
        raise ValueError(
            f"y has {len(labels)} rows, X has {n} (inconsistent numbers of samples): "
            "pass one label a row of X."
        )
    check_classification_targets(labels)
    return labels


class StackedRegressor(RegressorMixin, Stack):
    r"""Average regressors with the convex weights that predict best out of fold.

    Members are fitted without one fold at a time; non-negative weights of sum one
    minimise the weighted squared error of their predictions for the rows left out; all
    members of positive weight are then fitted on all rows. A convex combination shrinks
    towards the simple members as far as the noise asks for, which single learners with
    a fixed penalty do not.

    Parameters
    ----------
    estimators : "auto" or list of (str, regressor), default="auto"
        Members, by name; fitted as clones, on X as it is given. ``"auto"``: the mean,
        least squares, `WeightedKernelRidge`, and boosted trees of four leaves, 20 and
        60 rounds; columns of strings or categories become indicators. With NaN in
        X the mean and the trees alone.
    cv : int, splitter, list of (train, test) or None, default=3
        Folds; an int shuffles rows, or ``groups``. None is in sample: it prefers
        members that overfit.
    random_state : int, RandomState instance or None, default=None
        Shuffles rows, and seeds members whose ``random_state`` is None. None is seed 0:
        a refit is identical.
    n_jobs : int or None, default=None
        Processes over members and folds; the result does not depend on it.

    Attributes
    ----------
    weights_ : ndarray of shape (n_members,)
        Convex weights, in the order of the members. Copies of a member share theirs.
    estimators_ : list
        Members of positive weight, fitted on all rows.
    named_estimators_ : Bunch
        The same by name.
    oof_loss_ : dict of float
        Weighted mean squared error out of fold, by member and of the ``"stack"``.
    gap_ : float
        Bound on what better weights could take off the stack's error.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    StackedClassifier : The same for probabilities.
    sklearn.ensemble.StackingRegressor : A learner on top of the members' predictions;
        it knows neither clusters nor convex weights, nor removes useless members.

    Notes
    -----
    With residuals :math:`r_{im}` of row i by the member m that did not see its fold,
    the weights solve

    .. math:: \min_w \sum_i s_i \Big(\sum_m w_m r_{im}\Big)^2 / \sum_i s_i
        \quad \text{with } w \ge 0,\ \sum_m w_m = 1 ,

    exactly, by `causalweights.optimize.simplex_qp` on the M x M matrix of their
    products. Members get weights of mean one, as penalties of many depend on the scale;
    rows of zero weight are removed first. Time is that of at most ``cv + 1`` fits a
    member, memory O(M n). Up to 20,000 rows each fit keeps to one OpenMP thread.

    References
    ----------
    .. [1] Breiman (1996), Stacked regressions, Machine Learning 24. The sum of one is
       an addition: it keeps the constant a member like the others.
    .. [2] van der Laan, Polley & Hubbard (2007), Super learner, Statistical
       Applications in Genetics and Molecular Biology 6.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.learners import StackedRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, size=(300, 3))
    >>> y = X[:, 0] + (X[:, 1] > 0) + rng.normal(size=300)
    >>> model = StackedRegressor().fit(X, y)
    >>> float(round(model.weights_.sum(), 6))
    1.0
    >>> min(model.oof_loss_, key=model.oof_loss_.get)
    'stack'
    """

    _method = "predict"
    _default = staticmethod(default_regressors)

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
    ) -> StackedRegressor:
        """Fit members and weights.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Covariates, n >= 2; NaN where every member takes it.
        y : array-like of shape (n,)
            Outcome.
        sample_weight : array-like of shape (n,) or None, default=None
            Non-negative weights; only their ratios matter. A ValueError for members
            that cannot take them.
        groups : array-like of shape (n,) or None, default=None
            Rows of one group stay in one fold.

        Returns
        -------
        StackedRegressor
            The fitted estimator.
        """
        check_same_rows(X=X, y=y, sample_weight=sample_weight, groups=groups)
        self._check_members(sample_weight)
        with unchanged_on_error(self):
            X = self._covariates(X, reset=True)
            y = check_outcome(y, _num_samples(X))
            rows = positive_rows(X, y, sample_weight, groups)
            self._fit(rows, rows.y[:, None], None)
        return self

    def predict(self, X: Any) -> FloatArray:
        """Return the weighted mean of the members' predictions.

        Parameters
        ----------
        X : array-like or frame of shape (m, d)
            Covariates.

        Returns
        -------
        ndarray of shape (m,)
            Predictions.
        """
        return self._combine(X)[:, 0]


class StackedClassifier(ClassifierMixin, Stack):
    """Average classifiers' probabilities with the best convex weights out of fold.

    As `StackedRegressor`, for the probabilities of K classes by squared loss (Brier's
    score): unlike the logarithmic loss it is bounded, so a member that is sure of a
    wrong answer is weighed, not expelled. Probabilities shrink towards the classes'
    shares as far as the data ask for, so a propensity score is not needlessly extreme.

    Parameters
    ----------
    estimators : "auto" or list of (str, classifier), default="auto"
        Members with ``predict_proba``, by name; fitted as clones, on X as it is given
        and classes coded 0, ..., K-1. ``"auto"``: the classes' shares, a logistic
        regression on standardised columns, and boosted trees of four leaves, 20 and
        60 rounds; columns of strings or categories become indicators. With NaN in X the
        shares and the trees alone.
    cv : int, splitter, list of (train, test) or None, default=3
        Folds; an int shuffles and stratifies rows, or shuffles ``groups``. Every
        training part must hold every class. None is in sample: it prefers members that
        overfit.
    random_state : int, RandomState instance or None, default=None
        Shuffles rows, and seeds members whose ``random_state`` is None. None is seed 0:
        a refit is identical.
    n_jobs : int or None, default=None
        Processes over members and folds; the result does not depend on it.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        Labels of the rows of positive weight, sorted.
    weights_ : ndarray of shape (n_members,)
        Convex weights, in the order of the members. Copies of a member share theirs.
    estimators_ : list
        Members of positive weight, fitted on all rows; their classes are 0, ..., K-1.
    named_estimators_ : Bunch
        The same by name.
    oof_loss_ : dict of float
        Weighted Brier score out of fold (squared errors summed over classes), by member
        and of the ``"stack"``.
    gap_ : float
        Bound on what better weights could take off the stack's score.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    StackedRegressor : The same for a number; the formula.

    References
    ----------
    .. [1] Breiman (1996), Stacked regressions, Machine Learning 24; on indicators of
       the classes here.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.learners import StackedClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2))
    >>> y = np.where(X[:, 0] + rng.logistic(size=300) > 0, "new", "old")
    >>> model = StackedClassifier().fit(X, y)
    >>> model.predict_proba(X[:5]).shape
    (5, 2)
    """

    _method = "predict_proba"
    _default = staticmethod(default_classifiers)

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
    ) -> StackedClassifier:
        """Fit members and weights.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Covariates, n >= 2; NaN where every member takes it.
        y : array-like of shape (n,)
            Labels of at least two classes.
        sample_weight : array-like of shape (n,) or None, default=None
            Non-negative weights; only their ratios matter. A ValueError for members
            that cannot take them.
        groups : array-like of shape (n,) or None, default=None
            Rows of one group stay in one fold.

        Returns
        -------
        StackedClassifier
            The fitted estimator.
        """
        check_same_rows(X=X, y=y, sample_weight=sample_weight, groups=groups)
        self._check_members(sample_weight)
        with unchanged_on_error(self):
            X = self._covariates(X, reset=True)
            y = check_labels(y, _num_samples(X))
            rows = positive_rows(X, y, sample_weight, groups)
            self.classes_, codes = np.unique(rows.y, return_inverse=True)
            if len(self.classes_) < 2:
                raise ValueError(
                    f"y holds one class only ({self.classes_[0]!r}) among the rows of "
                    "positive weight: a classifier needs two."
                )
            self._fit(rows, np.eye(len(self.classes_))[codes], codes)
        return self

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the weighted mean of the members' probabilities.

        Parameters
        ----------
        X : array-like or frame of shape (m, d)
            Covariates.

        Returns
        -------
        ndarray of shape (m, K)
            Columns in the order of ``classes_``.
        """
        return self._combine(X)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like or frame of shape (m, d)
            Covariates.

        Returns
        -------
        ndarray of shape (m,)
            Labels.
        """
        best = np.argmax(self.predict_proba(X), axis=1)
        return self.classes_[best]
