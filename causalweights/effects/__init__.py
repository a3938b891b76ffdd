"""Average effects from any weighter and an optional outcome model."""

from causalweights.effects._weighted_effect import WeightedEffect

__all__ = ["WeightedEffect"]
