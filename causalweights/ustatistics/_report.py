"""What a fit tells: the summary's head, and warnings where theory says it is weak."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from causalweights._typing import FloatArray
from causalweights.diagnostics import rank_dependence
from causalweights.inference._effect_mixin import model_name
from causalweights.inference._sample import Sample
from causalweights.ustatistics._estimate import UStatistic
from causalweights.ustatistics._transformer import UniformTransformer

# A rank correlation of the reference that matters, and its significance.
_DEPENDENT, _LEVEL = 0.1, 0.01
# Beyond these covariates a kernel without an outcome model leaves most of the bias.
_MOST_COVARIATES = 4


def details_of(effect: Any, fitted: UStatistic, sample: Sample) -> dict[str, Any]:
    """Return what the summary's head tells of the options."""
    arms, head = sample.arms, {}
    if effect.basis is None:
        head["Kernel"] = f"{effect.kernel}, {effect.boundary}, {effect.normalization}"
        for k, fit in fitted.fits.items():
            head[f"Bandwidth {arms.label(k)}"] = f"{fit.bandwidth:.3g}"
    else:
        head["Basis"] = f"{effect.basis}, degree {effect.degree}, {effect.basis_gram}"
    model = "linear" if isinstance(effect.augment, str) else effect.augment
    clustered = ", clustered" if sample.groups is not None else ""
    return {
        "Weights": f"{map_name(effect.transformer)} map",
        "Outcome model": model_name(model),
        **head,
        "Std. error": f"{effect.se}{clustered}",
    }


def map_name(transformer: Any) -> str:
    """Return what a summary calls the map."""
    if isinstance(transformer, str):
        return transformer
    if isinstance(transformer, UniformTransformer):
        return transformer.kind
    return getattr(transformer, "__name__", type(transformer).__name__)


def warn_of(effect: Any, fitted: UStatistic, sample: Sample) -> None:
    """Warn of targets out of reach and of forms that theory says are weak."""
    arms, kernel = sample.arms, effect.basis is None
    for k, fit in fitted.fits.items():
        label = arms.label(k)
        lost = int(fit.imputation.unsupported.sum())
        if lost:
            _warn(
                f"{lost} of {len(fit.imputation.unsupported)} target rows have no row "
                f"of arm {label!r} in reach of the kernel, and got the nearest one's "
                "outcome: increase bandwidth, or check overlap."
            )
        if fit.fell_back:
            _warn(
                f"the kernel takes negative values that leave target rows of arm "
                f"{label!r} hardly any weight: normalization='global' was used. "
                "Increase bandwidth, or use a kernel of order 2."
            )
        used_global = effect.normalization == "global" or fit.fell_back
        if kernel and used_global and _leaves_dependence(effect.transformer):
            strength, pvalue, _ = rank_dependence(fit.images, fit.base)
            if strength > _DEPENDENT and pvalue < _LEVEL:
                _warn(
                    f"normalization='global' with transformer={effect.transformer!r}: "
                    f"the map leaves the covariates of arm {label!r} dependent (rank "
                    f"correlation {strength:.2f}), so the estimate is inconsistent. "
                    "Use normalization='per_target', or transformer='joint'."
                )
    d = next(iter(fitted.fits.values())).images.shape[1]
    if kernel and d > _MOST_COVARIATES and effect.augment is None:
        _warn(
            f"a kernel of {d} covariates without an outcome model leaves most of the "
            "bias: set augment='linear', or basis='polynomial'."
        )


def _leaves_dependence(transformer: Any) -> bool:
    return map_name(transformer) in ("rank", "marginal")


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)


def attributes_of(
    fitted: UStatistic, X: FloatArray, sample: Sample, rows: np.ndarray
) -> dict[str, Any]:
    """Return weights of all rows, zero on those left out, and facts by arm."""
    arms, codes = sample.arms, sample.arms.codes
    total = np.bincount(codes, weights=sample.base)[codes]
    kept = {
        "weights_": fitted.masses * total / sample.base,
        "masses_": fitted.masses,
        "target_masses_": fitted.target_masses,
    }
    found: dict[str, Any] = {name: np.zeros(len(rows)) for name in kept}
    for name, values in kept.items():
        found[name][rows] = values
    squares = np.bincount(codes, weights=fitted.masses**2 / sample.copies)
    found["ess_"] = {arms.label(k): float(1 / v) for k, v in enumerate(squares)}
    return found | _of_reference_arms(fitted, X, sample)


def _of_reference_arms(
    fitted: UStatistic, X: FloatArray, sample: Sample
) -> dict[str, dict[Any, Any]]:
    """Return what there is of each reference arm, by its label."""
    names = ("bandwidth_", "maps_", "n_unsupported_", "frac_weakly_supported_")
    found: dict[str, dict[Any, Any]] = {
        name: {} for name in (*names, "frac_out_of_range_")
    }
    for k, fit in fitted.fits.items():
        label, own = sample.arms.label(k), sample.arms.codes == k
        targets = X[~own & (fitted.target_masses > 0)]
        low, high = X[own].min(axis=0), X[own].max(axis=0)
        found["bandwidth_"][label] = fit.bandwidth
        found["maps_"][label] = fitted.maps[k]
        found["n_unsupported_"][label] = int(fit.imputation.unsupported.sum())
        weak = float(fit.imputation.weakly_supported.mean())
        found["frac_weakly_supported_"][label] = weak
        beyond = np.mean((targets < low) | (targets > high), axis=0)
        found["frac_out_of_range_"][label] = beyond
    return found
