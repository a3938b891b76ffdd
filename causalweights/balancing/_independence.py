"""Weights that make a continuous treatment independent of the covariates.

Huling, Greifer & Chen (2024): distance covariance optimal weights, a convex quadratic
program, solved exactly.
"""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, Options
from sklearn.utils.metadata_routing import UNUSED

from causalweights._base import unchanged_on_error
from causalweights._categories import scale_indicators
from causalweights._doses import check_doses
from causalweights._from_formula import WeighterFormulaMixin
from causalweights._scaling import fit_scaling
from causalweights._typing import FloatArray
from causalweights._validation import (
    check_covariates,
    check_same_rows,
    check_sample_weight,
    covariate_names,
    warn_constant,
)
from causalweights.balancing._weighter import concentration
from causalweights.optimize import SimplexQPResult, simplex_qp


def centered_distances(Z: FloatArray, masses: FloatArray) -> FloatArray:
    """Return distances (n, n) less their row and column means, plus the grand mean."""
    D = cdist(Z, Z)
    rows = D @ masses
    D -= rows
    D -= rows[:, None]
    D += masses @ rows
    return D


class IndependenceBalancer(WeighterFormulaMixin, BaseEstimator):
    """Weight rows so that a continuous treatment is independent of the covariates.

    The weights make the distance covariance of treatment and covariates small while
    both keep their marginal distributions (in energy distance). Weighted regressions of
    the outcome on the treatment, linear or smooth, then estimate the dose-response
    curve if there is no unmeasured confounding. No model of the treatment is needed.
    For a treatment of a few labels use `IPMBalancer`.

    Parameters
    ----------
    ridge : float, default=1e-2
        Penalty on the sum of squared masses.
    dimension_adjusted : bool, default=True
        Weigh the marginal distance of the covariates by sqrt(p) / (1 + sqrt(p)) and
        the treatment's by 1 / (1 + sqrt(p)), so that many covariates keep their
        distribution too; False weighs both by one. An indicator of a category counts
        ``categorical_scale**2`` of the p columns.
    moments : {0, 1}, default=0
        1 also constrains, exactly, the means of treatment and covariates to those of
        the sample and their weighted covariances to zero.
    min_weight, max_weight : float, default=0.0 and None
        Bounds of ``weights_`` (mean one).
    categorical_scale : float, default=0.5**0.5
        Factor of a categorical column's standardised indicators, one a level. At the
        default two levels count as a 0/1 column does.
    tol : float, default=1e-6
        Relative Frank-Wolfe gap that counts as converged.
    weight_type : {"sampling", "frequency"}, default="sampling"
        Meaning of ``sample_weight``; a frequency of k is the same as k equal rows.

    Attributes
    ----------
    weights_, masses_ : ndarray of shape (n,)
        Mean one; ``sample_weight * weights_`` with sum one.
    distance_covariance_, distance_covariance_before_ : float
        Squared, of treatment and covariates, after and before weighting.
    energy_treatment_, energy_covariates_ : float
        Energy distances of the weighted marginals to the sample's.
    objective_, gap_, relative_gap_ : float
        As in `IPMBalancer`.
    converged_ : bool
    n_iter_ : int
    ess_ : float
        Kish's effective sample size.
    n_features_in_, feature_names_in_ : as in scikit-learn

    See Also
    --------
    IPMBalancer : Treatments of a few labels.

    Notes
    -----
    With C and D the doubly centred distance matrices of treatment and covariates, the
    squared distance covariance of the weighted sample is m'(C * D)m, the product taken
    by entries: minus C and minus D are positive semi-definite, so their product is.
    Both are standardised first. Memory 8 n^2 bytes, several times; time about one
    Cholesky factorisation of the support's size cubed.

    References
    ----------
    .. [1] Huling, Greifer & Chen (2024). Independence weights for causal inference with
       continuous treatments. Journal of the American Statistical Association 119(546).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights import IndependenceBalancer
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> dose = X[:, 0] + rng.normal(size=200)
    >>> fit = IndependenceBalancer().fit(X, dose)
    >>> fit.distance_covariance_ < 0.5 * fit.distance_covariance_before_
    True
    """

    __metadata_request__fit = {"treatment": UNUSED, "sample_weight": True}

    _parameter_constraints: dict = {
        "ridge": [Interval(Real, 0, None, closed="left")],
        "dimension_adjusted": ["boolean"],
        "moments": [Options(Integral, {0, 1})],
        "min_weight": [Interval(Real, 0, 1, closed="left")],
        "max_weight": [None, Interval(Real, 1, None, closed="neither")],
        "categorical_scale": [Interval(Real, 0, None, closed="neither")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "weight_type": [Options(str, {"sampling", "frequency"})],
    }

    def __init__(
        self,
        *,
        ridge=1e-2,
        dimension_adjusted=True,
        moments=0,
        min_weight=0.0,
        max_weight=None,
        categorical_scale=0.5**0.5,
        tol=1e-6,
        weight_type="sampling",
    ):
        self.ridge = ridge
        self.dimension_adjusted = dimension_adjusted
        self.moments = moments
        self.min_weight = min_weight
        self.max_weight = max_weight
        self.categorical_scale = categorical_scale
        self.tol = tol
        self.weight_type = weight_type

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, treatment: Any, *, sample_weight: Any = None) -> Self:
        """Compute the weights.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Covariates; finite numbers. Columns of strings or categories of a pandas or
            polars frame become one indicator a level.
        treatment : array-like of shape (n,) or (n, k)
            Dose, or several.
        sample_weight : array-like of shape (n,) or None, default=None
            Rows of weight zero are removed first and receive weight zero.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For NaN or infinity, a treatment or covariates that do not vary, inputs
            whose indexes hold the same labels in another order, moments out of reach.
        """
        with unchanged_on_error(self):
            check_same_rows(X=X, treatment=treatment, sample_weight=sample_weight)
            X = check_covariates(self, X)
            dose = check_doses(treatment, len(X))
            weight = check_sample_weight(sample_weight, len(X))
            rows = weight > 0
            self._fit(X[rows], dose[rows], weight[rows], rows)
        return self

    def _fit(
        self, X: FloatArray, dose: FloatArray, weight: FloatArray, rows: np.ndarray
    ) -> None:
        scaling = fit_scaling(X, weight)
        if len(scaling.constant):
            names = covariate_names(self)
            warn_constant([names[j] for j in scaling.constant])
        Z = scaling.transform(X)
        factor = scale_indicators(
            self, np.ones(Z.shape[1]), scaling.kept, self.categorical_scale
        )
        Z *= factor
        A = fit_scaling(dose, weight).transform(dose)
        base = weight / weight.sum()
        C, D = centered_distances(A, base), centered_distances(Z, base)
        root = np.sqrt(np.sum(factor**2))  # of the number of columns without categories
        shares = (1 / (1 + root), root / (1 + root))
        for_dose, for_covariates = shares if self.dimension_adjusted else (1.0, 1.0)
        # Energy distances to the sample: m'(-C)m with C centred under its masses.
        K = C * D
        K -= for_dose * C
        K -= for_covariates * D
        scale = weight if self.weight_type == "frequency" else weight / weight.mean()
        penalty = self.ridge / scale
        result = self._solve(K, base, penalty, A, Z)
        masses, n = result.weights, len(rows)
        self.weights_, self.masses_ = np.zeros(n), np.zeros(n)
        self.weights_[rows], self.masses_[rows] = masses / base, masses
        self.energy_treatment_ = float(-masses @ C @ masses)
        self.energy_covariates_ = float(-masses @ D @ masses)
        C *= D
        self.distance_covariance_ = float(masses @ C @ masses)
        self.distance_covariance_before_ = float(base @ C @ base)
        self.objective_ = 2 * result.value
        self.gap_, self.relative_gap_ = 2 * result.gap, result.relative_gap
        self.n_iter_, self.converged_ = result.n_iter, result.converged
        squares = masses**2
        self.ess_ = float(
            1 / np.sum(squares / weight if self.weight_type == "frequency" else squares)
        )
        self._warn(masses)

    def _solve(
        self,
        K: FloatArray,
        base: FloatArray,
        penalty: FloatArray,
        A: FloatArray,
        Z: FloatArray,
    ) -> SimplexQPResult:
        options: dict[str, Any] = {}
        if self.moments:
            pairs = [A[:, [j]] * Z for j in range(A.shape[1])]
            F = np.hstack([A, Z, *pairs])
            options = {"moments": F, "moment_targets": np.zeros(F.shape[1])}
        return simplex_qp(
            K,
            np.zeros(len(base)),
            penalty,
            lower=self.min_weight * base,
            upper=None if self.max_weight is None else self.max_weight * base,
            tol=self.tol,
            **options,
        )

    def _warn(self, masses: FloatArray) -> None:
        if not self.converged_:
            warnings.warn(
                f"independence weights are not optimal to tol={self.tol:g}: the "
                f"relative gap is {self.relative_gap_:.2g}. Raise ridge or tol.",
                ConvergenceWarning,
                stacklevel=5,
            )
        found = concentration(masses)
        if found is not None:
            warnings.warn(
                f"the weights {found}. A larger ridge spreads the weights.",
                UserWarning,
                stacklevel=5,
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
