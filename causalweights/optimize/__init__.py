"""Quadratic programs on simplices, with certificates; pure functions of arrays."""

from causalweights.optimize._certificate import frank_wolfe_gap
from causalweights.optimize._low_rank_qp import LowRankOperator
from causalweights.optimize._path import simplex_qp_path, simplex_qp_sequence
from causalweights.optimize._simplex_qp import SimplexQPResult, simplex_qp

__all__ = [
    "LowRankOperator",
    "SimplexQPResult",
    "frank_wolfe_gap",
    "simplex_qp",
    "simplex_qp_path",
    "simplex_qp_sequence",
]
