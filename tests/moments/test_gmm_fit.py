"""Steps of the generalised method of moments, and their derivatives."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from causalweights import GMM
from causalweights.moments import LinearIVMoment, MomentModel, PoissonMoment
from causalweights.moments._data import check_moment_data
from causalweights.moments._gmm_covariance import CovarianceOptions, MomentCovariance
from causalweights.moments._gmm_objectives import ContinuousObjective
from causalweights.moments._models import central_differences, restriction_of
from causalweights.moments._sandwich import windmeijer

N = 150
# Central differences of smooth functions.
DIFFERENCED = 1e-6


class TwoEquations(MomentModel):
    """Two linear equations with a slope in common."""

    def residual(self, theta, data):
        first = data.y - theta[0] - theta[1] * data.X[:, 0]
        return np.column_stack([first, data.X[:, 1] - theta[1] * data.X[:, 0]])

    def residual_jac(self, theta, data):
        out = np.zeros((len(data.y), 2, 2))
        out[:, 0, 0], out[:, 0, 1] = -1, -data.X[:, 0]
        out[:, 1, 1] = -data.X[:, 0]
        return out

    def start(self, data):
        return np.zeros(2)


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(6)
    Z = rng.normal(size=(N, 3))
    u = rng.normal(size=N)
    X = np.column_stack([Z @ [0.7, 0.5, 0.3] + u, rng.normal(size=N)])
    y = np.exp(0.4 * X[:, 0] + 0.5 * u + 0.3 * rng.normal(size=N))
    return X, y, np.column_stack([Z, X[:, 1]])


COVARIANCES = {
    "robust": {},
    "centred": {"center": True},
    "unadjusted": {"cov_type": "unadjusted"},
    "unadjusted centred": {"cov_type": "unadjusted", "center": True},
    "cluster": {"cov_type": "cluster"},
    "hac": {"cov_type": "hac", "bandwidth": 3.0, "center": True},
}


def continuous(arrays, model, options, weight_type):
    X, y, Z = arrays
    rng = np.random.default_rng(0)
    hac = options.get("cov_type") == "hac"
    weight = None if hac else rng.integers(1, 4, size=N).astype(float)
    groups = np.arange(N) // 10 if options.get("cov_type") == "cluster" else None
    data = check_moment_data(GMM(), X, y, Z, weight, groups, weight_type=weight_type)
    restriction = restriction_of(model, data)
    covariance = MomentCovariance(data, restriction, CovarianceOptions(**options))
    return ContinuousObjective(restriction, data.masses, covariance)


@pytest.mark.parametrize("weight_type", ["sampling", "frequency"])
@pytest.mark.parametrize("name", COVARIANCES)
@pytest.mark.parametrize("model", [LinearIVMoment(), TwoEquations(), PoissonMoment()])
def test_derivatives_of_continuous_updating(arrays, model, name, weight_type):
    objective = continuous(arrays, model, COVARIANCES[name], weight_type)
    theta = np.array([0.3, 0.1])
    at = objective(theta, None)
    covariance, restriction = objective.covariance, objective.restriction
    omega = covariance.matrix(restriction.residual(theta))
    mbar = objective.w @ restriction.moments(theta)
    assert at.value == pytest.approx(0.5 * mbar @ np.linalg.solve(omega, mbar))

    gradient = central_differences(lambda t: np.array(objective(t, None).value), theta)
    assert_allclose(at.gradient, gradient, atol=DIFFERENCED * np.abs(gradient).max())

    b = np.linalg.solve(omega, mbar)
    slopes = covariance.slopes(
        restriction.residual(theta), restriction.jacobian(theta), b
    )
    differences = central_differences(
        lambda t: covariance.matrix(restriction.residual(t)) @ b, theta
    )
    assert_allclose(slopes, differences, atol=DIFFERENCED * np.abs(slopes).max())

    if not isinstance(model, PoissonMoment):  # exact where residuals are linear
        hessian = central_differences(lambda t: objective(t, None).gradient, theta)
        assert_allclose(at.hessian, hessian, atol=DIFFERENCED * np.abs(hessian).max())


def test_windmeijer_counts_how_the_first_step_moves_the_second(arrays):
    X, y, Z = arrays
    data = check_moment_data(GMM(), X, y, Z)
    restriction = restriction_of(LinearIVMoment(), data)
    covariance = MomentCovariance(data, restriction, CovarianceOptions())
    G = -Z.T @ X / N

    def second(first):
        W = np.linalg.inv(covariance.matrix(restriction.residual(first)))
        return np.linalg.solve(G.T @ W @ G, -G.T @ W @ (Z.T @ y / N)), W

    first = LinearIVMoment().start(data)
    theta, W = second(first)
    # How theta moves with the first step, by refitting.
    D = central_differences(lambda t: second(t)[0], first)
    V1 = np.diag([2.0, 3.0])
    V = np.linalg.inv(G.T @ W @ G) / N
    slopes = covariance.slopes(
        restriction.residual(first), restriction.jacobian(first),
        W @ (Z.T @ (y - X @ theta) / N),
    )  # fmt: skip
    expected = V + D @ V + V @ D.T + D @ V1 @ D.T
    assert_allclose(windmeijer(V, V1, G, W, slopes), expected, rtol=1e-6)
    corrected = GMM(windmeijer=True).fit(X, y, instruments=Z)
    V1 = GMM(steps=1).fit(X, y, instruments=Z).cov_
    assert_allclose(corrected.cov_, V + D @ V + V @ D.T + D @ V1 @ D.T, rtol=1e-6)


def test_the_basis_of_the_instruments_changes_nothing(arrays):
    X, y, Z = arrays
    A = np.random.default_rng(1).normal(size=(4, 4)) * [1e-4, 1, 1, 1e4]
    for options in ({}, {"steps": "cue"}, {"cov_type": "unadjusted"}):
        plain = GMM(**options).fit(X, y, instruments=Z)
        mixed = GMM(**options).fit(X, y, instruments=Z @ A)
        assert_allclose(mixed.params_, plain.params_, rtol=1e-7)
        assert_allclose(mixed.se_, plain.se_, rtol=1e-7)
        assert mixed.objective_ == pytest.approx(plain.objective_, rel=1e-7)
        # Weights of the instruments as given: W = A W_A A'.
        assert_allclose(A @ mixed.weight_matrix_ @ A.T, plain.weight_matrix_, rtol=1e-6)


@pytest.mark.parametrize("model", [None, TwoEquations()])
def test_first_weights_are_those_of_the_instruments_given(arrays, model):
    X, y, Z = arrays
    m = 4 if model is None else 8
    W = np.diag(np.arange(1.0, m + 1))
    data = check_moment_data(GMM(), X, y, Z)
    psi = (LinearIVMoment() if model is None else model).psi
    zero = np.zeros(2)
    G = central_differences(lambda t: psi(t, data).mean(axis=0), zero)
    for given, weight in (
        (W, W),
        ("identity", np.eye(m)),
        ("2sls", np.kron(np.eye(m // 4), np.linalg.inv(Z.T @ Z / N))),
    ):
        found = GMM(model, steps=1, initial_weight=given).fit(X, y, instruments=Z)
        expected = np.linalg.solve(
            G.T @ weight @ G, -G.T @ weight @ psi(zero, data).mean(axis=0)
        )
        assert_allclose(found.params_, expected, rtol=1e-6)
        assert_allclose(found.weight_matrix_, weight, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.eye(3), r"shape \(3, 3\); there are 4 moments"),
        (np.triu(np.ones((4, 4))), "symmetric"),
        (-np.eye(4), "positive definite"),
        (np.full((4, 4), np.nan), "finite"),
    ],
)
def test_bad_first_weights_are_refused(arrays, given, message):
    X, y, Z = arrays
    with pytest.raises(ValueError, match=message):
        GMM(initial_weight=given).fit(X, y, instruments=Z)
