"""The overlap population as a target: rows count by how much the arms overlap there.

Li, Morgan & Zaslavsky (2018) and, for several arms, Li & Li (2019): the target's
density relative to the sample is h(x) = 1 / sum_k 1 / e_k(x), e(1 - e) for two arms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from causalweights.balancing._tilting import SEPARATION, overlap_tilt
from causalweights.balancing._weighter import Design, _BaseWeighter
from causalweights.inference import TargetModel


@dataclass(frozen=True, slots=True, eq=False)
class OverlapTarget:
    """An overlap population by a logistic propensity.

    Attributes
    ----------
    propensity : fitted classifier
    model : TargetModel
        What its estimation adds, in the caller's rows of the fit.
    """

    propensity: Any
    model: TargetModel

    @classmethod
    def of(cls, design: Design, weight_type: str) -> OverlapTarget:
        """Fit the unpenalised logistic propensity of a design's rows."""
        # scikit-learn's linear models take a tenth of a second to import.
        from causalweights.balancing._logistic import target_model
        from causalweights.balancing._propensity_model import fit_propensity

        found = fit_propensity(None, design, weight_type=weight_type)
        if found.scores is None:
            raise ValueError(
                "estimand='ato': the logistic propensity that defines the overlap "
                "population did not converge. Rescale or drop nearly collinear "
                "covariates."
            )
        return cls(found.model, target_model(found.scores, found.e, design.rows))

    def on(self, design: Design) -> Design:
        """Return the design with the overlap population of its rows as target."""
        tilt = overlap_tilt(np.asarray(self.propensity.predict_proba(design.X)))
        if np.max(tilt) <= SEPARATION:
            raise ValueError(
                "estimand='ato': a logistic propensity separates the arms, so no row "
                "is in the overlap population. Drop the covariate that tells the arms "
                "apart, or ask for another estimand."
            )
        return replace(design, tilt=tilt)


class _TargetsOverlap(_BaseWeighter):
    """A weighter that takes the overlap population for its target, if asked."""

    def _targeted(self, design: Design, fitting: bool) -> Design:
        if design.estimand != "ato":
            return design
        if fitting:
            self._overlap = OverlapTarget.of(design, self.weight_type)
        return self._overlap.on(design)

    def _target_model(self) -> TargetModel | None:
        """Return how an overlap population follows the propensity, None for others."""
        return self._overlap.model if self.estimand_ == "ato" else None
