"""Effective sample sizes and summaries of weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from causalweights._typing import FloatArray
from causalweights._validation import check_sample_weight
from causalweights.diagnostics._samples import (
    check_weights,
    collect_arms,
    fitted_weighter,
    resolve_weight_type,
)

if TYPE_CHECKING:
    import pandas as pd

# An arm below this effective size, or with more of its mass on one row, says little.
FEW_EFFECTIVE_ROWS = 10.0
LARGE_MASS = 0.2


def effective_sample_size(
    weights: Any,
    *,
    sample_weight: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    weight_type: str | None = None,
) -> float | dict[Any, float]:
    """Return Kish's effective sample size of a weighted sample.

    The number of equally weighted rows whose mean varies as much as the weighted mean:
    ``(sum t)^2 / sum t^2`` with t the product of weights and sampling weights.

    Parameters
    ----------
    weights : array-like of shape (n,) or fitted weighter
        Non-negative weights (their scale does not matter), or an object with
        ``weights_``.
    sample_weight : array-like of shape (n,) or None, default=None
        Sampling or frequency weights that multiply ``weights``.
    groups : array-like of shape (n,) or None, default=None
        Labels, such as the treatment: one size a label.
    weight_type : {"sampling", "frequency"} or None, default=None
        With ``"frequency"`` a row of weight s counts as s rows:
        ``(sum s w)^2 / sum s w^2``. None is the weighter's, else ``"sampling"``.

    Returns
    -------
    float or dict
        With ``groups``, sizes by label. A group whose weights are all zero has size 0.

    See Also
    --------
    weight_summary : This and more about each arm's weights.

    References
    ----------
    Kish (1965), Survey Sampling, section 8.2.

    Examples
    --------
    >>> from causalweights.diagnostics import effective_sample_size
    >>> effective_sample_size([1, 1, 2])
    2.67
    >>> effective_sample_size([1, 1, 2, 0], groups=["a", "a", "b", "b"])
    {'a': 2.0, 'b': 1.0}
    >>> effective_sample_size([1, 2], sample_weight=[2, 1], weight_type="frequency")
    2.67
    """
    weighter = fitted_weighter(weights)
    weight_type = resolve_weight_type(weight_type, weighter)
    values = np.asarray(weights if weighter is None else weighter.weights_)
    if values.ndim != 1:
        raise ValueError(f"weights must be a vector, got shape {values.shape}.")
    values = check_weights(values, len(values))
    s = check_sample_weight(sample_weight, len(values))
    copies = s if weight_type == "frequency" else None
    if groups is None:
        return kish(values * s, copies)
    labels = np.asarray(groups)
    if labels.shape != values.shape:
        raise ValueError(
            f"groups has shape {labels.shape}, weights {values.shape}: pass one label "
            "a row."
        )
    sizes = {}
    for label in np.unique(labels).tolist():
        rows = labels == label
        sizes[label] = kish(
            (values * s)[rows], None if copies is None else copies[rows]
        )
    return sizes


def weight_summary(
    weights: Any,
    treatment: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    control: Any = None,
    weight_type: str | None = None,
) -> pd.DataFrame:
    """Summarise the weights of each arm, and say where they lean on a few rows.

    Parameters
    ----------
    weights : array-like of shape (n,) or fitted weighter
        Non-negative weights that multiply ``sample_weight``, or an object with
        ``weights_``.
    treatment : array-like of shape (n,)
        Label of each row's arm.
    sample_weight : array-like of shape (n,) or None, default=None
        Sampling or frequency weights; rows of weight zero are left out.
    control : label or None, default=None
        Needed for string labels only; it does not change the numbers.
    weight_type : {"sampling", "frequency"} or None, default=None
        With ``"frequency"`` a row of weight s counts as s rows. None is the weighter's,
        else ``"sampling"``.

    Returns
    -------
    DataFrame
        One row an arm, in the order of the labels.

        - ``n``: rows (copies under frequency weights).
        - ``n_zero``: those of weight zero.
        - ``ess``, ``ess_share``: Kish's effective size of the total weights, and its
          share of n.
        - ``max_weight``: largest weight, on the scale where the arm's mean is 1.
        - ``max_mass``: largest share of the arm's total weight on one row.
        - ``cv``: SD (ddof 1) over mean of the total weights, as WeightIt's.
        - ``top_1pct_share``, ``top_10_share``: share of the total weight on the
          heaviest 1 % (fractions of a row in proportion) and on the 10 heaviest rows.
        - ``concentrated``: ess < 10 or max_mass > 0.2; an estimate then rests on a few
          rows, and its standard error on fewer than it needs.

    Examples
    --------
    >>> from causalweights.diagnostics import weight_summary
    >>> table = weight_summary([2, 1, 0, 1, 1], [0, 0, 0, 1, 1])
    >>> table[["n", "n_zero", "ess", "max_weight", "max_mass", "concentrated"]]
         n  n_zero  ess  max_weight  max_mass  concentrated
    arm
    0    3       1  1.8         2.0  0.666667          True
    1    2       0  2.0         1.0  0.500000          True
    """
    import pandas as pd

    samples = collect_arms(
        treatment,
        weights,
        sample_weight=sample_weight,
        estimand="ate",
        control=control,
        weight_type=weight_type,
    )
    arms, s = samples.arms, samples.before
    total = s if samples.after is None else samples.after
    copies = s if samples.weight_type == "frequency" else np.ones_like(s)
    records = [
        _describe(total[rows], s[rows], copies[rows])
        for rows in (arms.codes == k for k in range(arms.n_arms))
    ]
    labels = [arms.label(k) for k in range(arms.n_arms)]
    return pd.DataFrame(records, index=pd.Index(labels, name="arm"))


def kish(total: FloatArray, copies: FloatArray | None = None) -> float:
    """Return the effective size; a row stands for ``copies`` rows of equal weight."""
    squares = total**2
    if copies is not None:
        squares = np.divide(
            squares, copies, out=np.zeros_like(squares), where=copies > 0
        )
    sum_of_squares = squares.sum()
    return float(total.sum() ** 2 / sum_of_squares) if sum_of_squares > 0 else 0.0


def top_share(total: FloatArray, copies: FloatArray, count: float) -> float:
    """Return the share of the total weight on the ``count`` heaviest rows."""
    each = total / copies
    order = np.argsort(-each, kind="stable")
    numbers = np.concatenate([[0.0], np.cumsum(copies[order])])
    held = np.concatenate([[0.0], np.cumsum(total[order])])
    return float(np.interp(count, numbers, held / held[-1]))


def _describe(total: FloatArray, s: FloatArray, copies: FloatArray) -> dict[str, Any]:
    """Return one arm's record; ``copies`` are ones under sampling weights."""
    n = copies.sum()
    each = total / copies
    mean = total.sum() / n
    spread = copies @ (each - mean) ** 2 / (n - 1) if n > 1 else 0.0
    size = kish(total, copies)
    max_mass = float(np.max(each) / total.sum())
    return {
        "n": int(n) if n == int(n) else float(n),
        "n_zero": int(np.sum(copies[total == 0])),
        "ess": size,
        "ess_share": float(size / n),
        "max_weight": float(np.max(total / s) * s.sum() / total.sum()),
        "max_mass": max_mass,
        "cv": float(np.sqrt(spread) / mean),
        "top_1pct_share": top_share(total, copies, 0.01 * n),
        "top_10_share": top_share(total, copies, 10.0),
        "concentrated": bool(size < FEW_EFFECTIVE_ROWS or max_mass > LARGE_MASS),
    }
