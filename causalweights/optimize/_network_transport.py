"""Transport between two given samples, exactly: the network simplex method's wrapper.

Masses become whole numbers of sum 2^52, so that flows carry no rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from causalweights._numba._network_simplex import transport
from causalweights.optimize._certificate import FloatArray, IntArray

WHOLE = 2**52
# Reduced costs below this share of the largest distance are rounding.
ROUNDING = 1e-13
# Far beyond the 10-40 changes of the tree a row that samples take.
PIVOTS_PER_ROW = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class NetworkPlan:
    """An optimal tree of arcs and its prices.

    Attributes
    ----------
    source, sink : (arcs,) rows of X and Y
    mass, distance : (arcs,) share carried, possibly zero, and length
    prices : (n,) potentials of the sources; zero is where none was needed
    """

    source: IntArray
    sink: IntArray
    mass: FloatArray
    distance: FloatArray
    prices: FloatArray


def network_transport(
    X: FloatArray, Y: FloatArray, supply: FloatArray, demand: FloatArray
) -> NetworkPlan:
    """Carry masses from distinct rows of X to rows of Y over the least distance.

    Both are taken as shares of their sums; shares below 2^-53 count as zero.
    """
    x_units, y_units = whole_masses(supply), whole_masses(demand)
    x_rows, y_rows = np.flatnonzero(x_units), np.flatnonzero(y_units)
    A, B = np.ascontiguousarray(X[x_rows]), np.ascontiguousarray(Y[y_rows])
    # The diagonal of the box around all points bounds every distance.
    largest = float(np.linalg.norm(np.ptp(np.vstack([A, B]), axis=0)))
    n, n_nodes = len(A), len(A) + len(B)
    limit = PIVOTS_PER_ROW * n_nodes
    parent, flow, potential, pivots = transport(
        A, B, x_units[x_rows], y_units[y_rows], largest, ROUNDING * largest, limit
    )
    if pivots < 0:
        raise RuntimeError(
            f"the transport plan was not optimal after {limit} changes of its tree: "
            "please report this with the data."
        )
    node = np.flatnonzero(parent[:-1] < n_nodes)
    one, other = np.minimum(node, parent[node]), np.maximum(node, parent[node]) - n
    prices = np.zeros(len(X))
    prices[x_rows] = potential[:n]
    return NetworkPlan(
        source=x_rows[one],
        sink=y_rows[other],
        mass=flow[node] / WHOLE,
        distance=np.sqrt(np.sum((A[one] - B[other]) ** 2, axis=1)),
        prices=prices,
    )


def whole_masses(masses: FloatArray) -> IntArray:
    """Return non-negative masses as whole numbers of sum `WHOLE`."""
    cumulated = np.cumsum(masses)
    ends = np.rint(cumulated * (WHOLE / cumulated[-1])).astype(np.int64)
    return np.diff(ends, prepend=0)
