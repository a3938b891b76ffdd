"""Probabilities of scores: the rules that attain the minimax risk of both losses."""

from __future__ import annotations

import numpy as np
from scipy import special

from causalweights._typing import FloatArray


def top_k_potential(scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the potential of the 0-1 loss and the threshold of its rule.

    varphi(s) = 1 + theta with theta = max_k (s_(1) + ... + s_(k) - 1) / k, scores
    sorted decreasingly: the largest of 1 + (sum of S - 1) / |S| over all sets S of
    classes (Segovia-Martin, Mazuelas & Liu 2023, without listing the sets).

    Parameters
    ----------
    scores : ndarray of shape (t, C)

    Returns
    -------
    potential, threshold : ndarray of shape (t,)

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.shift._probabilities import top_k_potential
    >>> potential, threshold = top_k_potential(np.array([[0.3, 0.1], [2.0, 0.0]]))
    >>> potential, threshold
    (array([0.7, 2. ]), array([-0.3,  1. ]))
    """
    falling = -np.sort(-scores, axis=1)
    sums = np.cumsum(falling, axis=1)
    sums -= 1.0
    sums /= np.arange(1, scores.shape[1] + 1)
    threshold = sums.max(axis=1)
    return 1.0 + threshold, threshold


def sparsemax(scores: FloatArray, ties: FloatArray | None = None) -> FloatArray:
    """Return the Euclidean projection of each row on the simplex.

    max(s_y - theta, 0) with the threshold of `top_k_potential`: the rule of the 0-1
    loss. Rows of equal scores become uniform.

    Parameters
    ----------
    scores : ndarray of shape (t, C)
        Finite.
    ties : ndarray of shape (t, C) or None, default=None
        Where several classes share the largest probability, the one with the largest
        entry here is to be the first of them: it gains one unit in the last place.

    Returns
    -------
    ndarray of shape (t, C)
        Rows sum to one within rounding.

    Notes
    -----
    Sorts: O(t C log C). The largest score is subtracted first, so that rows of large
    scores sum to one as exactly as others.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.shift._probabilities import sparsemax
    >>> sparsemax(np.array([[0.3, 0.1], [2.0, 0.0], [7.0, 7.0]]))
    array([[0.6, 0.4],
           [1. , 0. ],
           [0.5, 0.5]])
    """
    centered = scores - scores.max(axis=1, keepdims=True)
    threshold = top_k_potential(centered)[1]
    probabilities = np.maximum(centered - threshold[:, None], 0.0)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    if ties is not None:
        top = probabilities == probabilities.max(axis=1, keepdims=True)
        rows = np.flatnonzero(top.sum(axis=1) > 1)
        best = np.where(top[rows], ties[rows], -np.inf).argmax(axis=1)
        probabilities[rows, best] = np.nextafter(probabilities[rows, best], 2.0)
    return probabilities


def softmax(scores: FloatArray) -> FloatArray:
    """Return the rule of the log loss, (t, C)."""
    return np.asarray(special.softmax(scores, axis=1))
