"""quadprog: the dual active set method of Goldfarb and Idnani, exact."""

from registry import Peer

PEER = Peer("quadprog", "quadprog", ("quadprog",))


def solve_qp(H, q):
    import numpy as np
    import quadprog

    n = q.size
    constraints = np.column_stack([np.ones(n), np.eye(n)])
    return quadprog.solve_qp(H, q, constraints, np.r_[1.0, np.zeros(n)], 1)[0]
