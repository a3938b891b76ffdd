"""The code of docs/moments.md runs, and its results are what the page says."""

from pathlib import Path

import numpy as np

PAGE = Path(__file__).resolve().parents[2] / "docs" / "moments.md"


def test_code_of_the_user_guide_runs(run_page):
    assert PAGE.read_text(encoding="utf-8").count("```python\n") >= 6
    names = run_page(PAGE)
    # Four estimators of one coefficient, which is two.
    linear = [names[name] for name in ("iv", "gmm", "likelihood", "linear")]
    slopes = np.array([fitted.params_[0] for fitted in linear])
    assert np.ptp(slopes) < 0.3 * linear[0].se_[0]
    assert np.all(np.abs(slopes - 2) < 3 * linear[0].se_[0])
    assert names["strength"] > 30
    assert names["same"].names_ == ["Intercept", "w", "x"]
    assert names["predicted"].shape == (5,)
    # Mean and variance agree in a Poisson sample, under the implied probabilities too.
    p, counts, mean = names["probabilities"], names["counts"], names["mean"].params_[0]
    assert abs(p @ counts - mean) < 1e-6 and names["test"].pvalue > 0.01
    growth = names["fitted"].params_[1], names["fitted"].se_[1]
    assert abs(growth[0] - 0.5) < 3 * growth[1]
    low, high = names["band"].T
    assert np.all((low < names["values"]) & (names["values"] < high))
    truth = np.sin(names["grid"][:, 0])
    assert np.mean((low <= truth) & (truth <= high)) == 1.0
    chosen = names["search"].best_estimator_.predict(names["grid"])
    assert np.max(np.abs(chosen - truth)) < 0.5
