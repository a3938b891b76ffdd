"""scipy: distances."""

import numpy as np
from registry import Peer

PEER = Peer("scipy", "scipy", ("scipy.spatial.distance",))


def distances(X, Y):
    from scipy.spatial.distance import cdist

    return cdist(X, Y)


def unit_sums(U, V, bandwidth, block=500):
    """Sum a Gaussian density over all U at every V, a block of V at a time."""
    from scipy.spatial.distance import cdist

    scale = (2 * np.pi * bandwidth**2) ** (U.shape[1] / 2)
    parts = [
        np.exp(cdist(V[s : s + block], U, "sqeuclidean") / (-2 * bandwidth**2)).sum(1)
        for s in range(0, len(V), block)
    ]
    return np.concatenate(parts) / scale
