"""Network simplex for the transport of masses between points, costs never stored.

Nodes are the n sources, the m sinks and, last, a root that starts as the parent of all
by artificial arcs. Each node knows its parent, the flow on the arc to it and whether
that arc leads up; children are doubly linked lists.
"""

import numpy as np
from numba import njit

NOBODY = -1


@njit(cache=True, nogil=True)
def transport(X, Y, supply, demand, artificial, tolerance, max_pivots):
    """Solve a transport problem with Euclidean costs.

    Parameters
    ----------
    X, Y : (n, d) and (m, d) float64
        Sources and sinks.
    supply, demand : (n,) and (m,) int64
        Positive, of equal sum. Whole numbers keep flows exact, so that the rule for
        ties (a strongly feasible tree) excludes endless loops.
    artificial : float
        Cost of an arc to or from the root; above half the largest distance, none of
        them carries flow in the end.
    tolerance : float
        Reduced costs above minus this count as rounding.
    max_pivots : int
        Limit on the changes of the tree.

    Returns
    -------
    parent, flow, potential : (n + m + 1,) arrays
        The optimal tree; costs are at least potential[sink] - potential[source] less
        the tolerance for all pairs.
    pivots : int
        Changes made, or -1 where the limit was reached.
    """
    n, m = len(X), len(Y)
    parent, flow, up, potential, depth, links = _star(supply, demand, artificial)
    # Small blocks find an arc soon, large ones a good arc: the geometric middle.
    block = max(256, int(np.sqrt(n * m)))
    position, idle, pivots, fresh = 0, 0, 0, True
    while True:
        best, i, j, position = _price(X, Y, potential, position, block)
        if best >= -tolerance:
            idle += block
            if idle < n * m:
                continue
            if fresh:
                return parent, flow, potential, pivots
            # Changes have added up rounding: prices from the tree decide.
            _potentials(X, Y, artificial, parent, up, links, potential)
            idle, fresh = 0, True
            continue
        if pivots == max_pivots:
            return parent, flow, potential, -1
        idle, fresh = 0, False
        pivots += 1
        _pivot(i, n + j, best, parent, flow, up, potential, depth, links)


@njit(cache=True, nogil=True)
def _star(supply, demand, artificial):
    """Return the tree in which every node is a child of the root."""
    n, m = len(supply), len(demand)
    root = n + m
    parent = np.full(root + 1, root)
    parent[root] = NOBODY
    flow = np.zeros(root + 1, np.int64)
    flow[:n], flow[n:root] = supply, demand
    up = np.zeros(root + 1, np.bool_)
    up[:n] = True
    potential = np.full(root + 1, artificial)
    potential[:n], potential[root] = -artificial, 0.0
    depth = np.ones(root + 1, np.int64)
    depth[root] = 0
    # First child, next and previous sibling.
    links = np.full((3, root + 1), NOBODY)
    for v in range(root):
        _attach(v, root, links)
    return parent, flow, up, potential, depth, links


@njit(cache=True, nogil=True)
def _price(X, Y, potential, position, block):
    """Return the least reduced cost of the next block of pairs, and its pair."""
    n, m, d = len(X), len(Y), X.shape[1]
    best, source, sink = np.inf, 0, 0
    i, j = divmod(position, m)
    left = min(block, n * m)
    while left > 0:
        end = min(m, j + left)
        left -= end - j
        for k in range(j, end):
            square = 0.0
            for c in range(d):
                square += (X[i, c] - Y[k, c]) ** 2
            reduced = np.sqrt(square) + potential[i] - potential[n + k]
            if reduced < best:
                best, source, sink = reduced, i, k
        j = end
        if j == m:
            i, j = (i + 1) % n, 0
    return best, source, sink, i * m + j


@njit(cache=True, nogil=True)
def _pivot(i, j, reduced, parent, flow, up, potential, depth, links):
    """Send as much as fits along the arc i to j and back through the tree."""
    leaving, limit, below_i = NOBODY, np.iinfo(np.int64).max, True
    a, b = i, j
    # Of several arcs that empty first the last one on the cycle leaves, seen from its
    # top: the nearest to i on its side, or else the highest on the side of j.
    while a != b:
        if depth[a] >= depth[b]:
            if up[a] and flow[a] < limit:
                leaving, limit, below_i = a, flow[a], True
            a = parent[a]
        else:
            if not up[b] and flow[b] <= limit:
                leaving, limit, below_i = b, flow[b], False
            b = parent[b]
    top = a
    v = i
    while v != top:
        flow[v] += -limit if up[v] else limit
        v = parent[v]
    v = j
    while v != top:
        flow[v] += limit if up[v] else -limit
        v = parent[v]
    if below_i:
        _rehang(i, j, True, leaving, limit, parent, flow, up, links)
        _shift(i, -reduced, parent, potential, depth, links)
    else:
        _rehang(j, i, False, leaving, limit, parent, flow, up, links)
        _shift(j, reduced, parent, potential, depth, links)


@njit(cache=True, nogil=True)
def _rehang(v, above, leads_up, last, carried, parent, flow, up, links):
    """Turn the path from v to the cut below `last` upside down and hang v elsewhere."""
    while True:
        old, old_flow, old_up = parent[v], flow[v], up[v]
        _detach(v, old, links)
        _attach(v, above, links)
        parent[v], flow[v], up[v] = above, carried, leads_up
        if v == last:
            return
        v, above, carried, leads_up = old, v, old_flow, not old_up


@njit(cache=True, nogil=True)
def _shift(top, change, parent, potential, depth, links):
    """Add to the potentials below a node, and set depths."""
    v = top
    while True:
        potential[v] += change
        depth[v] = depth[parent[v]] + 1
        v = _next(v, top, parent, links)
        if v == NOBODY:
            return


@njit(cache=True, nogil=True)
def _potentials(X, Y, artificial, parent, up, links, potential):
    """Set all potentials from the costs of the arcs in the tree."""
    n, root = len(X), len(parent) - 1
    v = _next(root, root, parent, links)
    while v != NOBODY:
        p = parent[v]
        cost = artificial
        if p != root:
            i, j = min(v, p), max(v, p) - n
            cost = np.sqrt(np.sum((X[i] - Y[j]) ** 2))
        potential[v] = potential[p] - cost if up[v] else potential[p] + cost
        v = _next(v, root, parent, links)


@njit(cache=True, nogil=True)
def _next(v, top, parent, links):
    """Return the node after v, parents first, within the subtree below `top`."""
    if links[0, v] != NOBODY:
        return links[0, v]
    while v != top:
        if links[1, v] != NOBODY:
            return links[1, v]
        v = parent[v]
    return NOBODY


@njit(cache=True, nogil=True)
def _attach(v, above, links):
    first = links[0, above]
    links[1, v], links[2, v] = first, NOBODY
    if first != NOBODY:
        links[2, first] = v
    links[0, above] = v


@njit(cache=True, nogil=True)
def _detach(v, above, links):
    after, before = links[1, v], links[2, v]
    if before == NOBODY:
        links[0, above] = after
    else:
        links[1, before] = after
    if after != NOBODY:
        links[2, after] = before
