"""POT: exact optimal transport."""

from registry import Peer

PEER = Peer("POT", "POT", ("ot",))  # codespell:ignore ot


def wasserstein(X, T, weights):
    """Return the Wasserstein-1 distance of the weighted X from T."""
    import numpy as np
    from ot import dist, emd2  # codespell:ignore ot

    cost = dist(X, T, metric="euclidean")
    return emd2(weights / weights.sum(), np.full(len(T), 1 / len(T)), cost)
