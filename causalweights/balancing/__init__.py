"""IPM covariate balancing and the classical weighters."""

from causalweights.balancing._entropy import EntropyBalancer
from causalweights.balancing._ipm import IPMBalancer
from causalweights.balancing._propensity import PropensityWeighter

__all__ = ["EntropyBalancer", "IPMBalancer", "PropensityWeighter"]
