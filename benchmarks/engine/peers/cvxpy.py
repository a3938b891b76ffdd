"""cvxpy with OSQP or Clarabel, at the solvers' defaults in cvxpy."""

from registry import Peer

WITH_OSQP = Peer("cvxpy + OSQP", "cvxpy osqp", ("cvxpy", "osqp"))
WITH_CLARABEL = Peer("cvxpy + Clarabel", "cvxpy clarabel", ("cvxpy", "clarabel"))


def solve_qp(H, q, upper=None, total=(1.0, 1.0), *, solver):
    import cvxpy as cp

    w = cp.Variable(q.size, nonneg=True)
    low, high = total
    constraints = [cp.sum(w) == low] if low == high else [
        cp.sum(w) >= low, cp.sum(w) <= high
    ]  # fmt: skip
    if upper is not None:
        constraints.append(w <= upper)
    objective = 0.5 * cp.quad_form(w, cp.psd_wrap(H)) - q @ w
    cp.Problem(cp.Minimize(objective), constraints).solve(solver=solver)
    if w.value is None:
        raise RuntimeError("no solution")
    return w.value
