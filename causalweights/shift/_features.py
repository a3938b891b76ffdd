"""Features of a minimax classifier: powers, random Fourier features, a user's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_array, has_fit_parameter

from causalweights._typing import FloatArray
from causalweights.kernels import Kernel, random_fourier_features

DEGREES = {"linear": 1, "poly2": 2, "poly3": 3}


def powers(X: FloatArray, degree: int) -> FloatArray:
    """Return X, its squares, ..., column after column of each power."""
    return np.hstack([X**k for k in range(1, degree + 1)])


def fit_features(
    features: Any,
    X: FloatArray,
    weight: FloatArray,
    kernel: Kernel,
    n_components: int,
    random_state: Any,
) -> Any:
    """Return the fitted transformer that the option ``features`` stands for.

    Parameters
    ----------
    features : {"linear", "poly2", "poly3", "rff"} or transformer
        Powers of each column, without products of columns; random Fourier features of
        the kernel; or a transformer, of which a clone is fitted, without labels.
    X : ndarray of shape (N, d)
        Rows of both samples.
    weight : ndarray of shape (N,)
        Their weights, for a transformer that takes ``sample_weight``.
    kernel : Kernel
    n_components : int
        Number of frequencies, each with a cosine and a sine.
    random_state : int, RandomState or None
        Draws the frequencies; None is seed 0.

    Returns
    -------
    object with ``transform(X)``

    Raises
    ------
    ValueError
        For a kernel that has no frequencies.
    """
    if features == "rff":
        return random_fourier_features(
            kernel, X.shape[1], 2 * n_components, random_state=random_state
        )
    if isinstance(features, str):
        options = {"degree": DEGREES[features]}
        return FunctionTransformer(powers, kw_args=options).fit(X)
    transformer = clone(features)
    if has_fit_parameter(transformer, "sample_weight"):
        return transformer.fit(X, sample_weight=weight)
    return transformer.fit(X)


def feature_rows(transformer: Any, X: FloatArray, fit_intercept: bool) -> FloatArray:
    """Return the features of rows, (rows, m) in float64; a first column of ones.

    Raises
    ------
    ValueError
        Where a transformer returns NaN, infinity, or another number of rows.
    """
    phi = transformer.transform(X)
    if sparse.issparse(phi):
        phi = phi.toarray()
    phi = check_array(phi, dtype=np.float64, input_name="the output of features")
    if len(phi) != len(X):
        raise ValueError(
            f"features returned {len(phi)} rows for {len(X)}: a transformer must keep "
            "every row."
        )
    return np.hstack([np.ones((len(phi), 1)), phi]) if fit_intercept else phi
