"""Pictures of balance, overlap and weights (needs matplotlib, the extra ``plot``)."""

from causalweights.displays._love import LoveDisplay
from causalweights.displays._overlap import OverlapDisplay
from causalweights.displays._path import PathDisplay
from causalweights.displays._weights import WeightsDisplay

__all__ = ["LoveDisplay", "OverlapDisplay", "PathDisplay", "WeightsDisplay"]
