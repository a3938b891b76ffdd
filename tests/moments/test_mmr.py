"""Maximum moment restrictions against the closed form with dense kernels."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel

from causalweights.kernels import median_distance
from causalweights.moments import MeanVariance
from causalweights.moments._mmr import MMR

N = 150


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    z = rng.uniform(-2, 2, size=(N, 2))
    h = rng.normal(size=N)
    t = z[:, 0] ** 2 + z[:, 1] + h
    return t[:, None], 2 * t + h + 0.1 * rng.normal(size=N), z


def dense_kernel(z):
    unit = z / z.std(axis=0)
    return rbf_kernel(unit, gamma=1 / median_distance(unit))


def test_linear_models_have_a_closed_form(data):
    X, y, z = data
    model = MMR(n_instruments=None, fit_intercept=True).fit(X, y, instruments=z)
    K, T = dense_kernel(z), np.column_stack([X, np.ones(N)])
    theta = np.linalg.solve(T.T @ K @ T, T.T @ K @ y)
    np.testing.assert_allclose(model.params_, theta, rtol=1e-7)
    residual = y - T @ theta
    unit = residual / residual.std()
    assert model.objective_ == pytest.approx(unit @ K @ unit / N**2 / 2, rel=1e-6)
    A = np.linalg.solve(T.T @ K @ T, T.T @ K)
    expected = A @ np.diag(residual**2) @ A.T
    np.testing.assert_allclose(model.cov_, expected, rtol=1e-6)
    np.testing.assert_allclose(model.weights_, 1 / N)


def test_bandwidths_at_their_ends(data):
    """Near zero the kernel is the identity, and the estimate least squares."""
    X, y, z = data
    narrow = MMR(n_instruments=None, bandwidth=1e-4, fit_intercept=True)
    narrow.fit(X, y, instruments=z)
    least_squares = np.linalg.lstsq(np.column_stack([X, np.ones(N)]), y)[0]
    np.testing.assert_allclose(narrow.params_, least_squares, rtol=1e-8)
    # Near infinity there is one constant instrument, and one moment for two parameters.
    with pytest.raises(ValueError, match="under-identified"):
        MMR(bandwidth=1e9, fit_intercept=True).fit(X, y, instruments=z)


def test_few_landmarks_are_close(data):
    X, y, z = data
    exact = MMR(n_instruments=None, fit_intercept=True).fit(X, y, instruments=z)
    close = MMR(n_instruments=40, fit_intercept=True).fit(X, y, instruments=z)
    np.testing.assert_allclose(
        close.params_, exact.params_, atol=0.01 * exact.se_.max()
    )


def test_models_without_instruments_are_refused(data):
    X, y, _ = data
    with pytest.raises(ValueError, match="take GMM or GEL"):
        MMR(MeanVariance()).fit(X, y)
    with pytest.raises(ValueError, match="no J test"):
        MMR().fit(X, y).j_test()
