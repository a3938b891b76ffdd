"""This package."""

import numpy as np
from registry import Peer

PEER = Peer("causalweights", "causalweights", ("causalweights",))


def solve_qp(K, q, ridge):
    from causalweights.optimize import simplex_qp

    return simplex_qp(K, q, ridge).weights


def solve_box(K, q, ridge, upper, total):
    from causalweights.optimize import box_qp

    return box_qp(
        K, q, ridge, upper=upper, coupling=np.ones(q.size), coupling_bounds=total
    ).weights


def unit_sums(U, V, bandwidth):
    from causalweights.ustatistics._local_kernels import LOCAL_KERNELS
    from causalweights.ustatistics._pair_sums import PairSums

    sums = PairSums(LOCAL_KERNELS["gaussian"], bandwidth, U, V)
    return sums.to_targets(np.ones(len(U)))
