"""The minimax rule of the 0-1 loss."""

from __future__ import annotations

from causalweights._typing import FloatArray
from causalweights.shift._interior_point import MAX_ITER
from causalweights.shift._moment_bounds import Within
from causalweights.shift._moment_program import MomentProgram
from causalweights.shift._moment_rows import SpreadRows
from causalweights.shift._rule import MinimaxRule, solved_rule


def zero_one_rule(
    weighted: FloatArray,
    shares: FloatArray,
    tau: FloatArray,
    lam: FloatArray,
    *,
    tol: float = 1e-8,
    max_iter: int = MAX_ITER,
) -> MinimaxRule:
    """Return the randomised rule that minimises the largest expected error over a set.

    The set holds the distributions of labels of the target rows whose moments are
    within lam of tau. The rule is sparsemax(weighted @ mu.T), with mu that minimises

        sum_j shares_j varphi(s_j) - sum(tau * mu) + sum(lam * |mu|),

    varphi as in `top_k_potential` (Segovia-Martin, Mazuelas & Liu 2023). Its dual is
    the maximum of 1 - sum_j shares_j max_y q_jy, a linear program of a size linear in
    the classes, where the paper has a constraint for each set of them.

    Parameters
    ----------
    weighted : ndarray of shape (t, m)
        Features of the target rows times their weights alpha.
    shares : ndarray of shape (t,)
        Shares of the rows in the target: positive, sum one.
    tau, lam : ndarray of shape (C, m)
        Moments of the source, one row a class, and how far from them moments may be.
        Tolerances below 1e-8 of a feature's mean size become that wide.
    tol : float, default=1e-8
        Gap that counts as converged; a tenth of it is aimed at.
    max_iter : int, default=100

    Returns
    -------
    MinimaxRule

    Raises
    ------
    ValueError
        Where the set is empty.

    Notes
    -----
    Interior point method: 10 to 30 steps for two classes, up to 70 for many, of O(t C^3
    + t C^2 m^2 + (C m)^3), memory O(t (C + m) + (C m)^2). One thread: 7 ms for
    t = 1000, C = 2, m = 3; .7 s for t = 100,000, C = 2, m = 6; 1.4 s for t = 10,000,
    C = 10, m = 6; 1.5 s for t = 1000, C = 2, m = 600. Where several mu are optimal, it
    returns one amid them.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.shift._zero_one import zero_one_rule
    >>> x = np.column_stack([np.ones(3), [-1.0, 0.0, 1.0]])
    >>> tau = np.array([[0.5, -0.2], [0.5, 0.2]])
    >>> rule = zero_one_rule(x, np.full(3, 1 / 3), tau, np.full((2, 2), 0.05))
    >>> round(rule.risk, 6), bool(rule.gap < 1e-8)
    (0.35, True)
    """
    program = MomentProgram.of(weighted, shares, tau)
    rows = SpreadRows(program.shape)
    bounds = Within(program.widths(lam), program.moments(rows.x[0]) - program.tau)
    return solved_rule(program, rows, bounds, loss="0-1", tol=tol, max_iter=max_iter)
