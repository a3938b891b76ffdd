"""From a weighter in any of its forms to masses of arms and target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from causalweights._typing import FloatArray
from causalweights._validation import Arms, focal_arm
from causalweights.balancing import IPMBalancer
from causalweights.crossfit import fit_with_weights
from causalweights.effects._outside import Outside, outside_of
from causalweights.inference import TargetModel, WeightModel
from causalweights.inference._sample import Sample


@dataclass(frozen=True, slots=True)
class ArmWeights:
    """Masses of the arms and of the target, and what is known of their estimation.

    Attributes
    ----------
    masses, target_masses : ndarray of shape (n,)
        Sum one in each arm (zeros without a weighter); sum one.
    model : WeightModel or None
        Of weights with finitely many parameters.
    weighter : estimator or None
        Fitted.
    label : str
    outside : Outside or None
        The target where it is not in the sample; `target_masses` are then zero.
    target_model : TargetModel or None
        Of a target that is itself estimated: the overlap population.
    """

    masses: FloatArray
    target_masses: FloatArray
    model: WeightModel | None
    weighter: Any
    label: str
    outside: Outside | None = None
    target_model: TargetModel | None = None


def resolve_weighter(weighter: Any, settings: dict[str, Any]) -> tuple[Any, dict]:
    """Return the estimator (None for none) and the agreed settings.

    ``settings`` holds estimand, control, focal and weight_type as given to the effect
    estimator (None: not given); a weighter's own values win and must not disagree.
    """
    if isinstance(weighter, str):
        if weighter != "ipm":
            raise ValueError(
                f"weighter={weighter!r}: use 'ipm', an estimator, a vector of weights "
                "or None."
            )
        agreed = {**settings, "estimand": settings["estimand"] or "ate"}
        return IPMBalancer(**agreed), agreed
    if isinstance(weighter, type):
        raise ValueError(
            f"weighter is the class {weighter.__name__}: pass an instance, "
            f"{weighter.__name__}()."
        )
    if weighter is None or not hasattr(weighter, "fit"):
        if weighter is not None and settings["estimand"] is None:
            raise ValueError(
                "weights given as a vector need estimand= ('ate', 'att' or 'atc'): "
                "they do not tell what they were made for."
            )
        return weighter, {**settings, "estimand": settings["estimand"] or "ate"}
    last = last_step(weighter)
    agreed = dict(settings)
    for name, value in settings.items():
        own = getattr(last, name, None)
        if own is None:
            continue
        given = value is not None and name != "weight_type"
        if (given and not _same(own, value)) or (
            name == "weight_type" and own != value
        ):
            raise ValueError(
                f"{name}={value!r} disagrees with the weighter's {name}={own!r}: give "
                "it in one place."
            )
        agreed[name] = own
    agreed["estimand"] = agreed["estimand"] or "ate"
    return weighter, agreed


def last_step(weighter: Any) -> Any:
    """Return the weighter itself, or the last step of a Pipeline or frozen one."""
    while True:
        if isinstance(weighter, Pipeline):
            weighter = weighter[-1]
        elif type(weighter).__name__ == "FrozenEstimator":
            weighter = weighter.estimator
        else:
            return weighter


def arm_weights(
    weighter: Any, sample: Sample, estimand: str, rows: np.ndarray
) -> ArmWeights:
    """Return the masses that a weighter (estimator, vector or None) gives the rows.

    ``rows`` marks which of the caller's rows the sample kept, for weights that were
    made of all of them.
    """
    arms, n = sample.arms, len(sample.y)
    s = sample.base
    if estimand == "ato" and not isinstance(weighter, BaseEstimator):
        raise ValueError(
            "estimand='ato' needs a weighter that defines the overlap population, "
            "such as PropensityWeighter(estimand='ato')."
        )
    focal = focal_arm(arms, estimand) if estimand != "ato" else None
    target = sample.target_masses(focal)
    if weighter is None:
        return ArmWeights(np.zeros(n), target, None, None, "none")
    if not isinstance(weighter, BaseEstimator):
        weights = _check_vector(weighter, len(rows))[rows]
        masses = _per_arm(s * weights, arms)
        return ArmWeights(masses, target, None, None, "given")
    if type(weighter).__name__ == "FrozenEstimator":
        fitted = weighter
    else:
        fitted = clone(weighter)
        last = last_step(fitted)
        if getattr(last, "control", arms) is None:
            # Labels lose the order of their categories here: name the control arm.
            last.set_params(control=arms.label(arms.control))
        labels = arms.treatments[arms.codes]
        fit_with_weights(fitted, sample.X, labels, sample.weight)
        rows = np.ones(n, dtype=bool)
    last = last_step(fitted)
    weights = getattr(last, "weights_", None)
    if weights is None or len(weights) != len(rows):
        size = "no weights_" if weights is None else f"weights of {len(weights)} rows"
        raise ValueError(
            f"weighter {type(last).__name__} has {size}, X has {len(rows)} rows: a "
            "weighter stores one weight a row in weights_ (a frozen one: of these same "
            "rows)."
        )
    masses = _per_arm(s * np.asarray(weights, dtype=np.float64)[rows], arms)
    if hasattr(last, "target_masses_"):
        target = last.target_masses_[rows]
    return ArmWeights(
        masses,
        target,
        _of_rows(last, "_weight_model", rows),
        fitted,
        _describe(last),
        outside_of(fitted, last),
        _of_rows(last, "_target_model", rows),
    )


def _of_rows(last: Any, name: str, rows: np.ndarray) -> Any:
    """Return a weighter's model of weights or target in the rows kept, or None."""
    model = getattr(last, name)() if hasattr(last, name) else None
    return model if model is None or np.all(rows) else model.take(rows)


def require_m_estimation(
    weights: ArmWeights, outcome_model: Any, smooth: bool, fixed_target: bool
) -> None:
    """Raise where estimating equations cannot be stacked, with the reason.

    ``smooth`` tells that the outcome model's coefficients solve score equations in
    sample.
    """
    models = (
        "least squares or logistic regression without a penalty fitted in sample "
        "(outcome_model=LinearRegression() or LogisticRegression(C=np.inf), cv=None)"
    )
    if weights.label == "none" and not smooth:
        raise ValueError(
            "weighter=None is regression adjustment: its standard error is known for "
            f"{models}. A flexible model needs weights to correct its bias: give a "
            "weighter."
        )
    if weights.label != "none" and weights.model is None:
        raise ValueError(
            "se='m_estimation' needs weights with finitely many estimated parameters, "
            f"which {weights.label} weights are not; use se='influence'."
        )
    if outcome_model is not None and not smooth:
        raise ValueError(
            f"se='m_estimation' stacks {models}, or no outcome model; use "
            "se='influence' with others."
        )
    if outcome_model is None and fixed_target:
        raise ValueError(
            "inference='sample' with se='m_estimation' needs residuals from an "
            "outcome model: give outcome_model=LinearRegression() and cv=None."
        )


def _check_vector(weights: Any, n: int) -> FloatArray:
    values = np.asarray(weights, dtype=np.float64)
    if values.shape != (n,):
        raise ValueError(
            f"weighter is a vector of shape {values.shape}, X has {n} rows: pass one "
            "weight a row."
        )
    if not np.all(np.isfinite(values)) or np.any(values < 0):
        raise ValueError("weights given as a vector must be finite and non-negative.")
    return values


def _per_arm(values: FloatArray, arms: Arms) -> FloatArray:
    totals = np.bincount(arms.codes, weights=values, minlength=arms.n_arms)
    if np.any(totals <= 0):
        empty = arms.label(int(np.argmin(totals)))
        raise ValueError(f"all weights of arm {empty!r} are zero.")
    return values / totals[arms.codes]


def _describe(last: Any) -> str:
    name = type(last).__name__
    discriminator = getattr(last, "discriminator", None)
    if discriminator is None:
        return name
    if not isinstance(discriminator, str):
        discriminator = type(discriminator).__name__.lower()
    return f"{name} ({discriminator})"


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, str) and isinstance(b, str):
        return a.lower() == b.lower()
    return bool(a == b)
