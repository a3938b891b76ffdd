"""The minimax rule of the log loss."""

from __future__ import annotations

from causalweights._typing import FloatArray
from causalweights.shift._interior_point import MAX_ITER
from causalweights.shift._moment_bounds import Within
from causalweights.shift._moment_program import MomentProgram
from causalweights.shift._moment_rows import EntropyRows
from causalweights.shift._rule import MinimaxRule, solved_rule

# Size of the products x z of a warm start: smaller ones are too far from the path.
WARM = 1e-3


def log_rule(
    weighted: FloatArray,
    shares: FloatArray,
    tau: FloatArray,
    lam: FloatArray,
    *,
    tol: float = 1e-8,
    start: FloatArray | None = None,
    max_iter: int = MAX_ITER,
) -> MinimaxRule:
    """Return the rule that minimises the largest expected log loss over a set.

    The set holds the distributions of labels of the target rows whose moments are
    within lam of tau. The rule is softmax(weighted @ mu.T), with mu that minimises

        sum_j shares_j logsumexp_y(s_jy) - sum(tau * mu) + sum(lam * |mu|),

    a multinomial regression with an L1 penalty, whose dual is the largest Shannon
    entropy of the set (Segovia-Martin, Mazuelas & Liu 2023).

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
    start : ndarray of shape (C, m) or None, default=None
        Coefficients of a neighbouring program: saves some steps, changes the result
        within tol only.
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
    Interior point method with exact second derivatives: about 10 steps (30 where the
    set has hardly an inside) of O(t C^2 m^2 + (C m)^3), memory O(t (C + m) + (C m)^2).
    One thread: 3 ms for t = 1000, C = 2, m = 3; .2 s for t = 100,000, C = 2, m = 6;
    1 s for t = 1000, C = 2, m = 600; 17 s and .9 GB for m = 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.shift._log_loss import log_rule
    >>> x = np.column_stack([np.ones(3), [-1.0, 0.0, 1.0]])
    >>> tau = np.array([[0.5, -0.2], [0.5, 0.2]])
    >>> rule = log_rule(x, np.full(3, 1 / 3), tau, np.full((2, 2), 0.05))
    >>> round(rule.risk, 6), bool(rule.gap < 1e-8)
    (0.623162, True)
    """
    program = MomentProgram.of(weighted, shares, tau)

    def solved(start: FloatArray | None) -> MinimaxRule:
        rows = EntropyRows(program.shape)
        bounds = Within(program.widths(lam), program.moments(rows.x[0]) - program.tau)
        if start is not None:
            mu = start * program.scale
            rows.start(program.scores(mu), WARM)
            bounds.start(mu, program.moments(rows.x[0]) - program.tau, WARM)
        return solved_rule(
            program, rows, bounds, loss="log", tol=tol, max_iter=max_iter
        )

    rule = solved(start)
    # A start from far away can be worse than none.
    return rule if rule.converged or start is None else solved(None)
