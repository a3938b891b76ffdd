"""Causal and reweighting estimators: weights, effects and their uncertainty.

Importing the package loads nothing else: every public name, listed in ``__all__``, is
imported when it is first asked for.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as _Any

if TYPE_CHECKING:
    from causalweights import (
        balancing,
        cate,
        datasets,
        diagnostics,
        discrepancy,
        displays,
        effects,
        inference,
        kernels,
        learners,
        moments,
        optimize,
        shift,
        ustatistics,
    )
    from causalweights.balancing import (
        EntropyBalancer,
        IndependenceBalancer,
        IPMBalancer,
        PropensityWeighter,
    )
    from causalweights.cate import DRLearner, PseudoOutcomeRegressor, RLearner
    from causalweights.diagnostics import balance_table, effective_sample_size
    from causalweights.displays import (
        CATEDisplay,
        LoveDisplay,
        OverlapDisplay,
        PathDisplay,
        UniformityDisplay,
        WeightsDisplay,
    )
    from causalweights.effects import WeightedEffect
    from causalweights.inference import EffectResult, compare
    from causalweights.learners import (
        LocalPolynomialRegressor,
        SeriesRegressor,
        StackedClassifier,
        StackedRegressor,
        WeightedKernelRidge,
    )
    from causalweights.moments import GEL, GMM, MMR, KernelIV, KernelMoments, LinearIV
    from causalweights.shift import (
        DoubleKernelMeanMatching,
        DoubleWeightingClassifier,
        ImportanceWeightedScorer,
        KernelMeanMatching,
        ShiftWeightedEstimator,
    )
    from causalweights.ustatistics import (
        UniformTransformer,
        UniformTransformerEffect,
    )

__version__ = "0.1.0"

__all__ = [
    "GEL",
    "GMM",
    "MMR",
    "CATEDisplay",
    "DRLearner",
    "DoubleKernelMeanMatching",
    "DoubleWeightingClassifier",
    "EffectResult",
    "EntropyBalancer",
    "IPMBalancer",
    "ImportanceWeightedScorer",
    "IndependenceBalancer",
    "KernelIV",
    "KernelMeanMatching",
    "KernelMoments",
    "LinearIV",
    "LocalPolynomialRegressor",
    "LoveDisplay",
    "OverlapDisplay",
    "PathDisplay",
    "PropensityWeighter",
    "PseudoOutcomeRegressor",
    "RLearner",
    "SeriesRegressor",
    "ShiftWeightedEstimator",
    "StackedClassifier",
    "StackedRegressor",
    "UniformTransformer",
    "UniformTransformerEffect",
    "UniformityDisplay",
    "WeightedEffect",
    "WeightedKernelRidge",
    "WeightsDisplay",
    "__version__",
    "balance_table",
    "balancing",
    "cate",
    "compare",
    "datasets",
    "diagnostics",
    "discrepancy",
    "displays",
    "effective_sample_size",
    "effects",
    "inference",
    "kernels",
    "learners",
    "moments",
    "optimize",
    "shift",
    "ustatistics",
]

# The room each re-exported name lives in; every other public name is a room itself.
_ROOM_OF = {
    "CATEDisplay": "displays",
    "DRLearner": "cate",
    "DoubleKernelMeanMatching": "shift",
    "DoubleWeightingClassifier": "shift",
    "EffectResult": "inference",
    "EntropyBalancer": "balancing",
    "GEL": "moments",
    "GMM": "moments",
    "MMR": "moments",
    "IPMBalancer": "balancing",
    "ImportanceWeightedScorer": "shift",
    "IndependenceBalancer": "balancing",
    "KernelIV": "moments",
    "KernelMeanMatching": "shift",
    "KernelMoments": "moments",
    "LinearIV": "moments",
    "LocalPolynomialRegressor": "learners",
    "LoveDisplay": "displays",
    "OverlapDisplay": "displays",
    "PathDisplay": "displays",
    "PropensityWeighter": "balancing",
    "PseudoOutcomeRegressor": "cate",
    "RLearner": "cate",
    "SeriesRegressor": "learners",
    "ShiftWeightedEstimator": "shift",
    "StackedClassifier": "learners",
    "StackedRegressor": "learners",
    "UniformTransformer": "ustatistics",
    "UniformTransformerEffect": "ustatistics",
    "UniformityDisplay": "displays",
    "WeightedEffect": "effects",
    "WeightedKernelRidge": "learners",
    "WeightsDisplay": "displays",
    "balance_table": "diagnostics",
    "compare": "inference",
    "effective_sample_size": "diagnostics",
}


def __getattr__(name: str) -> _Any:
    """Import a public name when it is first used (PEP 562)."""
    if name in _ROOM_OF:
        value = getattr(_import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
    elif name in __all__:
        value = _import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
