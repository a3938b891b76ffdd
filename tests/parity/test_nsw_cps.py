"""NSW's trainees against 15,992 CPS respondents: exact weights and what they say.

Figures of an independent implementation of the same problems, to their last digit.
"""

import numpy as np
import pytest

from causalweights import IPMBalancer
from causalweights.datasets import load_nsw_cps
from causalweights.kernels import Gaussian

WIDE = Gaussian(bandwidth=np.sqrt(354.5 / 2))
# The median rule is over 2000 rows drawn at random above 5000: the Gaussian figures
# belong to the draw that gave a median squared distance of 14.18.
MEDIAN = Gaussian(bandwidth=np.sqrt(14.18 / 2))


@pytest.fixture(scope="module")
def trainees():
    data = load_nsw_cps()
    return data.X, data.y.to_numpy(), data.treatment.to_numpy()


@pytest.mark.parametrize(
    ("discriminator", "ridge", "effect", "ess"),
    [
        ("energy", 1e-2, 1874.1, 107.1),
        ("energy", 1e-1, 1804.5, 126.8),
        (MEDIAN, 1e-2, 1521.0, 163.1),
        (MEDIAN, 1e-3, 1508.9, 128.3),
        (WIDE, 1e-3, 1608.8, 306.5),
    ],
)
def test_exact_weights(discriminator, ridge, effect, ess, trainees):
    X, y, a = trainees
    fit = IPMBalancer(estimand="att", discriminator=discriminator, ridge=ridge)
    fit.fit(X, a)
    plain = y[a == 1].mean() - fit.masses_[a == 0] @ y[a == 0]
    assert plain == pytest.approx(effect, abs=0.15)
    assert fit.ess_[0] == pytest.approx(ess, abs=0.06)
    assert fit.relative_gap_[0] <= 1e-10
    assert fit.solver_[0] == "working_set"


def test_support_of_the_energy_weights(trainees):
    X, _, a = trainees
    fit = IPMBalancer(estimand="att").fit(X, a)
    assert np.sum(fit.masses_[a == 0] > 0) == 538
