"""A fit's rows of one contrast, a row a unit, as the evaluation functions take them."""

from __future__ import annotations

from typing import Any

import numpy as np

from causalweights._typing import FloatArray
from causalweights.cate._first_stage import FirstStage


def unit_rows(first: FirstStage, rep: int, k: int, effects: Any) -> dict[str, Any]:
    """Return keyword arguments of `average_effect` and its kin.

    Parameters
    ----------
    first : FirstStage
    rep, k : int
        Repetition, and arm; a dose has one dummy arm.
    effects : callable
        Returns effects (n,) out of fold, called where only the overall mean was fitted:
        then mu_1 = eta + kappa tau and mu_0 = eta - pi tau.
    """
    cross, y = first.crosses[rep], first.data.y
    found: dict[str, Any] = {"y": y, "groups": first.groups}
    found["frequency" if first.frequency else "sample_weight"] = first.data.weight
    p = first.by_unit(rep, "propensity")
    if cross.mean is not None:
        found["mean"] = first.by_unit(rep, "mean")
    if first.arms is None:
        return found | {"treatment": first.data.a, "propensity": p}
    control, code = first.arms.control, first.data.a
    found["treatment"] = np.where(
        code == k, 1.0, np.where(code == control, 0.0, np.nan)
    )
    found["propensity"], found["complement"] = p[:, k], p[:, control]
    if cross.means is not None:
        means = first.by_unit(rep, "means")
        return found | {"mean_0": means[:, control], "mean_1": means[:, k]}
    tau: FloatArray = effects()
    mean = found["mean"]
    return found | {
        "mean_0": mean - p[:, k] * tau, "mean_1": mean + p[:, control] * tau,
    }  # fmt: skip
