"""Entropy balancing (Hainmueller 2012): exact moments at the least divergence."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from causalweights._typing import FloatArray
from causalweights._validation import (
    check_base_weights,
    check_covariates,
    check_same_rows,
    covariate_names,
)
from causalweights.balancing._entropy_dual import (
    DualSolution,
    covariance,
    solve_dual,
    worst_feature,
)
from causalweights.balancing._features import Features, fit_features
from causalweights.balancing._weighter import (
    Design,
    _BaseWeighter,
    unchanged_on_error,
    warn_concentration,
)
from causalweights.inference._weight_model import WeightModel


@dataclass(frozen=True, slots=True)
class _Solution:
    """What the tilts were computed from, in the rows of positive sample weight.

    H (n, r) holds the full-rank features centred at the target's means.
    """

    H: FloatArray
    masses: FloatArray
    target: FloatArray
    codes: np.ndarray
    arms: list[int]
    rows: np.ndarray


def tilt_influence(
    H: FloatArray, masses: FloatArray, target: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the influence (n, r) of an arm's rows, and of the target's, on its tilt.

    The tilt solves ``sum_i M_i(theta) h_i = sum_i t_i h_i``. Its derivative in theta is
    the covariance J of h under M, so a row's sampling adds ``-J^{-1} M_i h_i`` and the
    target's adds ``J^{-1} t_i h_i`` (h centred at the target). ``masses`` is zero
    outside the arm.
    """
    inverse = np.linalg.pinv(covariance(H, masses), rcond=1e-13, hermitian=True)
    pulled = H @ inverse
    return -masses[:, None] * pulled, target[:, None] * pulled


class EntropyBalancer(_BaseWeighter):
    """Weight arms so that covariate means match the target's exactly.

    Among all weights that balance the chosen moments, entropy balancing takes those
    closest to the base weights in Kullback-Leibler divergence. They are positive and
    log-linear in the moments. Use it where the outcome is about linear in these moments
    or the propensity about logistic in them: either suffices. With many covariates or
    poor overlap no solution exists; then `fit` raises and names the covariate, and
    `IPMBalancer` (approximate balance of whole distributions) or
    ``PropensityWeighter(estimand="ato")`` are the alternatives.

    Parameters
    ----------
    estimand : {"ate", "att", "atc"}, default="ate"
        Whose moments are the target: all rows', the focal arm's or the control arm's.
        Case-insensitive.
    moments : {1, 2}, default=1
        Balance means, or means and squares (of columns with more than two values).
    interactions : bool, default=False
        Balance all pairwise products too.
    tol : float, default=1e-8
        Largest imbalance, in SD units, that counts as converged. The iterations go on
        to rounding.
    max_iter : int, default=200
        Newton steps an arm.
    control : label or None, default=None
        Control arm; None = the smallest label of a bool or numeric treatment, the first
        of ordered categories. Required for other labels.
    focal : label or None, default=None
        Arm of the ATT; None = the other arm of two.
    weight_type : {"sampling", "frequency"}, default="sampling"
        What ``sample_weight`` means; it changes ``ess_``, not the weights.

    Attributes
    ----------
    weights_ : ndarray of shape (n,)
        Mean one in each weighted arm, one in the focal arm.
    masses_ : ndarray of shape (n,)
        Weights times sampling weights, sum one an arm.
    target_masses_ : ndarray of shape (n,)
        Masses of the target, sum one.
    coef_ : ndarray of shape (K, p)
        Tilt of each arm: log weight for one SD of a feature. Zero for the focal arm.
        Of collinear features the smallest solution.
    moment_names_ : list of str
        The p balanced features: ``x``, ``x^2``, ``x * z``. Squares and products are of
        standardised covariates.
    max_imbalance_ : dict
        By weighted arm, the largest distance to a target mean in full-sample SD.
    converged_ : bool
        Whether every ``max_imbalance_`` is at most ``tol``.
    n_iter_ : dict
        Newton steps by weighted arm.
    ess_ : dict
        Kish's effective sample size by arm.
    estimand_, treatments_, control_, focal_ : as resolved.
    n_features_in_, feature_names_in_ : as in scikit-learn

    See Also
    --------
    IPMBalancer : Balance a whole class of functions.
    PropensityWeighter : Weights from a model of the treatment.

    Notes
    -----
    In an arm with base masses q (``sample_weight * base_weights``, sum one) the masses
    solve ``min sum_i M_i log(M_i / q_i)`` subject to ``sum_i M_i z_i = t``; the dual
    ``min_theta log sum_i q_i exp(theta'(z_i - t))`` is smooth and convex, and is solved
    by damped Newton steps on a full-rank basis of z, so that collinear moments do no
    harm. Identification of effects needs no unmeasured confounding, overlap, and one
    of the two models in the first paragraph. Time n p^2 a step (about ten steps),
    memory n p.

    The weights are smooth M-estimators: `WeightedEffect` adds their estimation to the
    standard error.

    References
    ----------
    Hainmueller, J. (2012). Entropy balancing for causal effects. Political Analysis
    20(1), 25-46, section 3. Here all arms are weighted for the ATE, features are
    standardised, and infeasible targets raise.
    Zhao, Q. and Percival, D. (2017). Entropy balancing is doubly robust. Journal of
    Causal Inference 5(1).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.balancing import EntropyBalancer
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> a = rng.random(200) < 1 / (1 + np.exp(-X[:, 0]))
    >>> balancer = EntropyBalancer(estimand="att").fit(X, a)
    >>> bool(np.allclose(balancer.masses_[~a] @ X[~a], X[a].mean(axis=0)))
    True
    >>> {label: round(size, 1) for label, size in balancer.ess_.items()}
    {False: ..., True: ...}
    """

    _parameter_constraints: dict = {
        "estimand": [str],
        "moments": [Interval(Integral, 1, 2, closed="both")],
        "interactions": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "control": "no_validation",
        "focal": "no_validation",
        "weight_type": [StrOptions({"sampling", "frequency"})],
    }

    __metadata_request__fit = {"base_weights": True}

    def __init__(
        self,
        *,
        estimand="ate",
        moments=1,
        interactions=False,
        tol=1e-8,
        max_iter=200,
        control=None,
        focal=None,
        weight_type="sampling",
    ):
        self.estimand = estimand
        self.moments = moments
        self.interactions = interactions
        self.tol = tol
        self.max_iter = max_iter
        self.control = control
        self.focal = focal
        self.weight_type = weight_type

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Any,
        treatment: Any,
        *,
        sample_weight: Any = None,
        base_weights: Any = None,
    ) -> EntropyBalancer:
        """Compute the weights.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Covariates; finite numbers. Columns of strings or categories of a pandas or
            polars frame become one indicator a level, ``name=level``.
        treatment : array-like of shape (n,)
            Label of each row's arm.
        sample_weight : array-like of shape (n,) or None, default=None
            Sampling or frequency weights, which also define the target; rows of weight
            zero are removed first and receive weight zero.
        base_weights : array-like of shape (n,) or None, default=None
            Positive weights to stay close to, such as inverse propensities; they change
            the weighted arms only, not the target.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Where no weights reach the target's means in some arm; NaN; one arm only.
        """
        check_same_rows(X=X, base_weights=base_weights)
        with unchanged_on_error(self):
            design = self._validate(X, treatment, sample_weight)
            base = check_base_weights(base_weights, design.rows)
            self._store(design, self._weigh(design, base))
        return self

    def _weigh(self, design: Design, base: FloatArray | None = None) -> FloatArray:
        names = covariate_names(self)
        features = fit_features(
            design.Z,
            design.sample_weight,
            [names[j] for j in design.scaling.kept],
            moments=self.moments,
            interactions=self.interactions,
        )
        target = design.target_masses()
        F = features.transform(design.Z)
        mean = target @ F
        F -= mean
        H = F @ features.basis
        base = np.ones(len(F)) if base is None else base
        masses = design.base_masses()
        self._reset(design, features, mean)
        for a in design.weighted_arms():
            mine = design.arms.codes == a
            q = design.sample_weight[mine] * base[mine]
            q /= q.sum()
            found = solve_dual(H[mine], q, tol=self.tol, max_iter=self.max_iter)
            self._keep(design, a, found, F[mine])
            # Relative to ones, the base weights' own scale, with mean one in the arm.
            s = design.sample_weight[mine]
            self._log_scale[a] = np.log(s.sum() / (s @ base[mine])) - found.log_total
            masses[mine] = found.masses
        self._finish()
        warn_concentration(design, masses, "fewer moments spread the weights")
        self._solution = _Solution(
            H, masses, target, design.arms.codes, design.weighted_arms(), design.rows
        )
        return masses

    def _reset(self, design: Design, features: Features, mean: FloatArray) -> None:
        self._features, self._mean, self._scaling = features, mean, design.scaling
        self.moment_names_ = features.names
        self.coef_ = np.zeros((design.arms.n_arms, len(features.names)))
        self._log_scale = np.zeros(design.arms.n_arms)
        self.n_iter_: dict[Any, int] = {}
        self.max_imbalance_: dict[Any, float] = {}

    def _keep(self, design: Design, a: int, found: DualSolution, F: FloatArray) -> None:
        label = design.arms.label(a)
        imbalance = float(np.max(np.abs(found.masses @ F)))
        if imbalance > self.tol:
            worst = worst_feature(F)
            if worst is not None or found.unbounded:
                j, miss = worst or (int(np.argmax(abs(found.masses @ F))), imbalance)
                raise ValueError(_no_solution(label, self.moment_names_[j], miss))
        self.coef_[a] = self._features.basis @ found.theta
        self.n_iter_[label] = found.n_iter
        self.max_imbalance_[label] = imbalance

    def _finish(self) -> None:
        self.converged_ = all(v <= self.tol for v in self.max_imbalance_.values())
        if not self.converged_:
            label = max(self.max_imbalance_, key=self.max_imbalance_.__getitem__)
            warnings.warn(
                f"entropy balancing stopped with an imbalance of "
                f"{self.max_imbalance_[label]:.2g} SD in arm {label!r} after "
                f"{self.n_iter_[label]} steps (tol={self.tol:g}): raise max_iter, or "
                "ask for fewer moments; the target is close to what the arm cannot "
                "reach.",
                ConvergenceWarning,
                stacklevel=5,
            )

    def predict_weights(self, X: Any, treatment: Any) -> FloatArray:
        """Return the exponential tilt at new rows, with base weights of one.

        On the training rows these are ``weights_`` (over the base weights, if any).
        They are scaled as in training, not normalised to the new rows; rows of the
        target arm get one.

        Parameters
        ----------
        X : array-like of shape (m, d)
        treatment : array-like of shape (m,)
            Labels seen in `fit`.

        Returns
        -------
        ndarray of shape (m,)
        """
        check_is_fitted(self)
        X = check_covariates(self, X, reset=False, min_rows=1)
        codes = self._arm_codes(treatment, len(X))
        F = self._features.transform(self._scaling.transform(X)) - self._mean
        tilts = np.einsum("ij,ij->i", F, self.coef_[codes])
        return np.exp(tilts + self._log_scale[codes])

    def _weight_model(self) -> WeightModel:
        """Return the first-order behaviour of the weights in the caller's rows."""
        fit = self._solution
        n, r = len(fit.rows), fit.H.shape[1]
        gradient, own, target = np.zeros((3, n, r * len(fit.arms)))
        for block, a in enumerate(fit.arms):
            columns = slice(block * r, (block + 1) * r)
            mine = fit.codes == a
            gradient[fit.rows, columns] = np.where(mine[:, None], fit.H, 0.0)
            own[fit.rows, columns], target[fit.rows, columns] = tilt_influence(
                fit.H, np.where(mine, fit.masses, 0.0), fit.target
            )
        return WeightModel(gradient, own, target)


def _no_solution(label: Any, name: str, miss: float) -> str:
    return (
        f"entropy balancing has no solution in arm {label!r}: no weights of its rows "
        f"reach the target means; the worst covariate is {name!r}, missed by "
        f"{miss:.2g} SD at the closest point. Drop or coarsen it, ask for fewer "
        "moments, remove target rows that the arm does not cover, or use IPMBalancer "
        "(approximate balance) or PropensityWeighter(estimand='ato')."
    )
