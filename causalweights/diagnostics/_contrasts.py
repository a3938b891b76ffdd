"""What a balance table compares, and the measures of each comparison."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from causalweights._scaling import fit_scaling
from causalweights._typing import FloatArray
from causalweights.diagnostics._moments import (
    denominators,
    scaled_difference,
    two_valued,
    weighted_moments,
)
from causalweights.diagnostics._samples import WeightedArms
from causalweights.discrepancy import kolmogorov_smirnov, mmd_matrix
from causalweights.kernels import Energy, Gaussian


@dataclass(frozen=True, slots=True)
class Compared:
    """The samples to compare, as weights on the same rows.

    Attributes
    ----------
    labels : list of str
    before, after : ndarray of shape (G, n)
        Weights, zero outside the sample; ``after`` is None without weights.
    pairs : list of (int, int)
        Sample and the one it is compared with.
    """

    labels: list[str]
    before: FloatArray
    after: FloatArray | None
    pairs: list[tuple[int, int]]

    def times(self) -> list[tuple[str, FloatArray]]:
        """Return the column suffixes with their weights."""
        if self.after is None:
            return [("before", self.before)]
        return [("before", self.before), ("after", self.after)]

    def contrast(self, pair: tuple[int, int]) -> str:
        """Return how a comparison is called."""
        return f"{self.labels[pair[0]]} vs {self.labels[pair[1]]}"


def compared_samples(samples: WeightedArms, compare: str) -> Compared:
    """Return the arms (and the target) as weights, and which pairs to compare."""
    arms = samples.arms
    kinds = range(arms.n_arms)
    labels = [str(arms.label(k)) for k in kinds]
    before = [samples.of_arm(k, samples.before) for k in kinds]
    after = None
    if samples.after is not None:
        after = [samples.of_arm(k, samples.after) for k in kinds]
    if compare == "arms":
        pairs = [(k, arms.control) for k in arms.contrasts()]
    elif compare == "pairs":
        pairs = [(k, j) for j in kinds for k in range(j + 1, arms.n_arms)]
    else:
        if samples.target is None:
            raise ValueError(
                "compare='target': the target of estimand='ato' depends on the "
                "propensity; pass the fitted weighter, or compare the arms."
            )
        pairs = [(k, arms.n_arms) for k in kinds if k != samples.focal]
        labels.append("target")
        before.append(samples.target)
        if after is not None:
            after.append(samples.target)
    stacked = None if after is None else np.array(after)
    return Compared(labels, np.array(before), stacked, pairs)


def resolve_scale(samples: WeightedArms, standardize_by: str) -> str:
    """Return whose SD mean differences are divided by; "auto" asks the estimand."""
    if standardize_by == "auto":
        rules = {"att": "focal", "atc": "control"}
        return rules.get(samples.estimand, "pooled")
    if standardize_by == "focal" and samples.arms.focal < 0:
        raise ValueError("standardize_by='focal' with more than two arms needs focal=.")
    return standardize_by


def scale_arms(samples: WeightedArms, scale_by: str) -> list[int] | None:
    """Return the arms whose variances make the denominator, None for all rows."""
    arms = samples.arms
    if scale_by == "all":
        return None
    chosen = {"control": [arms.control], "focal": [arms.focal]}
    return chosen.get(scale_by, list(range(arms.n_arms)))


def contrast_measures(
    X: FloatArray,
    samples: WeightedArms,
    compared: Compared,
    scaled_by: list[int] | None,
    scaling: tuple[str, str],
) -> list[dict[str, FloatArray]]:
    """Return the columns of each contrast, arrays of shape (d,)."""
    binary = two_valued(X)
    copies = samples.copies

    def moments(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        each = [weighted_moments(X, w, binary, copies) for w in weights]
        means, variances = zip(*each)
        return np.array(means), np.array(variances)

    summaries = [moments(weights) for _, weights in compared.times()]
    full = moments(samples.before[None, :])[1][0]
    scale = denominators(summaries[0][1], full, scaled_by)
    continuous_raw, binary_raw = (kind == "raw" for kind in scaling)
    raw = np.where(binary, binary_raw, continuous_raw)
    scale = np.where(raw, 1.0, scale)
    records = []
    for a, b in compared.pairs:
        record: dict[str, FloatArray] = {}
        for (time, weights), (mean, variance) in zip(compared.times(), summaries):
            ratio = np.full(X.shape[1], np.nan)
            defined = (variance[b] > 0) & ~binary
            np.divide(variance[a], variance[b], out=ratio, where=defined)
            record[f"reference_{time}"] = mean[b]
            record[f"arm_{time}"] = mean[a]
            record[f"smd_{time}"] = scaled_difference(mean[a] - mean[b], scale)
            record[f"variance_ratio_{time}"] = ratio
            record[f"ks_{time}"] = np.array(
                [_ks(x, weights[a], weights[b]) for x in X.T]
            )
        records.append(record)
    return records


def _ks(x: FloatArray, first: FloatArray, second: FloatArray) -> float:
    a, b = first > 0, second > 0
    return kolmogorov_smirnov(x[a], x[b], first[a], second[b])


def overall_distances(
    X: FloatArray, base: FloatArray, compared: Compared, factor: FloatArray
) -> dict[str, dict[str, float]]:
    """Return energy distance and squared MMD of each contrast, in one pass a kernel.

    ``factor`` (d,) multiplies the standardised columns.
    """
    weightings = np.vstack([weights for _, weights in compared.times()]).T
    n_samples = len(compared.labels)
    if np.all(np.ptp(X, axis=0) == 0):
        energy: FloatArray = np.zeros((weightings.shape[1],) * 2)
        gaussian: FloatArray = energy
    else:
        scaling = fit_scaling(X, base)
        Z = scaling.transform(X) * factor[scaling.kept]
        energy = 2 * mmd_matrix(Energy(), Z, weightings)
        gaussian = mmd_matrix(Gaussian(bandwidth="median"), Z, weightings)
    distances = {}
    for a, b in compared.pairs:
        record = {}
        for t, (time, _) in enumerate(compared.times()):
            at = (a + t * n_samples, b + t * n_samples)
            record[f"energy_distance_{time}"] = float(energy[at])
            record[f"squared_mmd_{time}"] = float(gaussian[at])
        distances[compared.contrast((a, b))] = record
    return distances
