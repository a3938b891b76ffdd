"""Kernel method of moments (Kremer, Nemmour, Schoelkopf & Zhu 2023), an estimator."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from causalweights.moments._data import MomentData
from causalweights.moments._gmm_covariance import CovarianceOptions
from causalweights.moments._kernel_estimator import _KernelMomentEstimator
from causalweights.moments._kernel_fit import KernelFit, KernelSettings


class KernelMoments(_KernelMomentEstimator):
    r"""Kernel method of moments, for conditional and plain moment restrictions.

    Chooses theta so that the sample is closest to a law that satisfies the moments,

    .. math:: \hat\theta = \mathrm{argmin}_\theta \min_P \frac{1}{2\kappa}
              \mathrm{MMD}^2(P, P_n) + D(P \,\|\, \omega) + \frac{1}{2\lambda}
              \| E_P[\psi(\theta) \otimes k(Z, \cdot)] \|^2 ,

    in the units of the divergence. Unlike generalised empirical likelihood, which only
    reweights, the distance to the sample is one of kernels; unlike a moment norm, all
    functions of the instruments count, each as much as its precision allows.

    Parameters
    ----------
    moment : MomentModel or None, default=None
        None is `LinearIVMoment`.
    instrument_features : {"rkhs", "linear"} or callable, default="rkhs"
        Functions of the instruments that residuals are orthogonal to: a kernel's,
        penalised by ``lam``, which uses E[residual | instruments] = 0 in full; the
        instruments themselves; or those that a function of the instruments returns,
        (n, L). Unused by models whose residuals are the moments.
    kappa : float, default=1.0
        Positive. Small values let the law move away from the sample's points; inf
        only reweights. Estimates hardly depend on it from 1 on.
    lam : float or "auto", default="auto"
        Penalty of the instrument function, for residuals of unit standard deviation
        and a kernel of unit diagonal. 0 makes all moments hold exactly, inf is
        `MMR`. ``"auto"`` cross-validates with ``"rkhs"`` and is 0 otherwise.
    divergence : {"kl", "log", "chi2"}, default="kl"
        ``"log"`` is Burg's, ``"chi2"`` admits negative probabilities.
    kernel : {"gaussian", "laplace"}, default="gaussian"
        Of observations and of instruments.
    bandwidth : float or "median", default="median"
        In standard deviations of the columns; ``"median"`` for the instruments, the
        other regressors and the outcome each.
    n_components : int or None, default=100
        Landmarks of the kernel of observations; None is exact.
    n_instruments : int or None, default=60
        Landmarks of the kernel of instruments.
    reference : {"empirical", "kde"}, default="empirical"
        omega: the sample, or the sample and draws from a kernel density estimate.
        Smoothed, V is positive even where all moments hold, and there is no J test.
    n_reference : int, default=0
        Draws of ``"kde"``; 0 is one a row.
    kde_bandwidth : float, default=0.3
        In standard deviations of each column.
    n_starts : int, default=5
        Starts of models that are not linear.
    cv : int, splitter or list of splits, default=5
        Folds of ``lam="auto"`` and of ``one_step``.
    criterion : {"variance", "moment", "mmr", "hsic"}, default="variance"
        What they compare: the variance of the estimator that solves, on held-out
        rows, the moments that the fit weights, or norms of those moments. ``"hsic"``
        prefers residuals independent of the instruments, which is wrong where their
        variance is not constant.
    one_step : bool, default=False
        Solve the moments with the optimal instruments of Chamberlain, learned by
        cross-fitted ridge regressions at the estimate. Needs ``"rkhs"``.
    cov_type : {"robust", "unadjusted", "cluster", "hac"}, default="robust"
        Covariance of the moments; groups make it that of clusters.
    fit_intercept : bool, default=False
        Add a constant, the last column, to X and instruments.
    weight_type : {"sampling", "frequency"}, default="sampling"
        Whether a sample weight multiplies the moments of a row, or counts rows.
    tol : float, default=1e-7
        A last step of so many standard errors counts as converged.
    max_iter : int, default=200
    random_state : int, RandomState instance or None, default=None
        Folds, draws, starts, and landmarks above 2048 rows. None is seed 0.
    n_jobs : int or None, default=None
        Processes over folds; results do not depend on it.

    Attributes
    ----------
    params_, se_ : ndarray of shape (p,)
        Estimates and standard errors.
    cov_ : ndarray of shape (p, p)
    names_ : list of str
    weights_ : ndarray of shape (n,)
        Implied probabilities, sum one; zero on rows of weight zero. Draws of
        ``"kde"`` come last.
    ess_ : float
        Their effective number of rows.
    objective_ : float
        V at the minimum (lam V for lam = inf).
    dual_ : InnerDual or None
        Multipliers and certificate of the inner problem.
    lam_ : float
    lam_path_ : dict of ndarray or None
        ``"lam"`` and ``"score"`` of the cross-validation.
    bandwidth_ : dict of str to float
        Of the kernel of observations, by block.
    start_objectives_ : ndarray
        Minima found from each start; where they differ there are local minima.
    moment_ : MomentModel
        The model, with constants taken from the data.
    instrument_names_ : list of str
    n_iter_ : int
        Newton steps of theta.
    converged_ : bool
    result_ : MomentResult
    n_features_in_, feature_names_in_ : as in scikit-learn

    See Also
    --------
    GEL : kappa = inf, lam = 0.
    MMR : lam = inf.
    GMM : The generalised method of moments.

    Notes
    -----
    Assumes that theta is the only one whose moments have mean zero, and instruments
    that are not weak. The paper's rho, epsilon and lambda enter through kappa = rho
    epsilon and lam = lambda epsilon only; where it trains a saddle point by stochastic
    steps, both levels are Newton's method here, exact to rounding and the same in every
    run. To first order the moments are weighted by the inverse of ``Omega_kappa +
    lam``, the covariance of their residuals from a kernel ridge regression on the
    observations. Standard errors are the sandwich for that weight, valid whether or
    not it is efficient. Where ``lam`` is chosen by the variance of held-out rows they
    are that variance: the sandwich of the rows that chose the weights is too small, in
    a linear model with 60 instrument functions and 400 rows by a third (give lam for
    speed, and then take ``one_step``).

    Time O(n (D + q)^2) a step with D components and q instrument functions times
    residuals, memory O(n (D + q)).

    References
    ----------
    .. [1] Kremer, Nemmour, Schoelkopf & Zhu (2023), Estimation beyond data reweighting:
       kernel method of moments, ICML, arXiv:2305.10898.
    .. [2] Chamberlain (1987), Asymptotic efficiency in estimation with conditional
       moment restrictions, Journal of Econometrics 34.

    Examples
    --------
    The noise grows with the square of the regressor: weighting pays.

    >>> import numpy as np
    >>> from causalweights import KernelMoments
    >>> rng = np.random.default_rng(0)
    >>> t = np.exp(rng.uniform(-1.5, 1.5, size=400))
    >>> y = 1.7 * t + t**2 * rng.normal(size=400)
    >>> model = KernelMoments().fit(t[:, None], y)
    >>> bool(abs(model.params_[0] - 1.7) < 0.05), bool(model.se_[0] < 0.05)
    (True, True)
    """

    _parameter_constraints: dict = {
        **_KernelMomentEstimator._parameter_constraints,
        "instrument_features": [StrOptions({"rkhs", "linear"}), callable],
        "kappa": [Interval(Real, 0, None, closed="right")],
        "lam": [Interval(Real, 0, None, closed="both"), StrOptions({"auto"})],
        "divergence": [StrOptions({"kl", "log", "chi2"})],
        "kernel": [StrOptions({"gaussian", "laplace"})],
        "bandwidth": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"median"}),
        ],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "n_instruments": [Interval(Integral, 1, None, closed="left"), None],
        "reference": [StrOptions({"empirical", "kde"})],
        "n_reference": [Interval(Integral, 0, None, closed="left")],
        "kde_bandwidth": [Interval(Real, 0, None, closed="left")],
        "cv": ["cv_object"],
        "criterion": [StrOptions({"variance", "moment", "mmr", "hsic"})],
        "one_step": ["boolean"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        moment=None,
        *,
        instrument_features="rkhs",
        kappa=1.0,
        lam="auto",
        divergence="kl",
        kernel="gaussian",
        bandwidth="median",
        n_components=100,
        n_instruments=60,
        reference="empirical",
        n_reference=0,
        kde_bandwidth=0.3,
        n_starts=5,
        cv=5,
        criterion="variance",
        one_step=False,
        cov_type="robust",
        fit_intercept=False,
        weight_type="sampling",
        tol=1e-7,
        max_iter=200,
        random_state=None,
        n_jobs=None,
    ):
        self.moment = moment
        self.instrument_features = instrument_features
        self.kappa = kappa
        self.lam = lam
        self.divergence = divergence
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.n_components = n_components
        self.n_instruments = n_instruments
        self.reference = reference
        self.n_reference = n_reference
        self.kde_bandwidth = kde_bandwidth
        self.n_starts = n_starts
        self.cv = cv
        self.criterion = criterion
        self.one_step = one_step
        self.cov_type = cov_type
        self.fit_intercept = fit_intercept
        self.weight_type = weight_type
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state
        self.n_jobs = n_jobs

    def _store(self, data: MomentData, found: KernelFit) -> None:
        super()._store(data, found)
        self.dual_ = found.minimum.at.dual
        self.lam_, self.bandwidth_ = found.lam, found.bandwidth
        self.lam_path_ = None
        if found.choice is not None:
            self.lam_path_ = {"lam": found.choice.grid, "score": found.choice.scores}

    def _settings(self) -> KernelSettings:
        """Return the options, or refuse those that do not go together."""
        conditional = self.moment is None or self.moment.conditional
        if self.one_step and not (conditional and self.instrument_features == "rkhs"):
            raise ValueError(
                "one_step=True learns functions of the instruments: it needs a "
                "conditional model and instrument_features='rkhs'."
            )
        if self.reference == "kde" and not isinstance(self.lam, str):
            if np.isinf(self.lam):
                raise ValueError(
                    "lam=inf leaves the reference out: take reference='empirical'."
                )
        return KernelSettings(
            instrument_features=self.instrument_features, kappa=float(self.kappa),
            lam=self.lam, divergence=self.divergence,
            covariance=CovarianceOptions(self.cov_type), kernel=self.kernel,
            bandwidth=self.bandwidth, n_components=self.n_components,
            n_instruments=self.n_instruments, reference=self.reference,
            n_reference=self.n_reference, kde_bandwidth=self.kde_bandwidth,
            n_starts=self.n_starts, cv=self.cv, criterion=self.criterion,
            one_step=self.one_step, tol=self.tol, max_iter=self.max_iter,
            random_state=self.random_state, n_jobs=self.n_jobs,
        )  # fmt: skip
