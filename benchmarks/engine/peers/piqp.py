"""PIQP's dense interior point, at its defaults."""

from registry import Peer

PEER = Peer("PIQP", "piqp", ("piqp",))


def solve_qp(H, q, upper=None, total=(1.0, 1.0)):
    import numpy as np
    import piqp

    n = q.size
    row, (low, high) = np.ones((1, n)), total
    if low == high:
        limits = {"A": row, "b": np.array([low])}
    else:
        limits = {"G": row, "h_l": np.array([low]), "h_u": np.array([high])}
    if upper is not None:
        limits["x_u"] = np.full(n, upper)
    solver = piqp.DenseSolver()
    solver.setup(H, -q, x_l=np.zeros(n), **limits)
    solver.solve()
    return solver.result.x
