"""Pseudo-outcomes f and weights w: regress f on X with weights w (Fisher, ICML 2024).

All of them have the conditional mean tau(x) = mu_1(x) - mu_0(x) at the true nuisances.
What a weight may depend on is section 3 of the paper: on covariates alone, or on
(A - pi)^2 together with the pseudo-outcome "u".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from causalweights._typing import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Nuisances:
    """Rows of one contrast with nuisance predictions that did not see them.

    Attributes
    ----------
    y : ndarray of shape (n,)
        Outcome.
    a : ndarray of shape (n,)
        One in the treated arm, zero in the control arm, NaN in others; or the dose.
    propensity, complement : ndarray of shape (n,)
        pi, and the probability of the control arm kappa (1 - pi for two arms, unless
        estimated separately); for a dose E(A | X) and NaN.
    mean_0, mean_1 : ndarray of shape (n,) or None
        mu_0 and mu_1.
    mean : ndarray of shape (n,) or None
        eta = E(Y | X), among rows of the two arms.
    variance_0, variance_1 : ndarray of shape (n,) or None
        Noise by arm, for ``weights="het"``.
    """

    y: FloatArray
    a: FloatArray
    propensity: FloatArray
    complement: FloatArray
    mean_0: Any = None
    mean_1: Any = None
    mean: Any = None
    variance_0: Any = None
    variance_1: Any = None

    @property
    def pair_propensity(self) -> FloatArray:
        """Probability of the treated arm among rows of the two arms."""
        if np.all(np.isnan(self.complement)):
            return self.propensity
        return self.propensity / (self.propensity + self.complement)

    @property
    def residual(self) -> FloatArray:
        """A - pi; zero in arms beyond the pair."""
        return np.nan_to_num(self.a - self.pair_propensity)

    @property
    def treated(self) -> FloatArray:
        return (self.a == 1).astype(np.float64)

    @property
    def control(self) -> FloatArray:
        return (self.a == 0).astype(np.float64)


# ---- pseudo-outcomes ---------------------------------------------------------------


def plugin(v: Nuisances) -> FloatArray:
    """Return mu_1 - mu_0."""
    return v.mean_1 - v.mean_0


def inverse_probability(v: Nuisances) -> FloatArray:
    """Return A Y / pi - (1 - A) Y / kappa, the transformed outcome."""
    return v.treated * v.y / v.propensity - v.control * v.y / v.complement


def regression_adjusted(v: Nuisances) -> FloatArray:
    """Return A (Y - mu_0) + (1 - A) (mu_1 - Y)."""
    return np.where(v.a == 1, v.y - v.mean_0, v.mean_1 - v.y)


def residual_ratio(v: Nuisances) -> FloatArray:
    """Return (Y - eta) / (A - pi); zero where A = pi, whose weight is zero."""
    rest = v.residual
    return np.divide(v.y - v.mean, rest, out=np.zeros_like(rest), where=rest != 0)


def doubly_robust(v: Nuisances) -> FloatArray:
    """Return mu_1 - mu_0 + A (Y - mu_1) / pi - (1 - A) (Y - mu_0) / kappa."""
    gain = v.treated * (v.y - v.mean_1) / v.propensity
    return v.mean_1 - v.mean_0 + gain - v.control * (v.y - v.mean_0) / v.complement


def covariance_ratio(v: Nuisances) -> FloatArray:
    """Return (A - pi) (Y - eta) / (pi kappa)."""
    pi = v.pair_propensity
    return (v.a - pi) * (v.y - v.mean) / (pi * (1 - pi))


# ---- weights -----------------------------------------------------------------------


def uniform(v: Nuisances) -> FloatArray:
    """Return ones."""
    return np.ones(len(v.y))


def overlap(v: Nuisances) -> FloatArray:
    """Return 1 / (1 / pi + 1 / kappa), for two arms pi kappa."""
    return v.propensity * v.complement / (v.propensity + v.complement)


def pair_overlap(v: Nuisances) -> FloatArray:
    """Return pi kappa, of rows of the two arms."""
    pi = v.pair_propensity
    return pi * (1 - pi)


def residual_square(v: Nuisances) -> FloatArray:
    """Return (A - pi)^2, which makes the regression of "u" the R-learner."""
    return v.residual**2


def covariates_only(v: Nuisances) -> FloatArray:
    """Return 1 / E[(A - pi)^-2 | X] = pi^2 kappa^2 / (pi^3 + kappa^3)."""
    pi = v.pair_propensity
    return (pi * (1 - pi)) ** 2 / (pi**3 + (1 - pi) ** 3)


def heteroscedastic(v: Nuisances) -> FloatArray:
    """Return 1 / (sigma_1^2 / pi + sigma_0^2 / kappa)."""
    return 1 / (v.variance_1 / v.propensity + v.variance_0 / v.complement)


# ---- which goes with which ---------------------------------------------------------

Column = Callable[[Nuisances], FloatArray]


@dataclass(frozen=True, slots=True)
class PseudoOutcome:
    """A pseudo-outcome, the nuisances it needs, and the weights it may go with.

    ``needs`` is the outcome nuisance, ``"means"`` by arm or the overall ``"mean"``;
    ``pairs`` marks those that only rows of the two arms have, ``dose`` those that a
    continuous treatment has.
    """

    function: Column
    needs: str | None
    weights: dict[str, Column]
    pairs: bool = False
    dose: bool = False


PSEUDO_OUTCOMES = {
    "plugin": PseudoOutcome(plugin, "means", {"uniform": uniform}),
    "ipw": PseudoOutcome(
        inverse_probability, None, {"uniform": uniform}
    ),
    "ra": PseudoOutcome(
        regression_adjusted, "means", {"uniform": uniform}, pairs=True
    ),
    "x": PseudoOutcome(
        regression_adjusted, "means", {"uniform": uniform},
        pairs=True,
    ),
    "u": PseudoOutcome(
        residual_ratio, "mean",
        {"uniform": uniform, "ivw": residual_square, "r": residual_square,
         "x_only": covariates_only},
        pairs=True, dose=True,
    ),
    "dr": PseudoOutcome(
        doubly_robust, "means",
        {"uniform": uniform, "ivw": overlap, "het": heteroscedastic},
    ),
    "cov": PseudoOutcome(
        covariance_ratio, "mean",
        {"uniform": uniform, "ivw": pair_overlap}, pairs=True,
    ),
}  # fmt: skip

# Why a combination is refused.
_REASONS = {
    "r": "weights (A - pi)^2 depend on the treatment; with any pseudo-outcome but 'u' "
    "that biases the estimate to first order in the outcome models' error",
    "ivw": "its variance given the covariates is not known from the propensity",
    "het": "dividing its weights by the noise is not orthogonal; the inverse variance "
    "of 'dr' is",
    "x_only": "these weights are the inverse variance of 'u'",
}


def check_weights(pseudo_outcome: str, weights: Any) -> None:
    """Refuse weights that the theory forbids with a pseudo-outcome, with the reason."""
    allowed = PSEUDO_OUTCOMES[pseudo_outcome].weights
    if callable(weights) or weights in allowed:
        return
    raise ValueError(
        f"weights={weights!r} with pseudo_outcome={pseudo_outcome!r}: "
        f"{_REASONS[weights]}. Use weights="
        f"{' or '.join(repr(name) for name in allowed)}."
    )


def pseudo_outcome_and_weights(
    pseudo_outcome: str, weights: Any, v: Nuisances
) -> tuple[FloatArray, FloatArray]:
    """Return f and w; both zero on rows that the pseudo-outcome does not have.

    Parameters
    ----------
    pseudo_outcome : str
        A name of `PSEUDO_OUTCOMES`.
    weights : str or callable
        A function gets pi and kappa, and must return one weight a row.
    v : Nuisances
    """
    kind = PSEUDO_OUTCOMES[pseudo_outcome]
    rows = np.isfinite(v.a) if kind.pairs else np.ones(len(v.a), dtype=bool)
    with np.errstate(invalid="ignore"):  # arms beyond the pair have a = NaN
        f = np.where(rows, kind.function(v), 0.0)
        if callable(weights):
            w = np.asarray(weights(v.propensity, v.complement), dtype=np.float64)
        else:
            w = np.where(rows, kind.weights[weights](v), 0.0)
    if w.shape != f.shape or not np.all(np.isfinite(w) & (w >= 0)) or not np.any(w):
        raise ValueError(
            "weights must return one finite, non-negative number a row, and not zeros "
            "alone."
        )
    return f, np.where(rows, w, 0.0)
