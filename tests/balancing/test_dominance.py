"""Exact weights do no worse, by the criterion, than any others one might think of."""

import numpy as np
import pytest
from scipy.spatial import cKDTree
from sklearn.exceptions import ConvergenceWarning

from causalweights import EntropyBalancer, IPMBalancer, PropensityWeighter
from causalweights.datasets import make_kang_schafer
from causalweights.discrepancy import Sigmoid, squared_mmd, supremum
from causalweights.kernels import Energy, Gaussian, Linear


@pytest.fixture(scope="module")
def sample():
    found = make_kang_schafer(150, design="Z", random_state=0)
    Z = (found.X - found.X.mean(axis=0)) / found.X.std(axis=0)
    return found.X, Z, found.treatment


def rivals(X, Z, a):
    """Masses of the controls by other methods: uniform, odds, entropy, matching, ..."""
    controls = a == 0
    n = int(controls.sum())
    nearest = cKDTree(Z[controls]).query(Z[a == 1])[1]
    others = {
        "uniform": np.full(n, 1 / n),
        "odds": PropensityWeighter(estimand="att").fit(X, a).masses_[controls],
        "entropy": EntropyBalancer(estimand="att").fit(X, a).masses_[controls],
        "nearest": np.bincount(nearest, minlength=n) / np.sum(a == 1),
    }
    return {**others, **{f"row {i}": row for i, row in enumerate(np.eye(n))}}


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 1e-1])
@pytest.mark.parametrize("kernel", [2.0 * Energy(), Gaussian(2.0), Linear()])
def test_no_other_method_has_a_lower_objective(kernel, ridge, sample):
    X, Z, a = sample
    fit = IPMBalancer(estimand="att", discriminator=kernel, ridge=ridge).fit(X, a)

    def objective(w):
        squared = squared_mmd(kernel, Z[a == 0], Z[a == 1], x_weights=w)
        return squared + ridge * np.sum(w**2)

    ours = objective(fit.masses_[a == 0])
    for name, w in rivals(X, Z, a).items():
        assert ours <= objective(w) + 1e-12, name


def test_bounded_sigmoids_tell_the_exact_weights_apart_least(sample):
    X, Z, a = sample
    exact = IPMBalancer(estimand="att", discriminator="sigmoid").fit(X, a)
    preset = IPMBalancer.kong2023(estimand="att", discriminator="sigmoid", epochs=200)
    with pytest.warns(ConvergenceWarning):
        trained = preset.fit(X, a)

    def largest(w):
        found = supremum(Sigmoid(), Z[a == 0], Z[a == 1], x_weights=w)
        return found.value

    ours = largest(exact.masses_[a == 0])
    assert ours == pytest.approx(exact.discrepancy_[0], rel=0.02)
    others = {**rivals(X, Z, a), "adam": trained.masses_[a == 0]}
    for name in ("uniform", "odds", "entropy", "nearest", "adam"):
        assert ours < largest(others[name]), name
