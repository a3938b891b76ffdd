"""What every average-effect estimator stores, and how it reports it."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted, validate_data

from causalweights._formula import rows_by_formula
from causalweights._from_formula import EffectFormulaMixin
from causalweights._typing import FloatArray
from causalweights.inference._result import EffectResult
from causalweights.inference._sample import Estimate, Sample

TITLES = {
    "ate": "Average treatment effect",
    "att": "Average treatment effect on the treated",
    "atc": "Average treatment effect on the controls",
    "ato": "Average treatment effect on the overlap population",
}


class EffectMixin(EffectFormulaMixin):
    """Effects with their uncertainty, stored alike and told by an `EffectResult`."""

    contrast: str
    result_: EffectResult

    def _store_estimate(
        self,
        found: Estimate,
        sample: Sample,
        masses: FloatArray | None,
        estimand: str,
        rows: np.ndarray,
        details: dict[str, Any],
    ) -> None:
        """Store effects, arm means and the result.

        ``masses`` are the kept rows', None without weights; ``rows`` is the mask of
        kept ones; ``details`` come first in the summary's head.
        """
        binary = len(found.effect) == 1
        se = np.sqrt(np.diag(found.cov))
        self.effect_ = float(found.effect[0]) if binary else found.effect
        self.se_ = float(se[0]) if binary else se
        self.means_, self.means_cov_, self.cov_ = (
            found.means, found.means_cov, found.cov
        )  # fmt: skip
        self.influence_ = None
        if found.influence is not None:
            influence = np.zeros((len(rows), len(found.effect)))
            influence[rows] = found.influence
            self.influence_ = influence[:, 0] if binary else influence
        arms = sample.arms
        self.estimand_, self.treatments_ = estimand, arms.treatments
        self.control_ = arms.label(arms.control)
        self.focal_ = arms.label(arms.focal) if arms.focal >= 0 else None
        copies = sample.copies
        details = {**details, **found.details}
        if masses is not None:
            squares = np.bincount(arms.codes, weights=masses**2 / copies)
            counts = np.bincount(arms.codes, weights=copies)
            for k in range(arms.n_arms):
                size = f"{1 / squares[k]:.1f} of {counts[k]:g}"
                details[f"ESS {arms.label(k)}"] = size
        self.result_ = EffectResult(
            self.effect_,
            self.se_,
            found.cov,
            names=[f"{arms.label(k)} vs {self.control_}" for k in arms.contrasts()],
            contrast=self.contrast,
            estimand=estimand,
            n_samples=round(copies.sum()),
            details=details,
            title=TITLES[estimand],
            sensitivity=found.sensitivity,
            draws=found.draws,
        )

    def predict(self, X: Any) -> FloatArray:
        """Return the average effect, one value (K-1 for K > 2 arms) a row of X."""
        check_is_fitted(self)
        X = rows_by_formula(self, X)
        X = validate_data(self, X, dtype=None, reset=False)
        return np.repeat(np.asarray(self.effect_)[None], X.shape[0], axis=0)

    def conf_int(self, level: float = 0.95) -> FloatArray:
        """Return confidence intervals, (K-1, 2): see `EffectResult.conf_int`."""
        check_is_fitted(self)
        return self.result_.conf_int(level)

    def summary(self, level: float = 0.95, *, sensitivity: bool = False) -> Any:
        """Return a statsmodels Summary: see `EffectResult.summary`."""
        check_is_fitted(self)
        return self.result_.summary(level, sensitivity=sensitivity)

    def to_frame(self, level: float = 0.95) -> Any:
        """Return a DataFrame: see `EffectResult.to_frame`."""
        check_is_fitted(self)
        return self.result_.to_frame(level)

    def to_latex(self, level: float = 0.95) -> str:
        """Return a LaTeX tabular: see `EffectResult.to_latex`."""
        check_is_fitted(self)
        return self.result_.to_latex(level)

    def to_html(self, level: float = 0.95) -> str:
        """Return an HTML table: see `EffectResult.to_html`."""
        check_is_fitted(self)
        return self.result_.to_html(level)


def model_name(model: Any) -> str:
    """Return what a summary calls an outcome model."""
    if model is None:
        return "none"
    if isinstance(model, str):
        return model
    last = model[-1] if isinstance(model, Pipeline) else model
    return type(last).__name__
