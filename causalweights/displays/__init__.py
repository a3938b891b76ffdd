"""Pictures of balance, overlap, weights and effects (needs matplotlib: ``plot``)."""

from causalweights.displays._cate import CATEDisplay
from causalweights.displays._love import LoveDisplay
from causalweights.displays._overlap import OverlapDisplay
from causalweights.displays._path import PathDisplay
from causalweights.displays._shift_path import ShiftPathDisplay
from causalweights.displays._uniformity import UniformityDisplay
from causalweights.displays._weights import WeightsDisplay

__all__ = [
    "CATEDisplay",
    "LoveDisplay",
    "OverlapDisplay",
    "PathDisplay",
    "ShiftPathDisplay",
    "UniformityDisplay",
    "WeightsDisplay",
]
