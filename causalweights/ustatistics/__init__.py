"""Uniform-transformer U-statistics: a map to the unit cube, and kernels there."""

from causalweights.ustatistics._effect import UniformTransformerEffect
from causalweights.ustatistics._second_order import second_order_effect
from causalweights.ustatistics._transformer import UniformTransformer

__all__ = ["UniformTransformer", "UniformTransformerEffect", "second_order_effect"]
