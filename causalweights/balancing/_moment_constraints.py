"""Moments that weights must meet beside a discrepancy: means, products, quantiles."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from causalweights._scaling import fit_scaling
from causalweights._typing import FloatArray
from causalweights._validation import Arms
from causalweights.balancing._features import Term, expand, moment_terms, term_names
from causalweights.balancing._goal import Goal
from causalweights.balancing._mass_problem import MassProblem

# The refusals of `simplex_qp`, which knows no names.
_REFUSAL = re.compile(
    r"moment (?P<moment>\d+)( of group (?P<group>\d+))? .*cannot be met(?P<how>[^:]*):"
    r".*?(?P<off>\d[-+.e\d]*) (too far|away)"
)


@dataclass(frozen=True, slots=True, eq=False)
class MomentConstraints:
    """Features whose weighted means must be the target's within a tolerance.

    Attributes
    ----------
    terms : list of tuple
        Products of standardised covariates.
    cuts : list of (column, threshold)
        Indicators ``z_column <= threshold``.
    names : list of str
    mean, scale : ndarray of shape (p,)
        Target means, and full-sample standard deviations, of the features.
    tol : ndarray of shape (p,)
        Tolerances in standard deviations.
    """

    terms: list[Term]
    cuts: list[tuple[int, float]]
    names: list[str]
    mean: FloatArray
    scale: FloatArray
    tol: FloatArray

    def transform(self, Z: FloatArray) -> FloatArray:
        """Return the features less their target means, over their SD, (m, p)."""
        return (_features(Z, self.terms, self.cuts) - self.mean) / self.scale


def fit_moments(
    Z: FloatArray,
    sample_weight: FloatArray,
    goal: Goal,
    names: Sequence[str],
    *,
    moments: int = 0,
    interactions: bool = False,
    quantiles: Sequence[float] = (),
    tol: Any = 0.0,
) -> MomentConstraints | None:
    """Return the constraints on covariates Z (n, d), None where there are none.

    A quantile constrains the
    share of rows below the target's own quantile. Features that do not vary are left
    out; ``tol`` is a number, or one for each feature in the order of ``names``.
    """
    terms = moment_terms(Z, moments, interactions) if moments or interactions else []
    if not moments:  # interactions alone
        terms = [t for t in terms if len(t) == 2]
    cuts, labels = _quantile_cuts(goal, names, quantiles)
    labels = term_names(terms, names) + labels
    if not labels:
        return None
    F = _features(Z, terms, cuts)
    scaling = fit_scaling(F, sample_weight)
    kept = scaling.kept
    chosen = [(*terms, *cuts)[j] for j in kept]
    n_terms = int(np.sum(kept < len(terms)))
    return MomentConstraints(
        terms=chosen[:n_terms],
        cuts=chosen[n_terms:],
        names=[labels[j] for j in kept],
        mean=goal.masses @ _features(goal.rows, terms, cuts)[:, kept],
        scale=scaling.scale,
        tol=_tolerances(tol, len(kept)),
    )


def _quantile_cuts(
    goal: Goal, names: Sequence[str], quantiles: Sequence[float]
) -> tuple[list[tuple[int, float]], list[str]]:
    cuts, labels = [], []
    if not all(0 < level < 1 for level in quantiles):
        raise ValueError(f"quantiles must lie between 0 and 1, got {list(quantiles)}.")
    for j in range(goal.rows.shape[1]):
        order = np.argsort(goal.rows[:, j], kind="stable")
        below = np.cumsum(goal.masses[order])
        for level in quantiles:
            # The smallest value that holds the share, rounding aside.
            at = min(int(np.searchsorted(below, level - 1e-12)), len(order) - 1)
            cut = (j, float(goal.rows[order[at], j]))
            if cut not in cuts:
                cuts.append(cut)
                labels.append(f"{names[j]} <= its {level:g} quantile")
    return cuts, labels


def _features(
    Z: FloatArray, terms: list[Term], cuts: list[tuple[int, float]]
) -> FloatArray:
    parts = [expand(Z, terms)] if terms else []
    parts += [(Z[:, [j]] <= threshold).astype(np.float64) for j, threshold in cuts]
    return np.hstack(parts)


def _tolerances(tol: Any, p: int) -> FloatArray:
    width = np.asarray(tol, dtype=np.float64)
    if width.shape not in ((), (p,)):
        raise ValueError(
            f"moment_tol must be a number or have shape ({p},), one a constrained "
            f"moment, got {width.shape}."
        )
    if not np.all(width >= 0):
        raise ValueError("moment_tol must be non-negative.")
    return np.broadcast_to(width, (p,)).copy()


def constraints_on(
    moments: MomentConstraints | None, Z: FloatArray, problem: MassProblem
) -> dict[str, Any]:
    """Return the keywords of `simplex_qp` that hold the moments of rows Z."""
    if moments is None:
        return {}
    return {
        "moments": problem.mean(moments.transform(Z)),
        "moment_targets": np.zeros(len(moments.names)),
        "moment_tol": moments.tol,
    }


@contextmanager
def readable_moments(
    moments: MomentConstraints | None, arms: Arms, arm: int | None = None
) -> Iterator[None]:
    """Say of which covariate and arm a target is out of reach, and what to do."""
    try:
        yield
    except ValueError as error:
        found = _REFUSAL.search(str(error))
        if moments is None or found is None:
            raise
        k = int(found["group"] or 0) if arm is None else arm
        raise ValueError(
            f"no weights of arm {arms.label(k)!r} meet the target's moment "
            f"{moments.names[int(found['moment'])]!r}{found['how']}: the closest miss "
            f"it by {found['off']} standard deviations. Raise moment_tol, ask for "
            "fewer moments, widen the weights' bounds, or remove target rows that the "
            "arm does not cover."
        ) from error
