"""IPM covariate balancing and the classical weighters."""

from causalweights.balancing._entropy import EntropyBalancer
from causalweights.balancing._independence import IndependenceBalancer
from causalweights.balancing._ipm import IPMBalancer
from causalweights.balancing._propensity import PropensityWeighter
from causalweights.balancing._ridge_choice import (
    RidgePath,
    marginal_likelihood_ridge,
    ridge_path,
)

__all__ = [
    "EntropyBalancer",
    "IPMBalancer",
    "IndependenceBalancer",
    "PropensityWeighter",
    "RidgePath",
    "marginal_likelihood_ridge",
    "ridge_path",
]
