"""Quadratic programs on simplices, with certificates; pure functions of arrays."""

from causalweights.optimize._certificate import frank_wolfe_gap
from causalweights.optimize._simplex_qp import SimplexQPResult, simplex_qp

__all__ = ["SimplexQPResult", "frank_wolfe_gap", "simplex_qp"]
