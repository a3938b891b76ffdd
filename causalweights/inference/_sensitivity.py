"""How strong an unmeasured confounder must be to explain an estimated effect away.

E-values (VanderWeele & Ding, 2017), and the omitted-variable bound of Chernozhukov,
Cinelli, Newey, Sharma & Syrgkanis (2022) for a weighted contrast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm

from causalweights._typing import FloatArray, IntArray

# Chinn (2000): a standardized difference d is a log odds ratio of 1.81 d; its half is
# the log risk ratio of a common outcome (VanderWeele, 2017).
_LOG_RATIO_OF_SD = 0.91
_KINDS = ("difference", "ratio", "odds_ratio")


class PointAndLimit(NamedTuple):
    """A sensitivity measure of the estimate and of its confidence limit.

    Floats for one contrast, arrays for several. The limit is the one nearer to no
    effect; its measure is the null value where the interval holds no effect.
    """

    estimate: Any
    limit: Any


class OmittedVariableBounds(NamedTuple):
    """Effects compatible with a confounder of the strength given.

    ``bias`` is the largest absolute bias; the effect lies in [lower, upper], and with
    sampling error in [lower_limit, upper_limit]. Floats, or arrays for several
    contrasts.
    """

    bias: Any
    lower: Any
    upper: Any
    lower_limit: Any
    upper_limit: Any


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivity:
    """What sensitivity analyses of K - 1 contrasts need beside effect and error.

    Attributes
    ----------
    sd_outcome : float
        Within arms, pooled.
    residual_variance : ndarray of shape (K-1,)
        E[(Y - g)^2] over the arms whose weights may omit a confounder.
    riesz_square : ndarray of shape (K-1,)
        E[alpha^2] over the same arms.
    """

    sd_outcome: float
    residual_variance: FloatArray
    riesz_square: FloatArray

    @property
    def scale(self) -> FloatArray:
        """S of the bound |bias| <= S C_Y C_D, (K-1,)."""
        return np.sqrt(self.residual_variance * self.riesz_square)


def e_value(
    effect: Any,
    se: Any = None,
    *,
    limits: Any = None,
    kind: str = "difference",
    sd_outcome: float | None = None,
    level: float = 0.95,
) -> PointAndLimit:
    """Return the E-values of an effect and of its confidence limit.

    The least strength of association, as a risk ratio, that an unmeasured confounder
    must have with the treatment and with the outcome, given the covariates, to explain
    the effect away: RR + sqrt(RR (RR - 1)) for a risk ratio RR > 1, of 1 / RR
    otherwise. One means that nothing is needed.

    Parameters
    ----------
    effect : float or array-like
        Difference, ratio of means or risks, or odds ratio.
    se : float or array-like, or None
        Its standard error on its own scale; intervals of ratios are normal on the log
        scale. One of ``se`` and ``limits``.
    limits : pair (lower, upper), or None, default=None
        The confidence interval, each a float or an array like ``effect``.
    kind : {"difference", "ratio", "odds_ratio"}, default="difference"
        A difference goes through RR = exp(0.91 effect / sd_outcome) [2]_; an odds
        ratio of a common outcome through its square root (a rare outcome's is a
        ``"ratio"``).
    sd_outcome : float or None, default=None
        Needed for a difference.
    level : float, default=0.95
        Of the interval that ``se`` gives.

    Returns
    -------
    PointAndLimit
        At least one each.

    Raises
    ------
    ValueError
        For bad input, and a difference too many standard deviations wide.

    Notes
    -----
    [1]_ prints 1.78 for 0.91 * 1.96 in a difference's limit; here the product is
    exact.

    References
    ----------
    .. [1] VanderWeele & Ding (2017). Sensitivity analysis in observational research:
       introducing the E-value. Annals of Internal Medicine 167(4).
    .. [2] Chinn (2000). A simple method for converting an odds ratio to effect size
       for use in meta-analysis. Statistics in Medicine 19(22).

    Examples
    --------
    >>> from causalweights.inference import e_value
    >>> point, limit = e_value(3.9, limits=(1.8, 8.7), kind="ratio")
    >>> round(point, 2), round(limit, 2)
    (7.26, 3.0)
    """
    if kind not in _KINDS:
        raise ValueError(
            f"kind={kind!r}: choose one of {', '.join(map(repr, _KINDS))}."
        )
    if (se is None) == (limits is None):
        raise ValueError("give one of se and limits, for the confidence limit.")
    effect = _finite(effect, "effect")
    slope = _log_slope(kind, sd_outcome)
    if kind == "difference":
        log_effect = slope * effect
    elif np.all(effect > 0):
        log_effect = slope * np.log(effect)
    else:
        raise ValueError(f"a {kind.replace('_', ' ')} must be positive, got {effect}.")
    if limits is None:
        half = slope * _quantile(level) * _finite(se, "se", least=0.0)
        half = half if kind == "difference" else half / effect
        lower, upper = log_effect - half, log_effect + half
    else:
        lower, upper = (_log_limit(end, kind, slope) for end in limits)
        if np.any(lower > log_effect) or np.any(log_effect > upper):
            raise ValueError("limits must hold the effect: pass (lower, upper).")
    # The limit nearer to no effect; zero where the interval crosses it.
    near = np.maximum(np.maximum(lower, -upper), 0.0)
    with np.errstate(over="ignore"):
        ratios = np.exp(np.abs(log_effect)), np.exp(near)
        values = [r + np.sqrt(r) * np.sqrt(r - 1) for r in ratios]
    if not np.all(np.isfinite(values[0])):
        raise ValueError(
            "the effect is too large for an E-value: check its scale and sd_outcome."
        )
    return PointAndLimit(*map(_plain, values))


def sensitivity_parts(
    y: FloatArray,
    codes: IntArray,
    masses: FloatArray,
    predictions: FloatArray,
    *,
    control: int = 0,
    target_arm: int | None = None,
    sample_weight: FloatArray | None = None,
) -> Sensitivity:
    """Collect what sensitivity analyses need from a weighted estimate.

    A contrast's Riesz representer alpha takes the value n M_i on the arm and -n M_i on
    the control arm, so that S^2 = sum (y_i - g_i)^2 sum M_i^2 over their rows (with
    sampling weights s, sum s_i (y_i - g_i)^2 sum M_i^2 / s_i).

    Parameters
    ----------
    y, codes, masses : ndarray of shape (n,)
        Outcome, arm 0..K-1, and masses of sum one in each arm.
    predictions : ndarray of shape (n, K)
        Mean outcomes g_a(X_i), best out of fold; only those of a row's own arm are
        read.
    control : int, default=0
    target_arm : int or None, default=None
        The arm that is itself the target (ATT: the focal arm). Its mean needs no
        weights, so that a confounder moves alpha on the other arm only, and both
        factors are taken there; its predictions are not read.
    sample_weight : ndarray of shape (n,) or None, default=None
        Positive.

    Returns
    -------
    Sensitivity

    Raises
    ------
    ValueError
        For arrays that do not fit.
    """
    y, codes, masses = np.asarray(y, float), np.asarray(codes), np.asarray(masses)
    predictions = np.asarray(predictions, dtype=float)
    n = len(y)
    n_arms = predictions.shape[1] if predictions.ndim == 2 else 0
    if codes.shape != (n,) or masses.shape != (n,) or predictions.shape != (n, n_arms):
        raise ValueError(
            f"y, codes, masses and predictions have shapes {y.shape}, {codes.shape}, "
            f"{masses.shape} and {predictions.shape}: pass (n,), (n,), (n,) and (n, K)."
        )
    s = np.ones(n) if sample_weight is None else np.asarray(sample_weight, float)
    if s.shape != (n,) or not np.all(s > 0):
        raise ValueError("sample_weight must hold one positive weight a row.")
    s = s / s.sum()
    means = np.bincount(codes, s * y) / np.bincount(codes, s)
    squares = s * (y - predictions[np.arange(n), codes]) ** 2
    residual, riesz = [], []
    for k in (k for k in range(n_arms) if k != control):
        rows = np.isin(codes, [a for a in (k, control) if a != target_arm])
        residual.append(squares[rows].sum())
        riesz.append((masses[rows] ** 2 / s[rows]).sum())
    return Sensitivity(
        float(np.sqrt(s @ (y - means[codes]) ** 2)), np.array(residual), np.array(riesz)
    )


def omitted_variable_bounds(
    effect: Any,
    se: Any,
    scale: Any,
    *,
    r2_outcome: float,
    r2_treatment: float,
    rho: float = 1.0,
    level: float = 0.95,
) -> OmittedVariableBounds:
    r"""Bound a difference of means by the strength of an omitted confounder.

    With g, alpha the regression and the Riesz representer given covariates and
    confounder, and g_s, alpha_s those given the covariates alone, the bias is
    E[(g - g_s)(alpha - alpha_s)], since alpha_s is the projection of alpha, so

    bias^2 = rho^2 S^2 C_Y^2 C_D^2, with S^2 = E[(Y - g_s)^2] E[alpha_s^2],
    C_Y^2 = R_Y^2, C_D^2 = R_D^2 / (1 - R_D^2).

    Parameters
    ----------
    effect, se : float or array-like
        Estimate and its standard error.
    scale : float or array-like
        S, as `sensitivity_parts(...).scale`.
    r2_outcome : float
        R_Y^2 in [0, 1]: share of the residual outcome variance that the confounder
        explains.
    r2_treatment : float
        R_D^2 in [0, 1): share of E[alpha^2] that is missing without the confounder,
        1 - E[alpha_s^2] / E[alpha^2].
    rho : float, default=1.0
        Correlation, in [0, 1], of the confounder's two effects; one is adversarial.
    level : float, default=0.95
        Of the limits.

    Returns
    -------
    OmittedVariableBounds

    Raises
    ------
    ValueError
        For numbers out of their ranges.

    Notes
    -----
    The limits are the estimate's, moved by the bias; the sampling error of S, which the
    bias multiplies by C_Y C_D, is left out. With three arms or more, or an arm
    that is itself the target, both shares are of the rows `sensitivity_parts` sums
    over, where [1]_ takes all rows: the bound is sharper, the derivation the same.

    References
    ----------
    .. [1] Chernozhukov, Cinelli, Newey, Sharma & Syrgkanis (2022). Long story short:
       omitted variable bias in causal machine learning. NBER working paper 30302.

    Examples
    --------
    >>> from causalweights.inference import omitted_variable_bounds
    >>> out = omitted_variable_bounds(
    ...     1.0, 0.1, 2.0, r2_outcome=0.2, r2_treatment=0.2
    ... )
    >>> round(out.lower, 3), round(out.upper, 3)
    (0.553, 1.447)
    """
    if not (0 <= r2_outcome <= 1 and 0 <= r2_treatment < 1 and 0 <= rho <= 1):
        raise ValueError(
            "r2_outcome and rho must lie in [0, 1], r2_treatment in [0, 1), got "
            f"{r2_outcome!r}, {rho!r} and {r2_treatment!r}."
        )
    effect, scale = _finite(effect, "effect"), _finite(scale, "scale", least=0.0)
    half = _quantile(level) * _finite(se, "se", least=0.0)
    bias = rho * scale * np.sqrt(r2_outcome * r2_treatment / (1 - r2_treatment))
    lower, upper = effect - bias, effect + bias
    ends = (bias, lower, upper, lower - half, upper + half)
    return OmittedVariableBounds(*map(_plain, ends))


def robustness_value(
    effect: Any, se: Any, scale: Any, *, null: float = 0.0, level: float = 0.95
) -> PointAndLimit:
    """Return the equal strengths at which the omitted-variable bound reaches a value.

    The smallest r = r2_outcome = r2_treatment (rho = 1) for which the bound on the
    effect, or its confidence limit, holds ``null``: the root of r^2 / (1 - r) = q^2,
    q = |effect - null| / S (less the interval's half width for the limit). Near one,
    nothing plausible explains the effect away; zero: nothing is needed.

    Parameters
    ----------
    effect, se, scale : float or array-like
        As in `omitted_variable_bounds`; scale is positive.
    null : float, default=0.0
    level : float, default=0.95

    Returns
    -------
    PointAndLimit

    Raises
    ------
    ValueError
        For numbers out of their ranges.

    Examples
    --------
    >>> from causalweights.inference import robustness_value
    >>> point, limit = robustness_value(1.0, 0.1, 2.0)
    >>> round(point, 3), round(limit, 3)
    (0.39, 0.329)
    """
    distance = np.abs(_finite(effect, "effect") - null)
    half = _quantile(level) * _finite(se, "se", least=0.0)
    scale = _finite(scale, "scale", least=0.0)
    if np.any(scale == 0):
        raise ValueError(
            "scale is zero: the outcome model leaves no residual, so that no "
            "confounder has anything to explain. Use out-of-fold predictions."
        )
    q = distance / scale, np.maximum(distance - half, 0.0) / scale
    return PointAndLimit(*(_plain(2 * v / (v + np.sqrt(v**2 + 4))) for v in q))


def _log_slope(kind: str, sd_outcome: float | None) -> float:
    """Return the log risk ratio of a unit of difference or of log (odds) ratio."""
    if kind != "difference":
        return 0.5 if kind == "odds_ratio" else 1.0
    if sd_outcome is None or not 0 < sd_outcome < np.inf:
        raise ValueError(
            "kind='difference' needs sd_outcome, the outcome's positive standard "
            f"deviation; got {sd_outcome!r}."
        )
    return _LOG_RATIO_OF_SD / sd_outcome


def _log_limit(value: Any, kind: str, slope: float) -> FloatArray:
    if kind == "difference":
        return slope * _finite(value, "limits")
    with np.errstate(divide="ignore"):  # a ratio's lower limit may be zero
        return slope * np.log(_finite(value, "limits", least=0.0))


def _plain(values: Any) -> Any:
    return float(values) if np.ndim(values) == 0 else values


def _quantile(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}.")
    return float(norm.ppf(0.5 + level / 2))


def _finite(values: Any, name: str, least: float = -np.inf) -> FloatArray:
    values = np.asarray(values, dtype=float)
    if not np.all(np.isfinite(values)) or np.any(values < least):
        raise ValueError(
            f"{name} must be finite{'' if least < 0 else ' and not negative'}, got "
            f"{values}."
        )
    return values
