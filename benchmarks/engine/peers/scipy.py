"""scipy: distances."""

from registry import Peer

PEER = Peer("scipy", "scipy", ("scipy.spatial.distance",))


def distances(X, Y):
    from scipy.spatial.distance import cdist

    return cdist(X, Y)
