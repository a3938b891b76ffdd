"""Relative density ratios by least squares (Yamada, Suzuki, Kanamori et al. 2013)."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from causalweights._blas import single_blas_thread
from causalweights._typing import FloatArray
from causalweights.kernels import Gaussian
from causalweights.shift._bandwidth import pooled_kernel
from causalweights.shift._samples import Samples
from causalweights.shift._weighter import _BaseShiftWeighter

# Candidates of the cross-validation: multiples of the median bandwidth, and ridges.
MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)
RIDGES = tuple(10.0 ** np.arange(-4, 1.01, 0.5))


def moments(
    source: FloatArray, target: FloatArray, a: FloatArray, b: FloatArray, mixture: float
) -> tuple[FloatArray, FloatArray]:
    """Return H and h of the loss theta'H theta / 2 - h'theta.

    From features (n, c), (t, c) and weights of the rows: H = mixture E_target phi phi'
    + (1 - mixture) E_source phi phi', h = E_target phi, the expectations weighted sums.
    """
    H = mixture * (target.T * b) @ target + (1.0 - mixture) * (source.T * a) @ source
    return H, b @ target


def cross_validated_loss(
    source: FloatArray,
    target: FloatArray,
    a: FloatArray,
    b: FloatArray,
    folds: tuple[np.ndarray, np.ndarray],
    mixture: float,
    ridges: FloatArray,
) -> FloatArray:
    """Return the held-out loss of every ridge, (m,), summed over the folds."""
    H, h = moments(source, target, a, b, mixture)
    loss = np.zeros(len(ridges))
    for k in range(int(folds[1].max()) + 1):
        of_source, of_target = folds[0] == k, folds[1] == k
        out_H, out_h = moments(
            source[of_source], target[of_target], a[of_source], b[of_target], mixture
        )
        values, vectors = np.linalg.eigh(H - out_H)
        image = vectors.T @ (h - out_h)
        theta = vectors @ (image[:, None] / (np.maximum(values, 0)[:, None] + ridges))
        loss += 0.5 * np.sum(theta * (out_H @ theta), axis=0) - out_h @ theta
    return loss


class RuLSIF(_BaseShiftWeighter):
    """Source weights that are the relative density ratio, fitted by least squares.

    The ratio of the target's density to ``mixture`` target + (1 - ``mixture``) source
    is at most 1 / mixture, so that no row carries everything; ``mixture=0`` is the
    plain ratio (uLSIF). It is a non-negative part of a sum of Gaussian kernels around
    target rows, with a closed-form fit.

    Parameters
    ----------
    mixture : float in [0, 1), default=0.1
        Share of the target in the denominator (alpha in the paper).
    bandwidth : {"cv", "50nn", "median"} or float, default="cv"
        ``"cv"``: 1/4 to 4 times the median one, by the held-out loss.
    ridge : "cv" or float, default="cv"
        Penalty on the squared coefficients; ``"cv"``: 1e-4 to 10.
    n_centers : int, default=100
        Target rows, drawn without replacement, that kernels sit on.
    n_folds : int, default=5
        Folds of each sample, of the cross-validation.
    standardize : bool, default=False
        As in `DoubleKernelMeanMatching`.
    weight_type : {"sampling", "frequency"}, default="sampling"
    random_state : int, RandomState instance or None, default=None
        Draws centres and folds; None is seed 0.

    Attributes
    ----------
    beta_ : ndarray of shape (n,)
        Relative ratio at the source rows, in [0, about 1 / mixture].
    alpha_ : ndarray of shape (t,)
        Ones; zero for target rows of sample weight zero.
    bandwidth_, ridge_ : float
        As used.
    ess_source_, ess_target_ : float
    n_features_in_, feature_names_in_ : as in scikit-learn

    Notes
    -----
    Time O((n + t) c^2) a bandwidth for c centres, and O(c^3) a fold.

    References
    ----------
    .. [1] Yamada, Suzuki, Kanamori, Hachiya & Sugiyama (2013). Relative density-ratio
       estimation for robust distribution comparison. Neural Computation 25(5).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.shift import RuLSIF
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(300, 1)), rng.normal(1.0, 0.8, size=(200, 1))
    >>> weighter = RuLSIF().fit(X, X_target=X_target)
    >>> weighter.predict_weights([[-1.0], [1.0]]).round(1)
    array([0. , 1.7])
    """

    _advice = "A larger mixture"

    _parameter_constraints: dict = {
        "mixture": [Interval(Real, 0, 1, closed="left")],
        "bandwidth": [
            StrOptions({"cv", "50nn", "median"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "ridge": [StrOptions({"cv"}), Interval(Real, 0, None, closed="neither")],
        "n_centers": [Interval(Integral, 1, None, closed="left")],
        "n_folds": [Interval(Integral, 2, None, closed="left")],
        "standardize": ["boolean"],
        "weight_type": [StrOptions({"sampling", "frequency"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        mixture=0.1,
        bandwidth="cv",
        ridge="cv",
        n_centers=100,
        n_folds=5,
        standardize=False,
        weight_type="sampling",
        random_state=None,
    ):
        self.mixture = mixture
        self.bandwidth = bandwidth
        self.ridge = ridge
        self.n_centers = n_centers
        self.n_folds = n_folds
        self.standardize = standardize
        self.weight_type = weight_type
        self.random_state = random_state

    def _weigh(
        self, samples: Samples, source: FloatArray, target: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        rng = check_random_state(0 if self.random_state is None else self.random_state)
        n, t = len(source), len(target)
        a, b = (w / w.sum() for w in (samples.source_weight, samples.target_weight))
        self._centers = target[rng.permutation(t)[: self.n_centers]]
        n_folds = min(self.n_folds, n, t)
        folds = tuple(rng.permutation(size) % n_folds for size in (n, t))
        rule = "median" if self.bandwidth == "cv" else self.bandwidth
        kernel: Any = pooled_kernel(
            "gaussian", rule, np.vstack([source, target]), self.random_state
        )
        multiples = MULTIPLES if self.bandwidth == "cv" else (1.0,)
        ridges = np.array(RIDGES if self.ridge == "cv" else [self.ridge])
        best = np.inf
        # Threads of BLAS gain nothing on c x c matrices, and spin.
        with single_blas_thread:
            for h in kernel.bandwidth * np.array(multiples):
                kernel = Gaussian(h)
                parts = kernel(source, self._centers), kernel(target, self._centers)
                loss = cross_validated_loss(*parts, a, b, folds, self.mixture, ridges)
                if loss.min() < best:
                    best = loss.min()
                    self.bandwidth_, self.ridge_ = (
                        float(h),
                        float(ridges[loss.argmin()]),
                    )
                    H, moment = moments(*parts, a, b, self.mixture)
        H.flat[:: len(H) + 1] += self.ridge_
        self._coefficients = np.linalg.solve(H, moment)
        return self._source_function(source), np.ones(t)

    def _source_function(self, Z: FloatArray) -> FloatArray:
        operator = Gaussian(self.bandwidth_).operator(Z, self._centers)
        return np.maximum(operator.matvec(self._coefficients), 0.0)
