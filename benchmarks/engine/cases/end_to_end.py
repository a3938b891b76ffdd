"""From rows to weights: energy balancing and kernel mean matching, and W1 by POT."""

from __future__ import annotations

from functools import partial

import numpy as np
from objective import dense_problem
from problems import RIDGE, make_kernel, shifted_samples, warm_up
from registry import Case, Contender

# Huang et al. (2007)'s program as skada and adapt have it, at their default bounds.
KMM_UPPER = 1000.0


def energy_name(n: int) -> str:
    return f"energy balancing, ATT, {n} controls, {n // 2} treated"


def matching_name(n: int) -> str:
    return f"kernel mean matching, {n} source rows, {n // 2} target rows"


def transport_name(n: int) -> str:
    return f"Wasserstein-1 distance, {n} against {n // 2} rows"


def arms(n: int):
    C, T = shifted_samples(n, n // 2)
    return np.vstack([C, T]), np.repeat([0, 1], [n, n // 2])


def energy_matrices(X: np.ndarray, a: np.ndarray):
    """Return K and q of half the energy distance plus ridge, up to a constant.

    On the simplex the distances may be exchanged for the positive definite kernel
    |x| + |y| - |x - y|, which the solvers need.
    """
    from peers.scipy import distances

    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    C, T = Z[a == 0], Z[a == 1]
    norms = np.linalg.norm(C, axis=1)
    K = norms[:, None] + norms - distances(C, C)
    return K, norms + np.linalg.norm(T, axis=1).mean() - distances(C, T).mean(axis=1)


def by_solver(X: np.ndarray, a: np.ndarray, solve) -> np.ndarray:
    K, q = energy_matrices(X, a)
    K[np.diag_indices_from(K)] += RIDGE
    return solve(K, q)


def fit_energy(X: np.ndarray, a: np.ndarray) -> np.ndarray:
    from causalweights import IPMBalancer

    balancer = IPMBalancer(estimand="att", discriminator="energy", ridge=RIDGE)
    return balancer.fit(X, a).masses_[a == 0]


def energy(bench, n: int) -> None:
    from peers import ours

    from cases.qp import solvers

    warm_up()
    X, a = arms(n)
    fit_energy(X[::10], a[::10])
    bench.race(
        [
            Contender(ours.PEER, lambda: fit_energy(X, a)),
            *(
                Contender(p, partial(by_solver, X, a, solve), f"cdist + {p.name}")
                for p, solve in solvers().items()
            ),
        ],
        dense_problem(*energy_matrices(X, a), RIDGE).judge,
    )


def match_ours(X, T, bandwidth, upper, slack) -> np.ndarray:
    from peers.ours import solve_box

    from causalweights.kernels import Gaussian

    kernel, n = Gaussian(bandwidth), len(X)
    q = n * kernel.operator(X, T).row_mean()
    total = (n * (1 - slack), n * (1 + slack))
    return solve_box(kernel.operator(X).dense(), q, 0.0, upper, total)


def matching(bench, n: int) -> None:
    from peers import adapt, ours, skada, sklearn

    warm_up()
    X, T = shifted_samples(n, n // 2)
    kernel = make_kernel("Gaussian", X, T)
    h, slack = kernel.bandwidth, 1 - 1 / np.sqrt(n)
    K, q = sklearn.gaussian(X, h), n * kernel.operator(X, T).row_mean()
    total = (n * (1 - slack), n * (1 + slack))
    peers = {
        ours.PEER: match_ours,
        skada.PEER: skada.kernel_mean_matching,
        adapt.PEER: adapt.kernel_mean_matching,
    }
    bench.race(
        [
            Contender(p, partial(call, X, T, h, KMM_UPPER, slack))
            for p, call in peers.items()
        ],
        dense_problem(K, q, 0.0, upper=KMM_UPPER, total=total).judge,
    )


def transport(bench, n: int) -> None:
    """Say what exact transport costs, and what energy weights leave of it."""
    from peers import pot

    warm_up()
    X, a = arms(n)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    C, T = Z[a == 0], Z[a == 1]
    weights = fit_energy(X, a)
    bench.race([Contender(pot.PEER, lambda: pot.wasserstein(C, T, weights))])
    if not pot.PEER.available():
        bench.record(pot.PEER, "before", pot.wasserstein(C, T, np.ones(n)))
        bench.record(pot.PEER, "after", pot.wasserstein(C, T, weights))


def cases(quick: bool):
    for n in (400,) if quick else (1000, 2000):
        yield Case("end_to_end", energy_name(n), partial(energy, n=n))
        yield Case("end_to_end", matching_name(n), partial(matching, n=n))
        yield Case("end_to_end", transport_name(n), partial(transport, n=n))
