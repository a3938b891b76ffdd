"""How uniform rows of the unit cube are: each coordinate, and their dependence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kstwo, norm

from causalweights._typing import FloatArray
from causalweights._validation import check_sample_weight
from causalweights.diagnostics._samples import numeric_covariates
from causalweights.diagnostics._weights import kish

if TYPE_CHECKING:
    import pandas as pd


class RankDependence(NamedTuple):
    """The strongest rank correlation among the pairs of coordinates.

    Attributes
    ----------
    correlation : float
        Its absolute value; 0 with one coordinate.
    pvalue : float
        Of independence of all pairs, by Bonferroni; 1 with one coordinate.
    pair : (int, int) or None
        Positions of the two coordinates.
    """

    correlation: float
    pvalue: float
    pair: tuple[int, int] | None


def rank_dependence(
    U: ArrayLike, sample_weight: ArrayLike | None = None
) -> RankDependence:
    """Test whether coordinates depend on each other, by their rank correlations.

    Parameters
    ----------
    U : array-like of shape (n, d)
        Any columns; only their ranks matter.
    sample_weight : array-like of shape (n,) or None, default=None
        Non-negative weights.

    Returns
    -------
    RankDependence
        A tuple: the largest absolute correlation, its p-value, its pair.

    Notes
    -----
    Spearman's correlation r, with mid-ranks for ties; sqrt(n - 1) r is taken as
    standard normal, n being Kish's effective size under weights, and p-values are
    multiplied by the d(d - 1)/2 pairs. It sees monotone dependence only. Time
    O(d n log n + d^2 n).

    The test also holds for the rows that a ``"rank"`` or ``"marginal"`` map was fitted
    on, since those maps keep the order of each coordinate. A ``"joint"`` map takes the
    dependence of its own rows away: for these the p-value is too large.

    Examples
    --------
    >>> from causalweights.diagnostics import rank_dependence
    >>> found = rank_dependence([[0.1, 0.2], [0.4, 0.3], [0.5, 0.9], [0.8, 0.7]])
    >>> found.correlation, found.pair
    (0.8, (0, 1))
    """
    matrix = numeric_covariates(U)[0]
    weight = check_sample_weight(sample_weight, len(matrix))
    return strongest_pair(*rank_correlations(matrix, weight))


def uniformity_table(
    U: ArrayLike,
    names: Sequence[str] | None = None,
    *,
    sample_weight: ArrayLike | None = None,
) -> pd.DataFrame:
    """Describe how far rows of the unit cube are from uniform.

    Parameters
    ----------
    U : array-like of shape (n, d)
        Images of rows, as `causalweights.UniformTransformer` gives them.
    names : sequence of str of length d or None, default=None
        Names of the coordinates; None takes the columns of a frame, else numbers them.
    sample_weight : array-like of shape (n,) or None, default=None
        Non-negative weights.

    Returns
    -------
    DataFrame
        One row a coordinate.

        - ``ks``: Kolmogorov-Smirnov distance to the uniform law.
        - ``ks_pvalue``: its p-value for n independent rows.
        - ``strongest``: the coordinate with the largest absolute rank correlation.
        - ``correlation``: that correlation, with its sign.
        - ``correlation_pvalue``: its p-value, times the number of pairs; see
          `rank_dependence`.

        ``attrs`` holds those of the strongest pair: ``"correlation"`` (absolute),
        ``"pvalue"`` and ``"pair"``, two names.

    Raises
    ------
    ValueError
        For values outside [0, 1], NaN, or names that do not fit.

    Notes
    -----
    The p-values are for rows that are independent of the map. On the rows that it was
    fitted on, a ``"rank"`` or ``"marginal"`` map without ties has a distance of at most
    1/n by construction, and ``ks_pvalue`` says nothing; ask the table about other rows
    of the same population, or about dependence. With weights n is Kish's effective
    size, rounded, and the p-values are approximate. Time O(d n log n + d^2 n).

    Examples
    --------
    >>> from causalweights.diagnostics import uniformity_table
    >>> U = [[0.1, 0.2], [0.4, 0.3], [0.5, 0.9], [0.8, 0.7]]
    >>> table = uniformity_table(U, ["age", "income"])
    >>> table[["ks", "strongest", "correlation"]]
             ks strongest  correlation
    age    0.25    income          0.8
    income 0.20       age          0.8
    >>> table.attrs["pair"]
    ('age', 'income')
    """
    import pandas as pd

    matrix, own = numeric_covariates(U)
    (n, d), labels = matrix.shape, own if names is None else list(map(str, names))
    if len(labels) != d:
        raise ValueError(f"names has {len(labels)} entries, U has {d} columns.")
    if np.any((matrix < 0) | (matrix > 1)):
        raise ValueError(
            "U holds values outside [0, 1]: pass the images of UniformTransformer, not "
            "the covariates."
        )
    weight = check_sample_weight(sample_weight, n)
    distances = np.array([uniform_distance(u, weight) for u in matrix.T])
    correlations, size = rank_correlations(matrix, weight)
    table = pd.DataFrame(
        {
            "ks": distances,
            "ks_pvalue": kstwo.sf(distances, max(1, round(size))),
            "strongest": None,
            "correlation": np.nan,
            "correlation_pvalue": np.nan,
        },
        index=pd.Index(labels),
    )
    if d > 1:
        partner = np.argmax(np.abs(correlations), axis=1)
        strongest = correlations[np.arange(d), partner]
        table["strongest"] = [labels[k] for k in partner]
        table["correlation"] = strongest
        table["correlation_pvalue"] = _pvalues(strongest, size, d)
    found = strongest_pair(correlations, size)
    pair = None if found.pair is None else tuple(labels[k] for k in found.pair)
    table.attrs = {
        "correlation": found.correlation, "pvalue": found.pvalue, "pair": pair
    }  # fmt: skip
    return table


def uniform_distance(u: FloatArray, weight: FloatArray) -> float:
    """Return the largest distance of a weighted distribution function to u itself."""
    values, position = np.unique(u, return_inverse=True)
    share = np.concatenate([[0.0], np.cumsum(np.bincount(position, weights=weight))])
    share /= share[-1]
    return float(max(np.max(share[1:] - values), np.max(values - share[:-1])))


def rank_correlations(
    matrix: FloatArray, weight: FloatArray
) -> tuple[FloatArray, float]:
    """Return rank correlations (d, d), with a zero diagonal, and the effective size."""
    weight = weight / weight.sum()
    ranks = np.empty(matrix.shape)
    for j, column in enumerate(matrix.T):
        _, position = np.unique(column, return_inverse=True)
        mass = np.bincount(position, weights=weight)
        ranks[:, j] = (np.cumsum(mass) - mass / 2)[position]
    ranks -= weight @ ranks
    spread = np.sqrt(weight @ ranks**2)
    # The ranks of a constant column are zero up to rounding: it depends on nothing.
    ranks /= np.where(spread > 1e-12, spread, np.inf)
    correlations = np.clip(ranks.T @ (weight[:, None] * ranks), -1.0, 1.0)
    np.fill_diagonal(correlations, 0.0)
    return correlations, kish(weight)


def _pvalues(correlation: FloatArray | float, size: float, d: int) -> FloatArray:
    """Return the two-sided p-values, times the pairs of d coordinates, at most 1."""
    z = np.abs(correlation) * np.sqrt(max(size - 1.0, 0.0))
    return np.minimum(d * (d - 1) * norm.sf(z), 1.0)


def strongest_pair(correlations: FloatArray, size: float) -> RankDependence:
    d = len(correlations)
    if d == 1:
        return RankDependence(0.0, 1.0, None)
    absolute = np.abs(correlations)
    absolute[np.tril_indices(d)] = -1.0
    i, j = divmod(int(np.argmax(absolute)), d)
    largest = float(absolute[i, j])
    return RankDependence(largest, float(_pvalues(largest, size, d)), (i, j))
