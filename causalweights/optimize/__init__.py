"""Quadratic programs on simplices and boxes, with certificates; functions of arrays."""

from causalweights.optimize._ball_path import BallPath, ball_path
from causalweights.optimize._box_problem import Ball
from causalweights.optimize._box_qp import BoxMultipliers, BoxQPResult, box_qp
from causalweights.optimize._certificate import frank_wolfe_gap
from causalweights.optimize._cutting_planes import SupremumResult, simplex_supremum
from causalweights.optimize._low_rank_qp import LowRankOperator
from causalweights.optimize._minimax import MinimaxResult, simplex_minimax
from causalweights.optimize._path import simplex_qp_path, simplex_qp_sequence
from causalweights.optimize._projection import project_box_ball
from causalweights.optimize._simplex_qp import SimplexQPResult, simplex_qp
from causalweights.optimize._transport import TransportResult, transport_weights

__all__ = [
    "Ball",
    "BallPath",
    "BoxMultipliers",
    "BoxQPResult",
    "LowRankOperator",
    "MinimaxResult",
    "SimplexQPResult",
    "SupremumResult",
    "TransportResult",
    "ball_path",
    "box_qp",
    "frank_wolfe_gap",
    "project_box_ball",
    "simplex_minimax",
    "simplex_qp",
    "simplex_qp_path",
    "simplex_qp_sequence",
    "simplex_supremum",
    "transport_weights",
]
