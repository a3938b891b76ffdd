"""Pictures of balance, overlap, weights, uniformity (needs matplotlib: ``plot``)."""

from causalweights.displays._love import LoveDisplay
from causalweights.displays._overlap import OverlapDisplay
from causalweights.displays._path import PathDisplay
from causalweights.displays._uniformity import UniformityDisplay
from causalweights.displays._weights import WeightsDisplay

__all__ = [
    "LoveDisplay",
    "OverlapDisplay",
    "PathDisplay",
    "UniformityDisplay",
    "WeightsDisplay",
]
