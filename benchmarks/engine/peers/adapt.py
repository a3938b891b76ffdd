"""adapt: kernel mean matching by cvxopt, all rows in one batch (needs TensorFlow)."""

from registry import Peer

PEER = Peer("adapt", "adapt", ("adapt.instance_based",))


def kernel_mean_matching(X, T, bandwidth, upper, slack):
    from adapt.instance_based import KMM

    matching = KMM(
        kernel="rbf", gamma=0.5 / bandwidth**2, B=upper, eps=slack,
        max_size=len(X), verbose=0,
    )  # fmt: skip
    return matching.fit_weights(X, T)
