"""Average effects by kernels of uniformly transformed covariates (Yu & Wang)."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Self

from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from causalweights._base import unchanged_on_error
from causalweights._formula import rows_by_formula
from causalweights._progress import ProgressMixin, reports_progress
from causalweights._typing import FloatArray
from causalweights._validation import (
    check_covariates,
    check_estimand,
    check_same_rows,
    check_treatment,
)
from causalweights.crossfit import kept_splits
from causalweights.inference._effect_mixin import EffectMixin
from causalweights.inference._sample import checked_sample
from causalweights.ustatistics._bases import BASES
from causalweights.ustatistics._comparison import Comparison
from causalweights.ustatistics._estimate import fit_ustatistic
from causalweights.ustatistics._local_kernels import LOCAL_KERNELS
from causalweights.ustatistics._prediction import arm_predictors
from causalweights.ustatistics._report import (
    attributes_of,
    details_of,
    warn_of,
)
from causalweights.ustatistics._transformer import UniformTransformer
from causalweights.ustatistics._uncertainty import with_uncertainty


class UniformTransformerEffect(EffectMixin, ProgressMixin, BaseEstimator):
    r"""Estimate an average treatment effect by a kernel of uniform covariates.

    An arm's covariates are mapped to the uniform law on the unit cube. A linear density
    estimate of other rows' images there is a density ratio, so that weighting becomes
    a two-sample U-statistic, computed here in time linear in the rows. It is root-n
    where outcome and ratio are together smoother than d/2, without either being
    estimated well; the weights that are best for the effect undersmooth.

    The defaults are the form we recommend; `wunt` makes the authors'. For up to about
    four continuous covariates; beyond, the linear outcome model does most of the work.

    Parameters
    ----------
    estimand : {"ate", "att", "atc"}, default="ate"
        Case-insensitive. An arm's rows are the reference for all rows of the target
        that are not in it.
    transformer : str, transformer, callable or "none", default="rank"
        The map, made of each reference arm: ``"rank"``, ``"marginal"`` or ``"joint"``
        of `UniformTransformer`; a transformer, fitted on the reference rows, or in
        scikit-learn's ``FrozenEstimator`` used as it is (fitted on more rows of the
        reference population, say); a function of X; ``"none"`` for covariates in the
        unit cube. The ends of a `UniformTransformer` without ``bounds`` are the range
        of both samples.
    boundary : {"reflect", "renorm", "none"}, default="reflect"
        ``"reflect"`` adds the kernel's mirror images; ``"renorm"`` divides by its mass
        inside the cube, which matters to ``normalization`` other than
        ``"per_target"``.
    normalization : {"per_target", "global", "none"}, default="per_target"
        Shares of reference rows sum to one for each target row (kernel imputation), or
        over all (the authors' package), or not at all: the U-statistic itself, which
        has no variance formula.
    kernel : str, default="gaussian"
        Product kernel: ``"gaussian"``, of order 4 to 10 ``"gaussian4"`` to
        ``"gaussian10"``, ``"epanechnikov"``, ``"uniform"``, ``"triangular"``,
        ``"triweight"``, ``"tricube"``, ``"biweight"``, ``"cosine"``, ``"silverman"``.
    bandwidth : {"default", "wide", "lepski"}, float or callable, default="default"
        In the unit cube. ``"default"`` is n^(-1/d), n rows of both samples:
        undersmoothed, intervals cover. ``"wide"`` is twice that: a smaller error,
        intervals somewhat short. ``"lepski"`` doubles the first as long as estimates
        agree. A function gets the images of reference and target rows. Never choose
        it for the density's sake.
    augment : "linear", regressor, classifier or None, default="linear"
        Outcome model whose residuals are imputed: least squares in sample, or a model
        cross-fitted by ``cv`` (a classifier through ``predict_proba``).
    augment_space : {"x", "u"}, default="x"
        Whether the outcome model sees covariates or their images.
    basis : {"polynomial", "cosine", "legendre", "haar", "bspline"}, default=None
        A projection on functions of the images in the place of a kernel.
    degree : int, default=2
        Largest total degree of polynomials and cosines; Haar functions and cubic
        splines have 2^degree intervals a coordinate, and all products.
    basis_gram : {"empirical", "identity"}, default="empirical"
        ``"empirical"`` is least squares of the outcome on the basis: the weights
        balance every function exactly. ``"identity"`` trusts that the reference is
        uniform: the kernel sum_l phi_l(u) phi_l(v).
    order_average : int, default=1
        Coordinate orders of ``transformer="joint"`` whose shares are averaged; above
        one for ``"per_target"`` and kernels that are not negative, in O(n^2) time.
    cv : int, splitter, list of splits or None, default=5
        Folds of a regressor given as ``augment``; None is in sample.
    n_neighbors : int, default=4
        Rows of the same arm, nearest in the unit cube, that estimate the outcome's
        variance at a row.
    se : {"analytic", "multiplier", "subsample"} or None, default="analytic"
        The variance of a linear imputation, Abadie and Imbens'; with ``groups``, of
        sums of ``influence_`` within. ``"multiplier"`` takes intervals from draws that
        keep the third moment of the same terms. ``"subsample"`` fits everything again
        on subsamples. The variance that takes weights as fixed is not offered: it
        counts the outcome's variance between covariates, which weighting removes.
    n_draws : int, default=1000
        Multiplier draws, or subsamples of each size.
    contrast : {"difference", "ratio", "odds_ratio"}, default="difference"
        Of the arm means, by the delta method.
    control, focal : label or None, default=None
        None: the smallest numeric label, the first ordered category; for text
        ``control`` must be given. ATT is the effect on ``focal``.
    weight_type : {"sampling", "frequency"}, default="sampling"
        Meaning of ``sample_weight``.
    random_state : int, RandomState or None, default=None
        Of folds and draws. None is seed 0: a refit is identical.
    n_jobs : int or None, default=None
        Outcome models or subsamples at once; results do not depend on it.

    Attributes
    ----------
    effect_, se_ : float, or ndarray of shape (K-1,)
        Contrasts with the control arm in the order of ``treatments_``.
    means_, means_cov_, cov_ : ndarray
        Arm means (K,), their covariance, and that of the effects.
    influence_ : ndarray of shape (n,) or (n, K-1)
        Influence function with the imputation's own noise in it, which ``se_`` has
        taken off: ``sqrt(sum(influence_**2)) / n`` is a little larger.
    weights_, masses_, target_masses_ : ndarray of shape (n,)
        Mean one in each arm that is weighted; sum one in each arm; sum one. Least
        squares and higher-order kernels make negative ones, which are kept.
    ess_ : dict
        Effective sample size by arm.
    bandwidth_ : dict
        By the arm that is the reference.
    maps_ : dict
        Fitted maps (a list, of the coordinate orders) by reference arm.
    n_unsupported_ : dict
        Target rows that no reference row reaches, which get the nearest one's outcome.
    frac_weakly_supported_ : dict
        Share of target rows with less than a twentieth of the median row's kernel sum.
    frac_out_of_range_ : dict of ndarray of shape (d,)
        Share of target rows beyond the reference rows in each covariate.
    result_ : EffectResult
    estimand_, treatments_, control_, focal_ : as resolved
    n_features_in_, feature_names_in_ : as in scikit-learn

    See Also
    --------
    UniformTransformer : The map.
    WeightedEffect : Weights that balance, and an outcome model.
    causalweights.diagnostics.uniformity_table : Whether the reference is uniform.

    Notes
    -----
    With images U of reference rows i and V of target rows j, kappa_ij = a_i K(U_i, V_j)
    / sum_i a_i K(U_i, V_j), residuals r and target masses t, the mean of arm a is

    .. math:: \mu_a = \sum_i t_i m_a(X_i) + \sum_{i \in a} M_i r_i, \qquad
        M_i = t_i + \sum_j t_j \kappa_{ij} .

    Assumes unconfoundedness, overlap and no interference; the map's own estimation
    makes the estimator more, not less, precise. The variance holds where bias is
    small against it: undersmooth (``"default"``), and augment beyond one covariate.
    ``"global"`` with a map that leaves dependence in is inconsistent, and warns.

    Kernel sums: cell lists O(n) for a fixed number of covariates, prefix sums
    O(n log n) for one, a cosine series O(n p) for wide bandwidths, else O(n^2) time,
    O(n) memory throughout. A basis of p functions: O(n p^2).

    References
    ----------
    .. [1] Yu & Wang. Treatment effects estimation by uniform transformer.
       arXiv 2008.03738.
    .. [2] Robins, Li, Mukherjee, Tchetgen Tchetgen & van der Vaart (2017). Minimax
       estimation of a functional on a structured high-dimensional model. Annals of
       Statistics 45(5).
    .. [3] Abadie & Imbens (2006). Large sample properties of matching estimators for
       average treatment effects. Econometrica 74(1).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights import UniformTransformerEffect
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 1))
    >>> a = (X[:, 0] + rng.logistic(size=400) > 0).astype(int)
    >>> y = np.sin(2 * X[:, 0]) + a + rng.normal(size=400)
    >>> effect = UniformTransformerEffect().fit(X, y, treatment=a)
    >>> low, high = effect.conf_int()[0]
    >>> bool(low < 1 < high)
    True
    """

    __metadata_request__fit = {"treatment": True, "sample_weight": True, "groups": True}

    _parameter_constraints: dict = {
        "estimand": [str],
        "transformer": [
            StrOptions({"rank", "marginal", "joint", "none"}),
            HasMethods("transform"),
            callable,
        ],
        "boundary": [StrOptions({"reflect", "renorm", "none"})],
        "normalization": [StrOptions({"per_target", "global", "none"})],
        "kernel": [StrOptions(set(LOCAL_KERNELS))],
        "bandwidth": [
            StrOptions({"default", "wide", "lepski"}),
            Interval(Real, 0, None, closed="neither"),
            callable,
        ],
        "augment": [StrOptions({"linear"}), HasMethods(["fit", "predict"]), None],
        "augment_space": [StrOptions({"x", "u"})],
        "basis": [StrOptions(set(BASES)), None],
        "degree": [Interval(Integral, 0, None, closed="left")],
        "basis_gram": [StrOptions({"empirical", "identity"})],
        "order_average": [Interval(Integral, 1, None, closed="left")],
        "cv": ["cv_object"],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "se": [StrOptions({"analytic", "multiplier", "subsample"}), None],
        "n_draws": [Interval(Integral, 20, None, closed="left")],
        "contrast": [StrOptions({"difference", "ratio", "odds_ratio"})],
        "control": "no_validation",
        "focal": "no_validation",
        "weight_type": [StrOptions({"sampling", "frequency"})],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
    }

    def __init__(
        self,
        estimand="ate",
        *,
        transformer="rank",
        boundary="reflect",
        normalization="per_target",
        kernel="gaussian",
        bandwidth="default",
        augment="linear",
        augment_space="x",
        basis=None,
        degree=2,
        basis_gram="empirical",
        order_average=1,
        cv=5,
        n_neighbors=4,
        se="analytic",
        n_draws=1000,
        contrast="difference",
        control=None,
        focal=None,
        weight_type="sampling",
        random_state=None,
        n_jobs=None,
    ):
        self.estimand = estimand
        self.transformer = transformer
        self.boundary = boundary
        self.normalization = normalization
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.augment = augment
        self.augment_space = augment_space
        self.basis = basis
        self.degree = degree
        self.basis_gram = basis_gram
        self.order_average = order_average
        self.cv = cv
        self.n_neighbors = n_neighbors
        self.se = se
        self.n_draws = n_draws
        self.contrast = contrast
        self.control = control
        self.focal = focal
        self.weight_type = weight_type
        self.random_state = random_state
        self.n_jobs = n_jobs

    @classmethod
    def wunt(
        cls, estimand: str = "att", *, random_state: Any = None, **options
    ) -> Self:
        """Return the estimator of the authors' package WUNT 0.1.0.

        Joint map with random cuts, no boundary correction, weights normalised over all
        targets, no outcome model. ``random_state`` draws the cuts.
        """
        preset = {
            "transformer": UniformTransformer(
                "joint", random_cuts=True, random_state=random_state
            ),
            "boundary": "none",
            "normalization": "global",
            "augment": None,
            "random_state": random_state,
        }
        return cls(estimand, **{**preset, **options})

    @_fit_context(prefer_skip_nested_validation=False)
    @reports_progress
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        treatment: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
    ) -> Self:
        """Estimate the effect.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Covariates; strings and categories of a frame become indicators.
        y : array-like of shape (n,)
            Outcome.
        treatment : array-like of shape (n,)
            Label of each row's arm.
        sample_weight : array-like of shape (n,) or None, default=None
            Rows of weight zero are removed first.
        groups : array-like of shape (n,) or None, default=None
            Clusters, for the folds and for cluster-robust standard errors.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For bad input, and for options that do not go together.
        """
        check_same_rows(
            X=X, y=y, treatment=treatment, sample_weight=sample_weight, groups=groups
        )
        with unchanged_on_error(self):
            given = X
            X = check_covariates(self, X)
            estimand = check_estimand(self.estimand, ("ate", "att", "atc"))
            arms = check_treatment(
                treatment, len(X), control=self.control, focal=self.focal
            )
            sample, rows = checked_sample(
                given if hasattr(given, "columns") else X, y, arms, sample_weight,
                groups, self.weight_type,
            )  # fmt: skip
            X = X[rows]
            self._comparison = Comparison.of(self)
            fitted = fit_ustatistic(
                self, self._comparison, X, sample, estimand, kept_splits(self.cv, rows)
            )
            found = with_uncertainty(
                self, self._comparison, X, sample, estimand, fitted
            )
            unequal = self._comparison.sums_vary
            self._store_estimate(
                found, sample, None if unequal else fitted.masses, estimand, rows,
                details_of(self, fitted, sample),
            )  # fmt: skip
            for name, value in attributes_of(fitted, X, sample, rows).items():
                setattr(self, name, value)
            self._predictors = arm_predictors(self, X, sample, fitted)
        warn_of(self, fitted, sample)
        return self

    def predict_outcome(self, X: Any, arm: Any) -> FloatArray:
        """Return the mean outcome imputed for rows under an arm.

        Parameters
        ----------
        X : array-like or frame of shape (m, d)
            Covariates.
        arm : label
            An arm that was the reference: any for the ATE, not the target's for the
            ATT and the ATC.

        Returns
        -------
        ndarray of shape (m,)
            The outcome model's prediction plus the local average of residuals.
        """
        check_is_fitted(self)
        if arm not in self._predictors:
            raise ValueError(
                f"arm={arm!r} was not imputed; these were: "
                f"{', '.join(repr(label) for label in self._predictors)}."
            )
        X = rows_by_formula(self, X)
        numbers = check_covariates(self, X, reset=False, min_rows=1)
        given = X if hasattr(X, "columns") else numbers
        return self._predictors[arm].predict(self, self._comparison, numbers, given)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
