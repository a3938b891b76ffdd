"""The program of the masses: bounds, what the ridge pulls to, rows that share a weight.

minimise  criterion(M) + sum_i penalty_i (M_i - anchor_i)^2  over masses M of sum one an
arm, lower <= M <= upper. Where clusters share a weight, M = C v with the masses v of
the clusters as unknowns and C the rows' shares of their cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from causalweights._typing import FloatArray, IntArray
from causalweights._validation import check_base_weights, check_groups
from causalweights.balancing._blocks_input import is_dask
from causalweights.balancing._clusters import ClusteredGram, Clusters
from causalweights.balancing._discriminators import default_ridge, is_wasserstein
from causalweights.balancing._mmd_certificates import ridge_penalty
from causalweights.balancing._weighter import Design, normalize_per_arm
from causalweights.kernels import GramOperator


@dataclass(frozen=True, slots=True, eq=False)
class MassProblem:
    """What the programs of all criteria share, by row; a unit is a row or a cluster.

    Attributes
    ----------
    before : (n,), masses of the unweighted arms
    penalty : (n,), ridge / s_i
    anchor : (n,), base masses; zero where none are given
    lower, upper : (n,); no upper bound is None
    clusters : Clusters or None, where every row is a unit
    """

    before: FloatArray
    penalty: FloatArray
    anchor: FloatArray
    lower: FloatArray
    upper: FloatArray | None
    clusters: Clusters | None = None

    @classmethod
    def of(
        cls,
        balancer: Any,
        design: Design,
        base_weights: Any = None,
        groups: Any = None,
    ) -> MassProblem:
        """Return the problem of a balancer's options, and of the caller's rows."""
        s, arms, before = design.sample_weight, design.arms, design.base_masses()
        base = check_base_weights(base_weights, design.rows)
        cells = check_groups(groups, len(design.rows))
        penalty = ridge_penalty(balancer.ridge_, s, arms.codes, balancer.weight_type)
        if base is None:
            anchor = np.zeros_like(before)
        else:
            anchor = normalize_per_arm(s * base, arms)
        top = balancer.max_weight
        upper = None if top is None else top * before
        clusters = None
        if cells is not None:
            labels = cells[design.rows] * arms.n_arms + arms.codes
            clusters = Clusters.of(labels, before)
        return cls(
            before, penalty, anchor, balancer.min_weight * before, upper, clusters
        )

    def of_rows(self, rows: np.ndarray) -> MassProblem:
        """Return the problem of some rows, with all of a cluster or none."""
        return MassProblem(
            self.before[rows],
            self.penalty[rows],
            self.anchor[rows],
            self.lower[rows],
            None if self.upper is None else self.upper[rows],
            None if self.clusters is None else self.clusters.of_rows(rows),
        )

    @property
    def n_units(self) -> int:
        """Number of unknowns."""
        return len(self.before) if self.clusters is None else self.clusters.n_clusters

    @property
    def ridge(self) -> FloatArray:
        """Penalty of each unit's squared mass."""
        if self.clusters is None:
            return self.penalty
        return self.clusters.mean(self.penalty * self.clusters.share)

    @property
    def center(self) -> FloatArray:
        """Base mass of each unit: the penalty is ridge (v - center)^2 + constant."""
        return self.sum(self.anchor)

    @property
    def bounds(self) -> dict[str, Any]:
        """Bounds of the units' masses, as keywords."""
        upper = None if self.upper is None else self.sum(self.upper)
        return {"lower": self.sum(self.lower), "upper": upper}

    def sum(self, values: FloatArray) -> FloatArray:
        """Return each unit's sum of the rows' values."""
        return values if self.clusters is None else self.clusters.sum(values)

    def mean(self, values: FloatArray) -> FloatArray:
        """Return each unit's mean of the rows' values, (n,) or (n, p), by mass."""
        return values if self.clusters is None else self.clusters.mean(values)

    def spread(self, units: FloatArray) -> FloatArray:
        """Return the rows' masses of the units'."""
        return units if self.clusters is None else self.clusters.spread(units)

    def labels(self, codes: IntArray) -> IntArray:
        """Return each unit's label of the rows' labels, equal in a cluster."""
        return codes if self.clusters is None else codes[self.clusters.first]

    def gram(self, operator: GramOperator) -> Any:
        """Return the units' Gram operator of the rows'."""
        if self.clusters is None:
            return operator
        return ClusteredGram(operator, self.clusters)

    def cost(self, masses: FloatArray) -> float:
        """Return the ridge term of the rows' masses."""
        return float(np.sum(self.penalty * (masses - self.anchor) ** 2))


def refuse_row_data(balancer: Any, X: Any, data: Mapping[str, Any]) -> list[str]:
    """Return which of the optional data are given; refuse fits that take none."""
    given = [name for name, value in data.items() if value is not None]
    if not given:
        return given
    for name, found in (
        ("a dask array", is_dask(X)),
        (f"solver={balancer.solver!r}", balancer.solver in ("low_rank", "adam")),
        ("weight_model='loglinear'", balancer.weight_model == "loglinear"),
        ("discriminator='wasserstein'", is_wasserstein(balancer.discriminator)),
    ):
        if found:
            raise ValueError(
                f"{name} takes no {' and no '.join(given)}: these are for the exact "
                "programs of one weight a row or cluster, with rows in memory and "
                "another discriminator than Wasserstein."
            )
    if "base_weights" in given and default_ridge(balancer) == 0:
        raise ValueError(
            "base_weights need ridge > 0: the ridge is what pulls weights to them."
        )
    return given
