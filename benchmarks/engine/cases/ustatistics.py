"""Kernel sums on the unit cube and the estimator made of them, beside all pairs."""

from __future__ import annotations

from functools import partial

import numpy as np
from registry import Case, Contender

HUGE = 200_000


def sums_name(n: int, d: int) -> str:
    return f"Gaussian sums at n={n} of {n} points, d={d}"


def effect_name(n: int) -> str:
    return f"UniformTransformerEffect, ATE, {n} rows an arm, d=2"


def sums(bench, n: int, d: int) -> None:
    """Sum a kernel of the default bandwidth over all sources, at every target."""
    from peers import ours, pykeops, scipy, sklearn

    rng = np.random.default_rng(0)
    U, V = rng.uniform(size=(2, n, d))
    h = (2 * n) ** (-1 / d)
    ours.unit_sums(U[:100], V[:100], h)
    contenders = [Contender(ours.PEER, partial(ours.unit_sums, U, V, h))]
    contenders.append(Contender(sklearn.PEER, partial(sklearn.unit_sums, U, V, h)))
    if n <= 20_000:  # all pairs: minutes beyond
        for peer in (scipy, pykeops):
            contenders.append(Contender(peer.PEER, partial(peer.unit_sums, U, V, h)))
    some = np.arange(0, n, max(1, n // 500))
    exact = scipy.unit_sums(U, V[some], h)

    def judge(output: np.ndarray) -> dict[str, float]:
        return {"error": float(np.max(np.abs(output[some] / exact - 1)))}

    bench.race(contenders, judge)


def effect(bench, n: int) -> None:
    """Fit the estimator with its defaults."""
    from peers import ours

    from causalweights import UniformTransformerEffect

    def fit(rows: int) -> float:
        rng = np.random.default_rng(1)
        X, a = rng.normal(size=(2 * rows, 2)), np.repeat([0, 1], rows)
        X[a == 1, 0] += 0.3
        y = X[:, 0] + np.sin(2 * X[:, 1]) + a + rng.normal(size=2 * rows)
        return UniformTransformerEffect().fit(X, y, treatment=a).effect_

    fit(2000)  # compiles
    bench.race([Contender(ours.PEER, partial(fit, n))])


def cases(quick: bool):
    if quick:
        yield Case("ustatistics", sums_name(2000, 2), partial(sums, n=2000, d=2))
        yield Case("ustatistics", effect_name(2000), partial(effect, n=2000))
        return
    for n, d in ((20_000, 1), (20_000, 2), (20_000, 3), (HUGE, 2)):
        yield Case("ustatistics", sums_name(n, d), partial(sums, n=n, d=d))
    for n in (HUGE // 2, HUGE):
        run = partial(effect, n=n)
        yield Case("ustatistics", effect_name(n), run)
        yield Case("memory", effect_name(n), run, alone=0)
