"""Generalised empirical likelihood (Newey & Smith 2004), an estimator."""

from __future__ import annotations

import numpy as np
from sklearn.utils._param_validation import StrOptions

from causalweights.moments._data import MomentData
from causalweights.moments._gmm_covariance import CovarianceOptions
from causalweights.moments._kernel_estimator import _KernelMomentEstimator
from causalweights.moments._kernel_fit import KernelFit, KernelSettings


class GEL(_KernelMomentEstimator):
    r"""Generalised empirical likelihood: reweight the sample as little as possible.

    Chooses theta, and probabilities p of the rows under which all moments hold,

    .. math:: \hat\theta = \mathrm{argmin}_\theta \min_p D(p \,\|\, 1/n) \quad
              \text{with} \quad \textstyle\sum_i p_i m_i(\theta) = 0 .

    Parameters
    ----------
    moment : MomentModel or None, default=None
        None is `LinearIVMoment`.
    divergence : {"kl", "log", "chi2"}, default="kl"
        ``"kl"`` is exponential tilting, ``"log"`` empirical likelihood, ``"chi2"``
        continuously updated GMM with a centred weight, whose probabilities may be
        negative.
    cov_type : {"robust", "unadjusted", "cluster", "hac"}, default="robust"
        Covariance of the moments in standard errors and in J; groups make it that of
        clusters. The estimate treats rows as independent.
    fit_intercept : bool, default=False
        Add a constant, the last column, to X and instruments.
    weight_type : {"sampling", "frequency"}, default="sampling"
        Whether a sample weight multiplies the moments of a row, or counts rows.
    n_starts : int, default=5
        Starts of models that are not linear.
    tol : float, default=1e-7
        A last step of so many standard errors counts as converged.
    max_iter : int, default=200
    random_state : int, RandomState instance or None, default=None
        Draws starts. None is seed 0.

    Attributes
    ----------
    params_, se_ : ndarray of shape (p,)
        Estimates and standard errors.
    cov_ : ndarray of shape (p, p)
    names_ : list of str
    weights_ : ndarray of shape (n,)
        Implied probabilities, sum one; zero on rows of weight zero.
    ess_ : float
        Their effective number of rows.
    objective_ : float
        The divergence; 2 n times it is the likelihood ratio of the overidentifying
        restrictions.
    dual_ : InnerDual
        Multipliers and certificate of the inner problem, for moments in an orthonormal
        basis.
    start_objectives_ : ndarray
        Minima found from each start.
    moment_ : MomentModel
    instrument_names_ : list of str
    n_iter_ : int
    converged_ : bool
    result_ : MomentResult
    n_features_in_, feature_names_in_ : as in scikit-learn

    See Also
    --------
    KernelMoments : Also moves mass off the sample, and penalises many moments.

    Notes
    -----
    Assumptions and first-order law are those of efficient GMM, with less bias where
    moments are many. Newton's method at both levels: O(n q^2) time a step with q
    moments.

    References
    ----------
    .. [1] Newey & Smith (2004), Higher order properties of GMM and generalized
       empirical likelihood estimators, Econometrica 72.
    .. [2] Kitamura & Stutzer (1997), An information-theoretic alternative to
       generalized method of moments estimation, Econometrica 65.

    Examples
    --------
    >>> from causalweights import GEL
    >>> from causalweights.datasets import load_card
    >>> card = load_card(instruments=["nearc2", "nearc4"])
    >>> gel = GEL(fit_intercept=True)
    >>> gel = gel.fit(card.X, card.y, instruments=card.instruments)
    >>> round(float(gel.params_[0]), 4)
    0.1623
    """

    _title = "Generalised empirical likelihood"

    _parameter_constraints: dict = {
        **_KernelMomentEstimator._parameter_constraints,
        "divergence": [StrOptions({"kl", "log", "chi2"})],
    }

    def __init__(
        self,
        moment=None,
        *,
        divergence="kl",
        cov_type="robust",
        fit_intercept=False,
        weight_type="sampling",
        n_starts=5,
        tol=1e-7,
        max_iter=200,
        random_state=None,
    ):
        self.moment = moment
        self.divergence = divergence
        self.cov_type = cov_type
        self.fit_intercept = fit_intercept
        self.weight_type = weight_type
        self.n_starts = n_starts
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def _store(self, data: MomentData, found: KernelFit) -> None:
        super()._store(data, found)
        self.dual_ = found.minimum.at.dual

    def _settings(self) -> KernelSettings:
        return KernelSettings(
            instrument_features="linear", kappa=np.inf, lam=0.0,
            divergence=self.divergence, covariance=CovarianceOptions(self.cov_type),
            n_starts=self.n_starts, tol=self.tol, max_iter=self.max_iter,
            random_state=self.random_state,
        )  # fmt: skip
