"""Coverage of averages, groups, slopes, rankings and bands of effect regressions.

docs/coverage.md holds longer runs of the design "curve" of benchmarks/.
"""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit


def test_truths_are_integrals(simulate):
    truth = simulate.DESIGNS["curve"].truth

    def mean(f):
        return quad(f, -1, 1)[0] / 2

    assert truth["att"] == pytest.approx(
        mean(lambda x: expit(1.5 * x) * np.sin(2 * x)) / mean(lambda x: expit(1.5 * x))
    )
    assert truth["slope"] == pytest.approx(3 * mean(lambda x: x * np.sin(2 * x)))
    assert truth["autoc"] == pytest.approx(
        mean(lambda x: -(np.log((1 - x) / 2) + 1) * np.sin(2 * x)), abs=1e-4
    )
    assert truth["qini"] == pytest.approx(mean(lambda x: x / 2 * np.sin(2 * x)))
    drawn = simulate.DESIGNS["defaults"].draw(200_000, np.random.default_rng(0))
    overlap = drawn.propensity * (1 - drawn.propensity)
    truth = simulate.DESIGNS["defaults"].truth
    assert truth["ato"] == pytest.approx(np.average(drawn.cate, weights=overlap), 0.01)
    assert truth["att"] == pytest.approx(drawn.true_att, 0.01)


@pytest.mark.slow
def test_intervals_and_bands_cover(simulate):
    table = simulate.summarise(simulate.run("curve", 200, 2))
    error = 3 * table["coverage_se"]
    # Bands do not count that nuisances are estimated.
    low = np.where(table.index.str.contains("anywhere"), 0.90, 0.925)
    assert (table["coverage"] >= low - error).all(), table
    assert (table["coverage"] <= 0.99 + error).all(), table
    assert (table["bias"].abs() < 0.1 * table["mc_sd"] + 3 * table["bias_se"]).all()
