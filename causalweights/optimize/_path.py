"""Sequences of quadratic programs, each started from the solution before it.

Neighbors on a grid share most of their support, so the active set method needs one to
five linear solves where a cold start needs five to twenty.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from causalweights.optimize._low_rank_qp import LowRankOperator
from causalweights.optimize._problem import SymmetricOperator
from causalweights.optimize._routes import DENSE_ROWS
from causalweights.optimize._simplex_qp import (
    SimplexQPResult,
    simplex_qp,
)
from causalweights.optimize._working_set import whole_matrix


def simplex_qp_path(
    K: ArrayLike | SymmetricOperator,
    q: ArrayLike,
    ridges: ArrayLike,
    **options: Any,
) -> list[SimplexQPResult]:
    """Solve `simplex_qp` for several ridges, largest first, each from the one before.

    Along increasing ridges the sum of squared weights falls, so the effective sample
    size rises, and the objective without its ridge rises.

    Parameters
    ----------
    K : array-like of shape (n, n) or operator
        As in `simplex_qp`; formed once.
    q : array-like of shape (n,)
        Linear term.
    ridges : array-like of shape (m,) or (m, n)
        Non-negative ridges in any order: numbers, or one for each row.
    **options
        Other keywords of `simplex_qp`. A `start` serves the largest ridge.

    Returns
    -------
    list of SimplexQPResult
        In the order of `ridges`.

    Raises
    ------
    ValueError
        As `simplex_qp`, and for ridges of another shape.

    Notes
    -----
    Memory is that of one problem. Every result is certified on its own: it is the same
    as a cold solution, up to rounding.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.optimize import simplex_qp_path
    >>> x = np.array([0.0, 1.0, 3.0])
    >>> K = -np.abs(x[:, None] - x)
    >>> path = simplex_qp_path(K, -np.abs(x - 0.5), [0.01, 100.0])
    >>> [float((1.0 / (r.weights**2).sum()).round(2)) for r in path]
    [2.0, 3.0]
    """
    if "ridge" in options:
        raise ValueError("ridge is not an option of a path; put it into ridges.")
    grid = np.asarray(ridges, dtype=np.float64)
    n = np.asarray(q).shape[0]
    if grid.ndim not in (1, 2) or (grid.ndim == 2 and grid.shape[1] != n):
        raise ValueError(f"ridges must have shape (m,) or (m, {n}), got {grid.shape}.")
    if np.isnan(grid).any():
        raise ValueError("ridges contains NaN.")
    matrix = _formed(K, options.get("solver", "auto"))
    size = grid if grid.ndim == 1 else grid.mean(axis=1)
    results: dict[int, SimplexQPResult] = {}
    options = dict(options)
    for i in np.argsort(-size, kind="stable"):
        result = simplex_qp(matrix, q, grid[i], **options)
        options["start"] = result.weights
        results[int(i)] = result
    return [results[i] for i in range(len(grid))]


def simplex_qp_sequence(
    problems: Iterable[tuple[ArrayLike | SymmetricOperator, ArrayLike]],
    ridge: ArrayLike = 0.0,
    **options: Any,
) -> list[SimplexQPResult]:
    """Solve `simplex_qp` for several (K, q) on the same rows, each from the one before.

    Parameters
    ----------
    problems : iterable of (K, q)
        For instance one pair for each bandwidth, in order: neighbors should be alike. A
        generator lets each matrix go before the next one is formed.
    ridge : float or array-like of shape (n,), default=0.0
        Ridge of all problems.
    **options
        Other keywords of `simplex_qp`. A `start` serves the first problem.

    Returns
    -------
    list of SimplexQPResult
        In the order of `problems`.

    Raises
    ------
    ValueError
        As `simplex_qp`, and when the number of rows changes.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.optimize import simplex_qp_sequence
    >>> x = np.array([0.0, 1.0, 3.0])
    >>> gaps, target = (x[:, None] - x) ** 2, (x - 0.5) ** 2
    >>> pairs = ((np.exp(-gaps / h), np.exp(-target / h)) for h in (1.0, 2.0, 4.0))
    >>> [result.weights[:2].round(3).tolist() for result in simplex_qp_sequence(pairs)]
    [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]
    """
    results: list[SimplexQPResult] = []
    options = dict(options)
    for K, q in problems:
        n = np.asarray(q).shape[0]
        if results and n != results[0].weights.size:
            raise ValueError(
                f"all problems must have the same rows: problem {len(results)} has "
                f"{n}, the first has {results[0].weights.size}."
            )
        result = simplex_qp(K, q, ridge, **options)
        options["start"] = result.weights
        results.append(result)
    return results


def _formed(K: Any, solver: str) -> Any:
    """Form an operator's matrix once where every solution would form it."""
    if not hasattr(K, "matvec") or not hasattr(K, "block"):
        return np.ascontiguousarray(K, dtype=np.float64)
    dense = solver in ("active_set", "interior_point")
    dense = dense or (solver == "auto" and K.shape[0] <= DENSE_ROWS)
    if isinstance(K, LowRankOperator) or not dense:
        return K
    return whole_matrix(K)
