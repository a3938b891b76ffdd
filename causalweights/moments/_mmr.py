"""Maximum moment restrictions (Muandet, Jitkrittum & Kuebler 2020), an estimator."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from causalweights.moments._gmm_covariance import CovarianceOptions
from causalweights.moments._kernel_estimator import _KernelMomentEstimator
from causalweights.moments._kernel_fit import KernelSettings


class MMR(_KernelMomentEstimator):
    r"""Maximum moment restrictions: conditional moments in a kernel's norm.

    Chooses theta so that the largest mean of the residual times a function of the
    instruments, over the unit ball of their kernel, is smallest,

    .. math:: \hat\theta = \mathrm{argmin}_\theta n^{-2} \textstyle\sum_{ij}
              \psi_i(\theta)' \psi_j(\theta) k(z_i, z_j) .

    Parameters
    ----------
    moment : MomentModel or None, default=None
        Conditional. None is `LinearIVMoment`.
    kernel : {"gaussian", "laplace"}, default="gaussian"
    bandwidth : float or "median", default="median"
        In standard deviations of the instruments.
    n_instruments : int or None, default=300
        Landmarks of the kernel; None is exact.
    cov_type : {"robust", "unadjusted", "cluster", "hac"}, default="robust"
        Covariance of the moments; groups make it that of clusters.
    fit_intercept : bool, default=False
        Add a constant, the last column, to X and instruments.
    weight_type : {"sampling", "frequency"}, default="sampling"
        Whether a sample weight multiplies the residual of a row, or counts rows.
    n_starts : int, default=5
        Starts of models that are not linear.
    tol : float, default=1e-7
        A last step of so many standard errors counts as converged.
    max_iter : int, default=200
    random_state : int, RandomState instance or None, default=None
        Starts, and landmarks above 2048 rows. None is seed 0.

    Attributes
    ----------
    params_, se_ : ndarray of shape (p,)
        Estimates and standard errors.
    cov_ : ndarray of shape (p, p)
    names_ : list of str
    objective_ : float
        Half of the double sum, for residuals of unit standard deviation.
    start_objectives_ : ndarray
        Minima found from each start.
    weights_ : ndarray of shape (n,)
        The sample's shares: nothing is reweighted.
    ess_ : float
        Their effective number of rows.
    moment_ : MomentModel
    instrument_names_ : list of str
    n_iter_ : int
    converged_ : bool
    result_ : MomentResult
    n_features_in_, feature_names_in_ : as in scikit-learn

    See Also
    --------
    KernelMoments : Weights the functions by their precision: more efficient.

    Notes
    -----
    Consistent under a conditional restriction and a characteristic kernel, root-n
    normal, not efficient. Linear models take one step. Time O(n q^2), memory O(n q)
    with q landmarks times residuals. The authors' diagonal-free U-statistic is not
    used: its minimum need not exist.

    References
    ----------
    .. [1] Muandet, Jitkrittum & Kuebler (2020), Kernel conditional moment test via
       maximum moment restriction, UAI.
    .. [2] Zhang, Imaizumi, Schoelkopf & Muandet (2023), Instrumental variable
       regression via kernel maximum moment loss, Journal of Causal Inference 11.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights import MMR
    >>> rng = np.random.default_rng(0)
    >>> z, h = rng.normal(size=(2, 500))
    >>> t = z**2 + h
    >>> y = 2 * t + h + 0.1 * rng.normal(size=500)
    >>> model = MMR(fit_intercept=True).fit(t[:, None], y, instruments=z)
    >>> bool(abs(model.params_[0] - 2) < 3 * model.se_[0])
    True
    """

    _title = "Maximum moment restrictions"

    _parameter_constraints: dict = {
        **_KernelMomentEstimator._parameter_constraints,
        "kernel": [StrOptions({"gaussian", "laplace"})],
        "bandwidth": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"median"}),
        ],
        "n_instruments": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        moment=None,
        *,
        kernel="gaussian",
        bandwidth="median",
        n_instruments=300,
        cov_type="robust",
        fit_intercept=False,
        weight_type="sampling",
        n_starts=5,
        tol=1e-7,
        max_iter=200,
        random_state=None,
    ):
        self.moment = moment
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.n_instruments = n_instruments
        self.cov_type = cov_type
        self.fit_intercept = fit_intercept
        self.weight_type = weight_type
        self.n_starts = n_starts
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def _settings(self) -> KernelSettings:
        if self.moment is not None and not self.moment.conditional:
            raise ValueError(
                f"{type(self.moment).__name__} has no instruments, which a kernel "
                "could compare: take GMM or GEL."
            )
        return KernelSettings(
            instrument_features="rkhs", kappa=np.inf, lam=np.inf, divergence="kl",
            covariance=CovarianceOptions(self.cov_type), kernel=self.kernel,
            bandwidth=self.bandwidth, n_instruments=self.n_instruments,
            n_starts=self.n_starts, tol=self.tol, max_iter=self.max_iter,
            random_state=self.random_state,
        )  # fmt: skip
