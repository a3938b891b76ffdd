"""What a call adds to the memory of its process: the other topics' races, one by one.

Every contender has a process of its own, so that none works in another's memory.
"""

from __future__ import annotations

from functools import partial

from registry import Case

from cases import gram, qp


def cases(quick: bool):
    if quick:
        jobs = [(gram.product_name(1000, 10), partial(gram.product, n=1000, d=10), 3)]
    else:
        matrix = partial(gram.gram, kernel_name="Gaussian", n=5000, d=10)
        product = partial(gram.product, n=5000, d=10)
        simplex = partial(qp.simplex, kernel_name="Gaussian", n=2000)
        jobs = [
            (gram.gram_name("Gaussian", 5000, 10), matrix, 2),
            (gram.product_name(5000, 10), product, 5),
            (qp.simplex_name("Gaussian", 2000), simplex, 6),
        ]
    for name, run, count in jobs:
        for position in range(count):
            yield Case("memory", name, run, alone=position)
