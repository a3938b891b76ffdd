"""Gram matrices and products with them, against scikit-learn, scipy and KeOps."""

from __future__ import annotations

from functools import partial

import numpy as np
from problems import make_kernel, shifted_samples, warm_up
from registry import Case, Contender

SINGLE, ONE_THREAD, TWO_THREADS = "ours, float32", "ours, 1 thread", "ours, 2 threads"
KEOPS_SINGLE = "pykeops, float32"


def gram_name(kernel: str, n: int, d: int) -> str:
    return f"{kernel} Gram, n={n}, d={d}"


def product_name(n: int, d: int) -> str:
    return f"Gaussian K @ v, n={n}, d={d}"


def threads_name(n: int) -> str:
    return f"Gaussian Gram on two threads, n={n}, d=10"


def largest_error(*references: np.ndarray):
    """Return a judge: largest difference from the closest reference, over its size."""

    def judge(out: np.ndarray) -> dict[str, float]:
        errors = (np.abs(out - r).max() / np.abs(r).max() for r in references)
        return {"error": float(min(errors))}

    return judge


def gram(bench, kernel_name: str, n: int, d: int) -> None:
    from peers import ours, scipy, sklearn

    warm_up()
    X, _ = shifted_samples(n, 1, d)
    kernel = make_kernel(kernel_name, X)
    h = getattr(kernel, "bandwidth", None)
    peer, call = {
        "Gaussian": (sklearn.PEER, lambda: sklearn.gaussian(X, h)),
        "Laplace": (sklearn.PEER, lambda: sklearn.laplace(X, h)),
        "energy": (scipy.PEER, lambda: scipy.distances(X, X)),
    }[kernel_name]
    contenders = [
        Contender(ours.PEER, lambda: kernel.operator(X).dense()),
        Contender(peer, call),
    ]
    references = [call()]
    if kernel_name == "energy":  # ours is the distance, centred at the origin
        norms = np.linalg.norm(X, axis=1)
        references.append(0.5 * (norms[:, None] + norms - references[0]))
    bench.race(contenders, largest_error(*references))


def product(bench, n: int, d: int) -> None:
    from peers import ours, pykeops, sklearn

    warm_up()
    X, _ = shifted_samples(n, 1, d)
    v = np.random.default_rng(1).normal(size=n)
    X32, v32 = X.astype(np.float32), v.astype(np.float32)
    kernel = make_kernel("Gaussian", X)
    h = kernel.bandwidth
    contenders = [
        Contender(ours.PEER, lambda: kernel.operator(X).matvec(v)),
        Contender(ours.PEER, lambda: kernel.operator(X32).matvec(v32), SINGLE),
        Contender(sklearn.PEER, lambda: sklearn.gaussian(X, h) @ v),
        Contender(pykeops.PEER, lambda: pykeops.gaussian_product(X, v, h)),
        Contender(
            pykeops.PEER, lambda: pykeops.gaussian_product(X32, v32, h), KEOPS_SINGLE
        ),
    ]
    bench.race(contenders, largest_error(sklearn.gaussian(X, h) @ v))


def threads(bench, n: int) -> None:
    from peers import ours

    warm_up()
    X, _ = shifted_samples(n, 1)
    kernel = make_kernel("Gaussian", X)

    def run(count: int):
        return kernel.operator(X, n_threads=count).dense()

    bench.race([
        Contender(ours.PEER, partial(run, 2), TWO_THREADS),
        Contender(ours.PEER, partial(run, 1), ONE_THREAD),
    ])  # fmt: skip


def cases(quick: bool):
    n = 1000 if quick else 5000
    for d in (5,) if quick else (5, 10, 50):
        for kernel in ("Gaussian", "Laplace", "energy"):
            run = partial(gram, kernel_name=kernel, n=n, d=d)
            yield Case("gram", gram_name(kernel, n, d), run)
        yield Case("gram", product_name(n, d), partial(product, n=n, d=d))
    yield Case("gram", threads_name(n), partial(threads, n=n), threads=2)
