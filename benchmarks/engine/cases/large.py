"""Fits of many rows: time, memory of the whole process, true gap and discrepancy."""

from __future__ import annotations

from functools import partial

import numpy as np
from objective import operator_problem
from problems import RIDGE, make_kernel, shifted_samples, warm_up
from registry import Case, Contender

NSW_REPEATS, WARM_ROWS = 3, 4500


def exact_name(n: int) -> str:
    return f"Gaussian, n={n}, exact, one thread"


def large_name(kernel: str, n: int, m: int) -> str:
    return f"{kernel}, n={n}, {m} target rows"


def nsw_name(kernel: str) -> str:
    return f"NSW against CPS-1, {kernel}"


def fit(bench, kernel_name: str, n: int, m: int, tol: float, profile=False) -> None:
    """Solve from rows to weights; judge by the operator's exact products."""
    from peers import ours
    from probes import Probes
    from roofline import peaks

    from causalweights.optimize import simplex_qp

    warm_up()
    X, T = shifted_samples(n, m)
    kernel = make_kernel(kernel_name, X, T)
    if n > WARM_ROWS:  # compiles what the routes of many rows use
        some = X[:WARM_ROWS]
        q = kernel.operator(some, T[:500]).row_mean()
        simplex_qp(kernel.operator(some), q, RIDGE, tol=tol)
    probes = Probes(X.shape[1])
    results = []

    def call() -> np.ndarray:
        q = kernel.operator(X, T).row_mean()
        result = simplex_qp(kernel.operator(X), q, RIDGE, tol=tol)
        results.append(result)
        return result.weights

    if profile:
        with probes:
            bench.race([Contender(ours.PEER, call)], repeats=0)
    else:
        bench.race([Contender(ours.PEER, call)], repeats=2)
    if not results:
        return
    result = results[-1]
    bench.record(ours.PEER, "route", result.n_iter, note=result.solver)
    bench.record(ours.PEER, "reported_gap", result.relative_gap)
    for phase, row in probes.phases.items():
        for key, value in row.items():
            bench.record(ours.PEER, key, value, note=phase, label="profile")
    constant = float(kernel.operator(T).row_mean().mean())
    q = kernel.operator(X, T).row_mean()
    operator = kernel.operator(X)
    problem = operator_problem(
        operator, lambda some: kernel.operator(X[some], X), q, RIDGE, constant
    )
    for metric, value in problem.judge(result.weights).items():
        bench.record(ours.PEER, metric, value)
    before = 2 * problem.uniform_value - RIDGE / n + constant
    bench.record(ours.PEER, "discrepancy_before", before)
    if profile:
        for name, value in peaks(bench.threads).items():
            bench.record(ours.PEER, name, value, label="roofline")


def nsw(bench, kernel_name: str) -> None:
    """Fit the balancer on the real data set; the judge takes its kernel and ridge."""
    from peers import ours

    from causalweights import IPMBalancer
    from causalweights.datasets import load_nsw_cps

    warm_up()
    data = load_nsw_cps()
    X, a = data.X.to_numpy(dtype=float), data.treatment.to_numpy()
    balancer = IPMBalancer(
        estimand="att", discriminator=kernel_name.lower(), ridge=RIDGE
    )
    some = np.r_[:100, -300:0]
    balancer.fit(X[some], a[some])

    def call() -> np.ndarray:
        return balancer.fit(X, a).masses_[a == 0]

    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    C, T = Z[a == 0], Z[a == 1]
    kernel = balancer.fit(X, a).kernel_
    q = kernel.operator(C, T).row_mean()
    constant = float(kernel.operator(T).row_mean().mean())
    problem = operator_problem(
        kernel.operator(C), lambda some: kernel.operator(C[some], C), q, RIDGE, constant
    )
    bench.race([Contender(ours.PEER, call)], problem.judge, repeats=NSW_REPEATS)
    before = 2 * problem.uniform_value - RIDGE / len(C) + constant
    bench.record(ours.PEER, "discrepancy_before", before)


def cases(quick: bool):
    def large(kernel, n, m, tol, limit=1800, **more):
        run = partial(fit, kernel_name=kernel, n=n, m=m, tol=tol, **more)
        return Case("large", large_name(kernel, n, m), run, threads=2, limit=limit)

    if quick:
        yield large("energy", 2000, 1000, 1e-5, profile=True)
        return
    exact = partial(fit, kernel_name="Gaussian", n=10_000, m=5_000, tol=1e-10)
    yield Case("large", exact_name(10_000), exact)
    yield large("energy", 20_000, 10_000, 1e-5, profile=True)
    for kernel in ("energy", "Gaussian"):
        run = partial(nsw, kernel_name=kernel)
        yield Case("large", nsw_name(kernel), run, threads=2)
    yield large("Gaussian", 100_000, 50_000, 1e-3)
    yield large("energy", 100_000, 50_000, 1e-2)
    yield large("Gaussian", 1_000_000, 20_000, 1e-3, limit=7200)
