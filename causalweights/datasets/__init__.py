"""Real data with published answers, and simulators with known truth.

Loaders read the CSV files shipped with the package (no download) and return a
``sklearn.utils.Bunch``; simulators return arrays together with the propensity, the mean
of each arm and the true effect.
"""

from __future__ import annotations

from causalweights.datasets._economics import load_401k, load_ajr, load_card
from causalweights.datasets._health import (
    load_actg175,
    load_birthweight,
    load_nhefs,
)
from causalweights.datasets._ihdp import load_ihdp
from causalweights.datasets._jobs import (
    load_lalonde,
    load_nsw,
    load_nsw_cps,
    load_nsw_psid,
)
from causalweights.datasets._nie_wager import make_nie_wager
from causalweights.datasets._simulators import (
    make_kang_schafer,
    make_kong_heterogeneous,
)
from causalweights.datasets._ustatistic_designs import (
    make_dependent_normals,
    make_rough_ratio,
    make_tilted_cube,
)

__all__ = [
    "load_401k",
    "load_actg175",
    "load_ajr",
    "load_birthweight",
    "load_card",
    "load_ihdp",
    "load_lalonde",
    "load_nhefs",
    "load_nsw",
    "load_nsw_cps",
    "load_nsw_psid",
    "make_dependent_normals",
    "make_kang_schafer",
    "make_kong_heterogeneous",
    "make_nie_wager",
    "make_rough_ratio",
    "make_tilted_cube",
]
