"""Reference rows of the U-statistic's designs, by an independent implementation.

Measured with numpy, brute-force kernel sums and random cuts; the tables of Yu & Wang
were not available, so none of this is theirs. Where a bias and a standard deviation
were given, the RMSE follows.
"""

from __future__ import annotations

import numpy as np
from reference import Reference


def _rows(reps: int, table: dict[str, tuple[float, float]]) -> dict[str, Reference]:
    """Return the rows of {name: (bias, RMSE)}."""
    return {
        f"att/{name}": Reference(bias, rmse, None, reps)
        for name, (bias, rmse) in table.items()
    }


def _spread(reps: int, table: dict[str, tuple[float, float]]) -> dict[str, Reference]:
    """Return the rows of {name: (bias, SD)}."""
    return _rows(reps, {k: (b, float(np.hypot(b, sd))) for k, (b, sd) in table.items()})


def _raw(table: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    return {f"{name}/raw": row for name, row in table.items()}


USTATISTIC_REFERENCE: dict[tuple[str, int], dict[str, Reference]] = {
    ("rough_03", 500): _rows(
        200,
        _raw(
            {
                "h=1/n": (0.040, 0.141),
                "h=2/n": (0.057, 0.133),
                "h=4/n": (0.084, 0.146),
                "h=density-optimal": (0.149, 0.198),
                "h=n^-1/3": (0.413, 0.452),
                "h=n^-1/5": (0.561, 0.602),
                "logistic 2": (0.221, 0.286),
                "entropy 2": (0.243, 0.292),
                "least squares 2": (0.234, 0.285),
                "projection 2": (0.299, 0.344),
                "none": (0.595, 0.638),
            }
        ),
    ),
    ("rough_03", 2000): _rows(
        100,
        _raw(
            {
                "h=1/n": (0.002, 0.071),
                "h=2/n": (0.005, 0.060),
                "h=4/n": (0.014, 0.058),
                "h=density-optimal": (0.065, 0.087),
                "h=n^-1/3": (0.321, 0.332),
                "h=n^-1/5": (0.530, 0.540),
                "logistic 2": (0.220, 0.236),
                "entropy 2": (0.261, 0.278),
                "least squares 2": (0.246, 0.263),
                "projection 2": (0.293, 0.305),
                "none": (0.621, 0.631),
            }
        ),
    ),
    ("rough_1", 500): _rows(
        200,
        _raw(
            {
                "h=1/n": (0.008, 0.128),
                "h=2/n": (0.013, 0.109),
                "h=4/n": (0.017, 0.099),
                "h=n^-1/3": (0.253, 0.279),
                "logistic 2": (0.076, 0.168),
                "entropy 2": (0.173, 0.229),
                "least squares 2": (0.126, 0.199),
                "projection 2": (0.070, 0.123),
            }
        ),
    ),
    ("rough_1", 2000): _rows(
        100,
        _raw(
            {
                "h=1/n": (0.000, 0.066),
                "h=2/n": (-0.001, 0.059),
                "h=4/n": (0.001, 0.055),
                "h=n^-1/3": (0.138, 0.148),
                "logistic 2": (0.071, 0.104),
                "entropy 2": (0.203, 0.220),
                "least squares 2": (0.144, 0.164),
                "projection 2": (0.062, 0.083),
            }
        ),
    ),
    ("cube_1", 400): _spread(
        300,
        _raw(
            {
                "joint none global": (0.005, 0.132),
                "joint reflect global": (0.003, 0.132),
                "joint renorm global": (0.003, 0.132),
                "joint none per_target": (0.003, 0.133),
                "marginal reflect global": (0.003, 0.132),
                "known reflect global": (0.003, 0.133),
                "known reflect none": (0.000, 0.177),
                "joint projection 2": (0.002, 0.123),
                "none": (0.143, 0.118),
            }
        ),
    ),
    ("cube_2", 400): _spread(
        300,
        _raw(
            {
                "joint none global": (0.067, 0.116),
                "joint reflect global": (0.026, 0.114),
                "joint renorm global": (0.031, 0.115),
                "joint none per_target": (0.031, 0.116),
                "marginal reflect global": (0.011, 0.118),
                "known reflect global": (0.011, 0.126),
                "known reflect none": (0.011, 0.195),
                "joint projection 2": (0.023, 0.119),
                "none": (0.314, 0.116),
            }
        ),
    ),
    ("cube_3", 400): _spread(
        200,
        _raw(
            {
                "joint none global": (0.183, 0.115),
                "joint reflect global": (0.107, 0.120),
                "joint renorm global": (0.134, 0.119),
                "joint none per_target": (0.131, 0.117),
                "marginal reflect global": (0.054, 0.124),
                "known reflect global": (0.059, 0.134),
                "known reflect none": (0.055, 0.249),
                "joint projection 2": (0.048, 0.125),
                "none": (0.444, 0.129),
            }
        ),
    ),
    ("dependent_2", 500): _rows(
        300,
        {
            "joint global/raw": (0.121, 0.174),
            "joint per_target/raw": (0.090, 0.152),
            "marginal global/raw": (-0.681, 0.717),
            "marginal per_target/raw": (0.046, 0.132),
            "joint gaussian4 wide/raw": (0.113, 0.169),
            "joint global/linear": (0.043, 0.126),
            "marginal per_target/linear": (0.014, 0.119),
            "least squares/raw": (0.275, 0.311),
            "none/raw": (0.988, 1.007),
        },
    ),
    ("dependent_2", 2000): _rows(
        60,
        {
            "joint global/raw": (0.062, 0.083),
            "joint per_target/raw": (0.057, 0.081),
            "marginal global/raw": (-0.840, 0.849),
            "marginal per_target/raw": (0.040, 0.069),
            "joint gaussian4 wide/raw": (0.066, 0.086),
            "joint global/linear": (0.026, 0.062),
            "marginal per_target/linear": (0.025, 0.063),
            "least squares/raw": (0.280, 0.291),
            "none/raw": (0.980, 0.984),
        },
    ),
    ("dependent_4", 1000): _rows(
        120,
        {
            "joint global/raw": (0.301, 0.314),
            "joint per_target/raw": (0.250, 0.267),
            "marginal global/raw": (-0.224, 0.256),
            "marginal per_target/raw": (0.135, 0.161),
            "joint gaussian4 wide/raw": (0.286, 0.301),
            "joint global/linear": (0.071, 0.109),
            "marginal per_target/linear": (0.004, 0.080),
            "least squares/raw": (0.132, 0.160),
            "none/raw": (0.798, 0.808),
        },
    ),
    ("hidden", 200): _rows(
        200,
        {
            "authors' package/raw": (-12.71, 13.17),
            "joint projection 2/raw": (-2.93, 3.81),
            "marginal projection 2/raw": (-2.40, 3.10),
            "marginal per_target/raw": (-9.00, 9.41),
            "marginal per_target/linear": (0.00, 0.18),
            "least squares/raw": (-0.01, 0.18),
            "logistic/raw": (-0.61, 4.94),
            "none/raw": (-20.05, 20.60),
        },
    ),
    ("hidden", 1000): _rows(
        100,
        {
            "authors' package/raw": (-8.92, 9.03),
            "joint projection 2/raw": (-3.19, 3.37),
            "marginal projection 2/raw": (-2.22, 2.36),
            "marginal per_target/raw": (-5.94, 6.03),
            "marginal per_target/linear": (0.00, 0.09),
            "least squares/raw": (0.01, 0.09),
            "logistic/raw": (0.20, 2.82),
            "none/raw": (-19.99, 20.12),
        },
    ),
    ("seen", 200): _rows(
        200,
        {
            "authors' package/raw": (-15.12, 15.55),
            "joint projection 2/raw": (-5.21, 6.19),
            "marginal projection 2/raw": (-4.60, 5.45),
            "marginal per_target/raw": (-11.54, 11.98),
            "marginal per_target/linear": (-7.31, 7.87),
            "least squares/raw": (-9.81, 10.34),
            "logistic/raw": (-7.54, 8.61),
        },
    ),
    ("seen", 1000): _rows(
        100,
        {
            "authors' package/raw": (-11.41, 11.51),
            "joint projection 2/raw": (-4.57, 4.73),
            "marginal projection 2/raw": (-4.14, 4.29),
            "marginal per_target/raw": (-7.69, 7.78),
            "marginal per_target/linear": (-5.09, 5.21),
            "least squares/raw": (-9.84, 9.97),
            "logistic/raw": (-7.22, 7.45),
        },
    ),
}
