"""Presolve: remove rows that the constraints determine, substitute lower bounds.

What is left is the canonical problem of `_problem`, whose groups all have an interior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from causalweights.optimize._certificate import FloatArray, IntArray, group_sums
from causalweights.optimize._checks import CheckedQP
from causalweights.optimize._moments import Moments, reduce_moments
from causalweights.optimize._moments_feasible import check_ranges
from causalweights.optimize._problem import (
    ArrayOperator,
    Simplices,
    SubOperator,
    SymmetricOperator,
)

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, eq=False)
class Reduction:
    """Canonical problem on the rows that have a choice.

    Attributes
    ----------
    base : (n,), weights of the determined rows and lower bounds of the others
    rows : (m,) int, rows that have a choice
    operator, ridge, q, simplices : the canonical problem on `rows`
    start : (m,) feasible warm start, or None
    working_set : int positions in `rows`, or None
    moments : constraints on weighted moments of `rows`, or None
    constant : objective of `base`, what this problem's lacks of the whole one's
    """

    base: FloatArray
    rows: IntArray
    operator: SymmetricOperator
    ridge: FloatArray
    q: FloatArray
    simplices: Simplices
    start: FloatArray | None
    working_set: IntArray | None
    moments: Moments | None = None
    constant: float = 0.0

    def expand(self, v: FloatArray, checked: CheckedQP) -> FloatArray:
        """Return the weights of all rows."""
        weights = self.base.copy()
        at_bound = v >= self.simplices.upper
        weights[self.rows] += v
        weights[self.rows[at_bound]] = checked.upper[self.rows[at_bound]]
        return np.clip(weights, checked.lower, checked.upper)


def reduce_problem(checked: CheckedQP) -> Reduction:
    """Bring a checked problem to canonical form.

    ValueError for moments that no weights can meet, as far as that is seen cheaply.
    """
    base, rows = determined_rows(checked)
    n = base.size
    operator, q = checked.operator, checked.q
    if base.any() and rows.size:
        # Substituting w = base + v shifts the linear term.
        q = q - product_of(operator, base) - checked.ridge * base
    constant = -0.5 * float(base @ (checked.q + q))
    mass = 1.0 - group_sums(checked.labels, base, checked.n_groups)
    room = checked.upper - checked.lower
    simplices = restrict_groups(Simplices(checked.labels, mass, room), rows)
    if rows.size < n and isinstance(operator, ArrayOperator):
        operator = ArrayOperator(operator.block(rows, rows))
    elif 0 < rows.size < n and hasattr(operator, "restrict"):
        operator = operator.restrict(rows)
    elif rows.size < n:
        operator = SubOperator(operator, rows)
    start, chosen = checked.start, checked.working_set
    if start is not None:
        start = simplices.repair((start - checked.lower)[rows])
    if chosen is not None:
        chosen = np.searchsorted(rows, np.intersect1d(chosen, rows))
    moments = reduce_moments(checked, base, rows, simplices)
    if moments is not None:
        check_ranges(simplices, moments)
    return Reduction(
        base=base,
        rows=rows,
        operator=operator,
        ridge=checked.ridge[rows],
        q=q[rows],
        simplices=simplices,
        start=start,
        working_set=chosen,
        moments=moments,
        constant=constant,
    )


def reference_weights(checked: CheckedQP) -> FloatArray:
    """Uniform weights in each group, moved into the bounds where they break them."""
    counts = np.bincount(checked.labels).astype(np.float64)
    shifted = 1.0 / counts[checked.labels] - checked.lower
    ones = np.ones(counts.size)
    room = checked.upper - checked.lower
    free_mass = ones - group_sums(checked.labels, checked.lower, checked.n_groups)
    inside = np.all(shifted >= 0.0) and np.all(shifted <= room)
    if inside:
        return 1.0 / counts[checked.labels]
    simplices = Simplices(checked.labels, np.maximum(free_mass, 0.0), room)
    fixed = free_mass <= EPS
    shifted[fixed[checked.labels]] = 0.0
    if fixed.any():
        rows = np.flatnonzero(~fixed[checked.labels])
        simplices = restrict_groups(simplices, rows)
        shifted[rows] = simplices.repair(shifted[rows]) if rows.size else 0.0
        return checked.lower + shifted
    return checked.lower + simplices.repair(shifted)


def determined_rows(checked: CheckedQP) -> tuple[FloatArray, IntArray]:
    """Return weights of the rows the constraints fix (else `lower`), and the others.

    A group is fixed as a whole when its lower, or its upper, bounds sum to one.
    """
    lower, upper, labels = checked.lower, checked.upper, checked.labels
    n_groups = checked.n_groups
    slack = 1.0 - group_sums(labels, lower, n_groups)
    room = np.minimum(upper - lower, np.maximum(slack, 0.0)[labels])
    total = group_sums(labels, room, n_groups)
    tight = 8.0 * EPS * np.bincount(labels, minlength=n_groups)
    at_lower = slack <= tight
    at_upper = total - slack <= tight
    weights = np.where((at_upper & ~at_lower)[labels], lower + room, lower)
    free = ~(at_lower | at_upper)[labels] & (room > 0.0)
    return weights, np.flatnonzero(free)


def restrict_groups(simplices: Simplices, rows: IntArray) -> Simplices:
    """Restrict to rows and renumber the groups that are left."""
    present, labels = np.unique(simplices.labels[rows], return_inverse=True)
    return Simplices(
        labels.astype(np.intp), simplices.mass[present], simplices.upper[rows]
    )


def product_of(operator: SymmetricOperator, weights: FloatArray) -> FloatArray:
    """K @ weights through the support, in double precision."""
    support = np.flatnonzero(weights)
    if support.size == weights.size:
        return np.asarray(operator.matvec(weights), np.float64)
    return np.asarray(operator.matvec(weights[support], columns=support), np.float64)
