"""OSQP called directly, to 1e-8."""

from registry import Peer

PEER = Peer("OSQP", "osqp", ("osqp",))


def solve_qp(H, q, upper=None, total=(1.0, 1.0)):
    import numpy as np
    import osqp
    from scipy import sparse

    n = q.size
    A = sparse.vstack([np.ones((1, n)), sparse.eye(n)]).tocsc()
    low = np.r_[total[0], np.zeros(n)]
    high = np.r_[total[1], np.full(n, np.inf if upper is None else upper)]
    solver = osqp.OSQP()
    solver.setup(
        sparse.triu(H).tocsc(), -q, A, low, high,
        eps_abs=1e-8, eps_rel=1e-8, max_iter=100_000, verbose=False,
    )  # fmt: skip
    return solver.solve().x
