"""Certificate of problems with moment constraints, from the caller's data.

With any multipliers l of |A'w - b| <= tol, for every u that meets the constraints,

    objective(u) >= objective(w) + gradient'(u - w),  l'A'u >= l'b - |l|'tol,

so that objective(w) - minimum <= (gradient - A l)'w - min over the simplices of
(gradient - A l)'u + l'(A'w - b) + |l|'tol. The last two terms vanish when multipliers
belong to constraints that hold with equality.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from causalweights.optimize._certificate import FloatArray, group_sums
from causalweights.optimize._checks import CheckedQP


@dataclass(frozen=True, slots=True, eq=False)
class PricedMoments:
    """What the multipliers (G, p) of the moments add to the certificate.

    Attributes
    ----------
    prices : (n,), columns less their group means times the multipliers
    offsets : (G,), the group means times the multipliers
    excess : the last two terms of the gap
    missing : largest violation, in standard deviations of its column
    size : sum of the largest entries of the priced columns, what rounding refers to
    sides : (G, p), the end of its interval that each moment's multiplier belongs to
    """

    prices: FloatArray
    offsets: FloatArray
    excess: float
    missing: float
    size: float
    sides: FloatArray


def price_moments(
    checked: CheckedQP, weights: FloatArray, multipliers: FloatArray
) -> PricedMoments:
    """Evaluate multipliers of the moments at feasible weights."""
    assert checked.moments is not None
    A, b, tol = checked.moments.A, checked.moments.targets, checked.moments.tol
    labels, n_groups = checked.labels, checked.n_groups
    counts = np.bincount(labels, minlength=n_groups)[:, None]
    center = _sums(checked, A) / counts
    Z = A - center[labels]
    spread = np.sqrt(_sums(checked, Z**2) / counts)
    # Targets less the means, so that columns far from zero lose no digits.
    value = _sums(checked, Z * weights[:, None]) - (b - center)
    finite = np.where(np.isfinite(tol), tol, 0.0)
    low_side = multipliers > 0.0
    sides = np.where(low_side, b - finite, b + finite)
    distance = np.where(low_side, value + finite, value - finite)
    size = np.where(spread > 0.0, spread, np.maximum(np.abs(b), 1.0))
    violation = np.maximum(np.abs(value) - tol, 0.0) / size
    return PricedMoments(
        prices=np.einsum("ij,ij->i", Z, multipliers[labels]),
        offsets=np.einsum("gj,gj->g", center, multipliers),
        excess=float(np.sum(np.abs(multipliers) * np.abs(distance))),
        missing=float(violation.max(initial=0.0)),
        size=float(np.abs(Z * multipliers[labels]).max(axis=0).sum()),
        sides=sides,
    )


def lagrangian_term(
    checked: CheckedQP, weights: FloatArray, sides: FloatArray, multipliers: FloatArray
) -> float:
    """l'(A'w - side), which the Lagrangian subtracts from the objective."""
    assert checked.moments is not None
    value = _sums(checked, checked.moments.A * weights[:, None])
    return float(np.sum(multipliers * (value - sides)))


def _sums(checked: CheckedQP, columns: FloatArray) -> FloatArray:
    """Sum columns (n, p) over each group, (G, p)."""
    labels, n_groups = checked.labels, checked.n_groups
    sums = [group_sums(labels, column, n_groups) for column in columns.T]
    return np.stack(sums, axis=1)
