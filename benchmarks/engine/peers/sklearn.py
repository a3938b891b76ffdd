"""scikit-learn: pairwise kernels."""

from registry import Peer

PEER = Peer("scikit-learn", "scikit-learn", ("sklearn.metrics.pairwise",))


def gaussian(X, bandwidth):
    from sklearn.metrics.pairwise import rbf_kernel

    return rbf_kernel(X, gamma=0.5 / bandwidth**2)


def laplace(X, bandwidth):
    from sklearn.metrics.pairwise import laplacian_kernel

    return laplacian_kernel(X, gamma=1.0 / bandwidth)
