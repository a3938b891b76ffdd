"""skada: kernel mean matching by Frank-Wolfe, its default solver."""

from registry import Peer

PEER = Peer("skada", "skada", ("skada",))


def kernel_mean_matching(X, T, bandwidth, upper, slack):
    import numpy as np
    from skada import KMMReweightAdapter

    domain = np.r_[np.ones(len(X), int), -np.ones(len(T), int)]
    adapter = KMMReweightAdapter(gamma=0.5 / bandwidth**2, B=upper, eps=slack)
    adapter.fit(np.vstack([X, T]), sample_domain=domain)
    return adapter.source_weights_
