"""Load the IHDP covariates and simulate Hill's (2011) response surfaces on them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.utils import Bunch

from causalweights.datasets._draws import RandomStateLike, as_generator
from causalweights.datasets._files import make_bunch, read_table

NUMERIC = ["bw", "b_head", "preterm", "birth_o", "nnhealth", "momage"]
FEATURES = [
    *NUMERIC,
    *("sex", "twin", "b_marr", "mom_lths", "mom_hs", "mom_scoll", "cig", "first"),
    *("booze", "drugs", "work_dur", "prenatal"),
    *(f"site{site}" for site in range(1, 8)),
]
EFFECT = 4.0
# values a coefficient may take on each surface, and their probabilities
COEFFICIENTS = {
    "A": ([0.0, 1.0, 2.0, 3.0, 4.0], [0.5, 0.2, 0.15, 0.1, 0.05]),
    "B": ([0.0, 0.1, 0.2, 0.3, 0.4], [0.6, 0.1, 0.1, 0.1, 0.1]),
}

DESCR = """IHDP: Infant Health and Development Program, Hill's observational subset

747 low-birth-weight premature infants: 139 treated (intensive child care and home
visits) and 608 controls of a randomised trial, with the treated children of nonwhite
mothers removed so that treatment is no longer random. No missing values. Read from the
PyPI package econml 0.17.0 (MIT licence). The file holds covariates and treatment only;
any outcome is simulated.

Columns of X: bw (birth weight, grams), b_head (head circumference, cm), preterm (weeks
born before term), birth_o (birth order), nnhealth (neonatal health index), momage
(mother's age, years), and 0/1 codes as in the source: sex, twin, b_marr (mother
married), mom_lths, mom_hs, mom_scoll (schooling: less than high school, high school,
some college), cig, first, booze, drugs, work_dur, prenatal, site1 to site7 (site 8 is
the reference).

Reference
Hill, J. (2011). Bayesian nonparametric modeling for causal inference. Journal of
Computational and Graphical Statistics 20, 217-240.
"""


def simulate_surface(
    X: np.ndarray, treatment: np.ndarray, surface: str, random_state: RandomStateLike
) -> dict[str, np.ndarray]:
    """Draw coefficients and outcomes of response surface A or B.

    ``X`` (n, 25) has its six numeric columns first. Returns ``mu0``, ``mu1``, ``cate``
    and ``y``, each (n,).
    """
    rng = as_generator(random_state)
    scaled = X.astype(float)
    numeric = scaled[:, : len(NUMERIC)]
    scaled[:, : len(NUMERIC)] = (numeric - numeric.mean(axis=0)) / numeric.std(axis=0)
    design = np.column_stack([np.ones(len(X)), scaled])
    values, chances = COEFFICIENTS[surface]
    beta = rng.choice(values, size=design.shape[1], p=chances)
    linear = design @ beta
    if surface == "A":
        mu0, mu1 = linear, linear + EFFECT
    else:
        # the offset W of the paper: one half on every covariate, none on the constant
        mu0 = np.exp(linear + 0.5 * beta[1:].sum())
        # omega makes the average effect on the treated equal four in this sample
        omega = np.mean((linear - mu0)[treatment == 1]) - EFFECT
        mu1 = linear - omega
    noise = rng.standard_normal(len(X))
    y = np.where(treatment == 1, mu1, mu0) + noise
    return {"mu0": mu0, "mu1": mu1, "cate": mu1 - mu0, "y": y}


def load_ihdp(
    *,
    surface: Literal["A", "B"] | None = None,
    random_state: RandomStateLike = None,
) -> Bunch:
    """Load the IHDP covariates, with an outcome simulated on request.

    The source holds no outcome, so ``y`` is None unless a response surface is asked
    for. Surface A is linear with the effect 4 for every child; surface B is exponential
    in one arm, with the average effect on the treated equal to 4 in the sample.

    Parameters
    ----------
    surface : {None, "A", "B"}, default=None
        Response surface of Hill (2011), Section 4.1; None gives no outcome.
    random_state : int, Generator, RandomState or None, default=None
        Draws the coefficients and the N(0, 1) noise of the outcome.

    Returns
    -------
    data : Bunch
        ``X`` (747, 25) DataFrame, ``treatment`` (747,) Series 0/1 with the treated
        first, ``y`` None or a (747,) Series ``simulated_outcome``, ``feature_names``,
        ``benchmark`` None or (``value`` 4.0, ``se`` 0.0, ``estimand``, ``source``),
        ``published`` None, ``DESCR``. With a surface also ``mu0``, ``mu1``, ``cate``
        (747,) arrays, ``true_att`` and ``sample_ate``.

    Notes
    -----
    The six numeric covariates are standardised (ddof 0) inside the surfaces; the 0/1
    codes enter as they are (some distributed files code ``first`` as 1/2, which only
    moves the constant).

    References
    ----------
    Hill (2011), Journal of Computational and Graphical Statistics 20, 217-240.

    Examples
    --------
    >>> from causalweights.datasets import load_ihdp
    >>> load_ihdp().y is None
    True
    >>> data = load_ihdp(surface="B", random_state=0)
    >>> data.X.shape, round(float(data.cate[data.treatment == 1].mean()), 6)
    ((747, 25), 4.0)
    """
    import pandas as pd

    if surface not in (None, "A", "B"):
        raise ValueError(f'surface must be None, "A" or "B"; got {surface!r}')
    data = make_bunch(
        read_table("ihdp.csv"),
        FEATURES,
        outcome=None,
        treatment="treat",
        description=DESCR,
    )
    if surface is None:
        return data
    treatment = data.treatment.to_numpy()
    draw: dict[str, Any] = simulate_surface(
        data.X.to_numpy(), treatment, surface, random_state
    )
    draw["y"] = pd.Series(draw["y"], name="simulated_outcome")
    data.update(draw)
    data.true_att = float(data.cate[treatment == 1].mean())
    data.sample_ate = float(data.cate.mean())
    data.benchmark = Bunch(
        value=EFFECT,
        se=0.0,
        estimand="ate" if surface == "A" else "att",
        source=f"response surface {surface} of Hill (2011): true by construction",
    )
    return data
