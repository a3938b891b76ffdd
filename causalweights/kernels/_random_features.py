"""Random Fourier features: kernels as averages of cosines at drawn frequencies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from causalweights._numba import _profiles as codes
from causalweights._typing import FloatArray, IntArray
from causalweights.kernels._families import Kernel
from causalweights.kernels._operator import as_points

# Degrees of freedom 2 nu of the multivariate t law of a Matern kernel's frequencies.
_DEGREES = {codes.MATERN12: 1, codes.MATERN32: 3, codes.MATERN52: 5}


@dataclass(frozen=True, slots=True, eq=False)
class RandomFourierFeatures:
    """Features whose inner products are an average of cosines.

    ``phi(x)'phi(x') = sum_j a_j^2 cos(w_j'(x - x'))``: exactly a kernel, with
    ``phi(x)'phi(x) = k(x, x)``, so that its discrepancy has no residual to correct.

    Attributes
    ----------
    frequencies : ndarray of shape (m, d)
        The w_j.
    amplitudes : ndarray of shape (m,)
        The a_j.
    """

    frequencies: np.ndarray
    amplitudes: np.ndarray

    def transform(self, X: ArrayLike) -> FloatArray:
        """Return the features of a block of rows: m cosines, then m sines.

        Parameters
        ----------
        X : array-like of shape (n, d)
            float32 rows have float32 features.

        Returns
        -------
        ndarray of shape (n, 2 m)

        Raises
        ------
        ValueError
            Where X has not d columns, or values that are not finite.
        """
        X = as_points(X)
        m, d = self.frequencies.shape
        if X.shape[1] != d:
            raise ValueError(
                f"X has {X.shape[1]} columns, the frequencies {d}: both must hold the "
                "same covariates."
            )
        angles = X @ self.frequencies.T.astype(X.dtype)
        phi = np.empty((len(X), 2 * m), X.dtype)
        np.cos(angles, out=phi[:, :m])
        np.sin(angles, out=phi[:, m:])
        phi *= np.tile(self.amplitudes.astype(X.dtype), 2)
        return phi


def random_fourier_features(
    kernel: Kernel,
    X: ArrayLike | int,
    n_features: int = 1000,
    *,
    orthogonal: bool = False,
    random_state: Any = None,
) -> RandomFourierFeatures:
    """Draw random Fourier features of a shift-invariant kernel.

    For kernels that are Fourier transforms of a probability density of frequencies:
    Gaussian (normal), Laplace (a Cauchy law a coordinate), Matern (multivariate t
    with 2 nu degrees of freedom), their averages over bandwidths, sums, multiples and
    products. The mean of ``phi(x)'phi(x')`` over draws is ``k(x, x')``; its standard
    deviation is at most ``k(x, x) / sqrt(n_features / 2)``. Time and memory
    O(n_features d), to transform n rows O(n n_features d).

    Parameters
    ----------
    kernel : Kernel
    X : array-like of shape (n, d) or int
        Rows to resolve a bandwidth ``"median"`` on, or d alone.
    n_features : int, default=1000
        Number of features, even: a cosine and a sine for each frequency. The terms of
        a sum share them in proportion to their weights, at least one each.
    orthogonal : bool, default=False
        Draw the directions of d frequencies at a time orthogonal to each other, which
        lowers the variance. Refused for Laplace, whose law has no rotations.
    random_state : int, RandomState or None, default=None
        None is seed 0, so that a refit is identical.

    Returns
    -------
    RandomFourierFeatures

    Raises
    ------
    ValueError
        For a kernel that does not depend on ``x - x'`` alone (energy, linear,
        polynomial), or an option that is none of the above.

    References
    ----------
    Rahimi & Recht (2007), Advances in Neural Information Processing Systems 20; Yu,
    Suresh, Choromanski, Holtmann-Rice & Kumar (2016), the same 29 (orthogonal).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.kernels import Gaussian, random_fourier_features
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> features = random_fourier_features(Gaussian(bandwidth=2.0), X, 4000)
    >>> phi = features.transform(X)
    >>> bool(np.max(np.abs(phi @ phi.T - Gaussian(bandwidth=2.0)(X))) < 0.1)
    True
    """
    if isinstance(X, int | np.integer):
        d = int(X)
        if d < 1:
            raise ValueError(f"the number of columns must be at least 1, got {d}.")
    else:
        X = as_points(X)
        kernel, d = kernel.resolve(X), X.shape[1]
    if n_features != int(n_features) or n_features < 2 or n_features % 2:
        raise ValueError(
            f"n_features must be an even integer >= 2, a cosine and a sine for each "
            f"frequency, got {n_features!r}."
        )
    rng = check_random_state(0 if random_state is None else random_state)
    products = [p for p in kernel.spec().products if p[0] > 0]
    for _, terms in products:
        for term in terms:
            _check_term(term, orthogonal)
    counts = _shares(np.array([c for c, _ in products]), int(n_features) // 2)
    frequencies, amplitudes = [np.zeros((0, d))], [np.zeros(0)]
    for (coef, terms), m in zip(products, counts):
        # A product of kernels transforms a sum of independent frequencies.
        drawn = [_draw(term, int(m), d, orthogonal, rng) for term in terms]
        frequencies.append(np.sum(drawn, axis=0))
        amplitudes.append(np.full(m, np.sqrt(coef / m)))
    return RandomFourierFeatures(np.vstack(frequencies), np.concatenate(amplitudes))


def _check_term(term: tuple, orthogonal: bool) -> None:
    """Refuse a factor of a kernel that is no transform of a density."""
    code = term[0]
    if code == codes.LAPLACE and orthogonal:
        raise ValueError(
            "orthogonal=True needs a law that rotations leave alone: Laplace's "
            "frequencies are Cauchy a coordinate. Use orthogonal=False."
        )
    if code in (codes.GAUSSIAN, codes.LAPLACE, *_DEGREES):
        return
    names = {codes.ENERGY: "Energy", codes.LINEAR: "Linear"}
    raise ValueError(
        f"{names.get(code, 'Polynomial')} does not depend on x - x' alone: no law of "
        "frequencies has it for a transform. Use pivoted_cholesky or nystrom."
    )


def _shares(weights: FloatArray, total: int) -> IntArray:
    """Split ``total`` in proportion to the weights: whole numbers, one at least."""
    if len(weights) > total:
        raise ValueError(
            f"the kernel is a sum of {len(weights)} terms, of which each needs a "
            f"frequency: let n_features be at least {2 * len(weights)}."
        )
    if not len(weights):
        return np.zeros(0, dtype=np.intp)
    exact = weights / weights.sum() * (total - len(weights))
    counts = np.floor(exact).astype(np.intp)
    rest = total - len(weights) - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:rest]] += 1
    return counts + 1


def _draw(
    term: tuple, m: int, d: int, orthogonal: bool, rng: np.random.RandomState
) -> FloatArray:
    """Return m frequencies of one term, (m, d)."""
    code, scale = term[0], float(term[1])
    if code == codes.LAPLACE:  # exp(-scale |t|) transforms a Cauchy law of that scale
        return scale * rng.standard_cauchy((m, d))
    normal: Callable[..., FloatArray] = _orthogonal if orthogonal else _normal
    z = normal(m, d, rng)
    if code == codes.GAUSSIAN:  # exp(-scale |t|^2)
        return np.sqrt(2.0 * scale) * z
    # In u = scale |t|: scikit-learn's length is sqrt(2 nu) / scale, which takes the
    # mean out of the chi-squared.
    return scale * z / np.sqrt(rng.chisquare(_DEGREES[code], (m, 1)))


def _normal(m: int, d: int, rng: np.random.RandomState) -> FloatArray:
    return rng.standard_normal((m, d))


def _orthogonal(m: int, d: int, rng: np.random.RandomState) -> FloatArray:
    """Return standard normal rows; each d of them are orthogonal to each other."""
    rows = []
    for start in range(0, m, d):
        Q, R = np.linalg.qr(rng.standard_normal((d, d)))
        Q *= np.sign(np.diagonal(R))  # uniform over rotations
        rows.append(Q.T[: m - start])
    lengths = np.sqrt(rng.chisquare(d, (m, 1)))
    return lengths * np.vstack(rows)
