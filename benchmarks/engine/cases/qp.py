"""Exact quadratic programs over the simplex and over a box, against QP solvers."""

from __future__ import annotations

from functools import partial

import numpy as np
from objective import dense_problem
from problems import KERNELS, RIDGE, make_kernel, shifted_samples, warm_up
from registry import Case, Contender

# Kernel mean matching with bounds that bind: 0 <= b <= 5, |mean b - 1| <= 0.01.
UPPER, SLACK, BOX_RIDGE = 5.0, 0.01, 1e-3


def simplex_name(kernel: str, n: int) -> str:
    return f"simplex QP, {kernel}, n={n}"


def box_name(n: int) -> str:
    return f"kernel mean matching QP, n={n}"


def solvers() -> dict:
    """Return the QP peers that handle equalities, bounds and ranges."""
    from peers import cvxpy, osqp, piqp

    return {
        piqp.PEER: piqp.solve_qp,
        osqp.PEER: osqp.solve_qp,
        cvxpy.WITH_OSQP: partial(cvxpy.solve_qp, solver="OSQP"),
        cvxpy.WITH_CLARABEL: partial(cvxpy.solve_qp, solver="CLARABEL"),
    }


def matrices(kernel_name: str, n: int):
    X, T = shifted_samples(n, n // 2)
    kernel = make_kernel(kernel_name, X, T)
    return kernel.operator(X).dense(), kernel.operator(X, T).row_mean()


def simplex(bench, kernel_name: str, n: int) -> None:
    from peers import ours, quadprog

    warm_up()
    K, q = matrices(kernel_name, n)
    H = K + RIDGE * np.eye(n)
    peers = {**solvers(), quadprog.PEER: quadprog.solve_qp}
    bench.race(
        [
            Contender(ours.PEER, lambda: ours.solve_qp(K, q, RIDGE)),
            *(Contender(p, partial(solve, H, q)) for p, solve in peers.items()),
        ],
        dense_problem(K, q, RIDGE).judge,
    )


def box(bench, n: int) -> None:
    from peers import ours

    warm_up()
    K, q = matrices("Gaussian", n)
    q *= n
    H = K + BOX_RIDGE * np.eye(n)
    total = (n * (1 - SLACK), n * (1 + SLACK))
    peers = solvers()
    bench.race(
        [
            Contender(ours.PEER, lambda: ours.solve_box(K, q, BOX_RIDGE, UPPER, total)),
            *(
                Contender(p, partial(solve, H, q, UPPER, total))
                for p, solve in peers.items()
            ),
        ],
        dense_problem(K, q, BOX_RIDGE, upper=UPPER, total=total).judge,
    )


def cases(quick: bool):
    for n in (300,) if quick else (500, 1000, 2000):
        for kernel in KERNELS:
            run = partial(simplex, kernel_name=kernel, n=n)
            yield Case("qp", simplex_name(kernel, n), run)
        yield Case("qp", box_name(n), partial(box, n=n))
