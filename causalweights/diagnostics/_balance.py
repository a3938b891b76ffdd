"""The balance table: covariates of the arms before and after weighting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from causalweights._typing import FloatArray, WeightType
from causalweights.diagnostics._contrasts import (
    Compared,
    compared_samples,
    contrast_measures,
    overall_distances,
    resolve_scale,
    scale_arms,
)
from causalweights.diagnostics._samples import (
    WeightedArms,
    collect_arms,
    encoded_covariates,
    join_outside,
)
from causalweights.diagnostics._weights import kish

if TYPE_CHECKING:
    import pandas as pd

# overall="auto" leaves the quadratic measures out above this many rows.
_OVERALL_ROWS = 20_000

_FORMULA = (
    "smd = (mean of {first} - mean of {second}) / SD, means weighted, SD of {scale} "
    "before weighting; variances with ddof 1, sum w (x - m)^2 * W / (W^2 - sum w^2), "
    "p (1 - p) for columns of two values"
)


def balance_table(
    X: ArrayLike,
    treatment: ArrayLike,
    weights: Any = None,
    *,
    sample_weight: ArrayLike | None = None,
    estimand: str | None = None,
    control: Any = None,
    focal: Any = None,
    compare: Literal["arms", "pairs", "target"] = "arms",
    standardize_by: Literal["auto", "pooled", "all", "control", "focal"] = "auto",
    continuous: Literal["std", "raw"] = "std",
    binary: Literal["std", "raw"] = "std",
    thresholds: Mapping[str, float] | None = None,
    weight_type: WeightType | None = None,
    overall: bool | Literal["auto"] = "auto",
) -> pd.DataFrame:
    """Compare the covariates of the arms, before and after weighting.

    Judge weights by the columns that end in ``after``: standardised mean differences
    near 0 (a common rule is 0.1 in size), variance ratios near 1, Kolmogorov-Smirnov
    distances near 0. Means alone can agree where distributions do not; the overall
    measures in ``attrs`` see the joint distribution.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Covariates, also others than the weights were made from; finite numbers. A data
        frame's columns of strings or categories become one 0/1 column a level.
    treatment : array-like of shape (n,)
        Label of each row's arm.
    weights : array-like of shape (n,), fitted weighter or None, default=None
        Non-negative weights that multiply ``sample_weight``, such as ``weights_``; or a
        fitted weighter (or Pipeline ending in one), whose estimand, control, focal arm,
        target and weight type are used where they are not given. None: no ``after``.
    sample_weight : array-like of shape (n,) or None, default=None
        Sampling or frequency weights, used before and after weighting; rows of weight
        zero are left out.
    estimand : {"ate", "att", "atc", "ato"} or None, default=None
        Decides the denominator and the target. None is the weighter's, else ``"ate"``.
    control, focal : label or None, default=None
        Control arm (string labels need it) and, for the ATT with more than two arms,
        the focal arm.
    compare : {"arms", "pairs", "target"}, default="arms"
        Each arm with the control arm, all pairs of arms, or each arm but the focal one
        with the target (all rows for the ATE, the focal arm for ATT and ATC, a
        weighter's own ``target=``).
    standardize_by : {"auto", "pooled", "all", "control", "focal"}, default="auto"
        SD to divide by: root of the mean of the arms' variances (of all arms, also with
        K > 2), the full sample's, the control or the focal arm's. ``"auto"`` is pooled
        for ATE and ATO, focal for ATT, control for ATC.
    continuous, binary : {"std", "raw"}, default="std"
        ``"raw"`` leaves mean differences undivided: in the covariate's units, for
        columns of two values 0/1 in proportions.
    thresholds : mapping or None, default=None
        Such as ``{"smd": 0.1, "variance_ratio": 2.0, "ks": 0.1}``: adds a column
        ``balanced``, whether all of the named measures keep to them (after weighting
        where there are weights; a ratio within 1/t and t).
    weight_type : {"sampling", "frequency"} or None, default=None
        With ``"frequency"`` a row of weight s counts as s rows. None is the weighter's,
        else ``"sampling"``.
    overall : bool or "auto", default="auto"
        Whether to compute the overall distances, O(n^2 d); ``"auto"``: up to 20,000
        rows.

    Returns
    -------
    DataFrame
        One row a covariate, in their order (a level of a category is ``name=level``);
        two arms compared with each other have the
        covariate as index, everything else (contrast, covariate). Columns, each with
        suffix ``_before`` and ``_after``: ``mean_control``, ``mean_treated`` (for pairs
        and targets ``mean_reference``, ``mean_arm``), ``smd``, ``variance_ratio``
        (treated over control; NaN for columns of two values and where it is not
        defined), ``ks``. In ``attrs``:

        - ``"overall"``: by contrast ``energy_distance_before``, ``squared_mmd_before``
          (Gaussian kernel, median bandwidth), ``..._after``, on covariates standardised
          with the full sample's weighted mean and ddof-0 SD (levels times sqrt(1/2), as
          in `IPMBalancer`); None where left out.
        - ``"max_abs_smd_before"``, ``"max_abs_smd_after"``: over covariates and
          contrasts.
        - ``"ess_before"``, ``"ess_after"``: Kish's effective sizes by arm label.
        - ``"estimand"``, ``"standardize_by"``, ``"continuous"``, ``"binary"``,
          ``"formula"`` (of standardised differences): what was computed.

    See Also
    --------
    causalweights.displays.LoveDisplay : The mean differences as a picture.
    weight_summary : How much the weights lean on few rows.

    Notes
    -----
    ``smd = (m_1 - m_0) / s`` with weighted means m and an s from **before** weighting
    (sampling weights only), so that a change of the difference is a change of means.
    ATE, ATO: ``s = sqrt((s_1^2 + s_0^2) / 2)``; ATT: the focal arm's SD; ATC: the
    control arm's. Variances are ``sum w (x - m)^2 * W / (W^2 - sum w^2)``, W = sum w:
    ddof 1 for equal weights; for columns of two values p (1 - p). These are cobalt's
    conventions. Where the denominator's arms do not vary, s is the full sample's SD; a
    column that is constant altogether has smd 0, ks 0 and variance ratio NaN.

    References
    ----------
    Austin & Stuart (2015), Statistics in Medicine 34; Greifer, *cobalt* (R package).

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.diagnostics import balance_table
    >>> X = np.array([[0.0], [1.0], [2.0], [1.0], [3.0]])
    >>> a = np.array([0, 0, 0, 1, 1])
    >>> table = balance_table(X, a, [0, 0.5, 2.5, 1, 1], estimand="att")
    >>> table[["mean_control_after", "mean_treated_after", "smd_before", "smd_after"]]
               mean_control_after  mean_treated_after  smd_before  smd_after
    covariate
    x0                   1.833333                 2.0    0.707107   0.117851
    >>> table.attrs["ess_after"]
    {0: 1.38, 1: 2.0}
    """
    _check_options(compare, standardize_by, continuous, binary, thresholds)
    samples = collect_arms(
        treatment,
        weights,
        sample_weight=sample_weight,
        estimand=estimand,
        control=control,
        focal=focal,
        weight_type=weight_type,
        X=X,
    )
    matrix, names, factor = encoded_covariates(X)
    if len(matrix) != len(samples.rows):
        raise ValueError(
            f"treatment has {len(samples.rows)} rows, X has {len(matrix)}: pass one "
            "label a row of X."
        )
    matrix = matrix[samples.rows]
    if compare == "target":
        matrix, samples = join_outside(X, matrix, samples)
    compared = compared_samples(samples, compare)
    scale_by = resolve_scale(samples, standardize_by)
    values = contrast_measures(
        matrix, samples, compared, scale_arms(samples, scale_by), (continuous, binary)
    )
    table = _assemble(values, names, samples, compared, compare)
    if thresholds is not None:
        table["balanced"] = _within(table, thresholds, samples.after is not None)
    table.attrs.update(_attributes(table, samples, scale_by, compare))
    table.attrs.update(continuous=continuous, binary=binary)
    if overall == "auto":
        overall = len(matrix) <= _OVERALL_ROWS
    table.attrs["overall"] = (
        overall_distances(matrix, samples.before, compared, factor) if overall else None
    )
    return table


def _assemble(
    values: list[dict[str, FloatArray]],
    names: list[str],
    samples: WeightedArms,
    compared: Compared,
    compare: str,
) -> pd.DataFrame:
    """Return the table with its index and the names of its columns."""
    import pandas as pd

    arm, reference = _roles(compare)
    frames = [
        pd.DataFrame(record, index=pd.Index(names, name="covariate"))
        for record in values
    ]
    if compare == "arms" and samples.arms.n_arms == 2:
        table = frames[0]
    else:
        keys = [compared.contrast(pair) for pair in compared.pairs]
        table = pd.concat(frames, keys=keys, names=["contrast", "covariate"])
    renamed = {}
    for time, _ in compared.times():
        renamed[f"arm_{time}"] = f"mean_{arm}_{time}"
        renamed[f"reference_{time}"] = f"mean_{reference}_{time}"
    return table.rename(columns=renamed)


def _roles(compare: str) -> tuple[str, str]:
    return ("treated", "control") if compare == "arms" else ("arm", "reference")


def _within(
    table: pd.DataFrame, thresholds: Mapping[str, float], weighted: bool
) -> np.ndarray:
    time = "after" if weighted else "before"
    balanced = np.ones(len(table), dtype=bool)
    for measure, limit in thresholds.items():
        value = table[f"{measure}_{time}"].to_numpy()
        if measure == "variance_ratio":
            with np.errstate(divide="ignore"):
                value = np.where(np.isnan(value), 1.0, value)
                value = np.maximum(value, 1 / value)
        balanced &= np.abs(value) <= limit
    return balanced


def _attributes(
    table: pd.DataFrame, samples: WeightedArms, scale_by: str, compare: str
) -> dict[str, Any]:
    """Return what the table's attrs say besides the overall distances."""
    arms = samples.arms
    copies = samples.copies
    attributes: dict[str, Any] = {
        "estimand": samples.estimand,
        "standardize_by": scale_by,
    }
    times = [("before", samples.before)]
    if samples.after is not None:
        times.append(("after", samples.after))
    for time, weights in times:
        attributes[f"max_abs_smd_{time}"] = float(table[f"smd_{time}"].abs().max())
        attributes[f"ess_{time}"] = {
            arms.label(k): kish(samples.of_arm(k, weights), copies)
            for k in range(arms.n_arms)
        }
    scale = {"pooled": "the arms, pooled", "all": "the full sample"}
    first, second = _roles(compare)
    attributes["formula"] = _FORMULA.format(
        first=first, second=second, scale=scale.get(scale_by, f"the {scale_by} arm")
    )
    return attributes


def _check_options(
    compare: str,
    standardize_by: str,
    continuous: str,
    binary: str,
    thresholds: Mapping[str, float] | None,
) -> None:
    allowed = {
        "compare": (compare, ("arms", "pairs", "target")),
        "standardize_by": (
            standardize_by,
            ("auto", "pooled", "all", "control", "focal"),
        ),
        "continuous": (continuous, ("std", "raw")),
        "binary": (binary, ("std", "raw")),
    }
    for measure in thresholds or {}:
        allowed["thresholds"] = (measure, ("smd", "variance_ratio", "ks"))
        _check_option("thresholds", *allowed["thresholds"])
    for name, (value, options) in allowed.items():
        _check_option(name, value, options)


def _check_option(name: str, value: Any, options: tuple[str, ...]) -> None:
    if value not in options:
        raise ValueError(
            f"{name}={value!r}: choose one of {', '.join(repr(o) for o in options)}."
        )
