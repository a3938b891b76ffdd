"""scikit-learn: pairwise kernels."""

from registry import Peer

PEER = Peer("scikit-learn", "scikit-learn", ("sklearn.metrics.pairwise",))


def gaussian(X, bandwidth):
    from sklearn.metrics.pairwise import rbf_kernel

    return rbf_kernel(X, gamma=0.5 / bandwidth**2)


def laplace(X, bandwidth):
    from sklearn.metrics.pairwise import laplacian_kernel

    return laplacian_kernel(X, gamma=1.0 / bandwidth)


def unit_sums(U, V, bandwidth):
    """Sum a Gaussian density over all U at every V, by a k-d tree to 1e-10."""
    import numpy as np
    from sklearn.neighbors import KernelDensity

    density = KernelDensity(bandwidth=bandwidth, rtol=1e-10).fit(U)
    return len(U) * np.exp(density.score_samples(V))
