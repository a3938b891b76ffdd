"""Moment models: their derivatives, and estimates that other packages know."""

import pickle

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from sklearn.base import clone

from causalweights.moments import (
    GMM,
    ATEMoment,
    LATEMoment,
    LinearIVMoment,
    LogisticMoment,
    MeanVariance,
    MomentModel,
    NonlinearLeastSquares,
    PoissonMoment,
    QuantileIVMoment,
)
from causalweights.moments._data import check_moment_data
from causalweights.moments._models import central_differences, restriction_of

N = 300
# Two optimisers of the same smooth problem, each to its own tolerance.
SAME = 1e-7
# Central differences with steps eps^(1/3): errors of about eps^(2/3).
DIFFERENCED = 1e-8

_rng = np.random.default_rng(3)
X = np.column_stack([_rng.normal(size=(N, 2)), np.ones(N)])
Z = np.column_stack([X[:, 0] + _rng.normal(size=N), X[:, 1:], _rng.normal(size=N)])
INDEX = X @ [0.5, -0.4, 0.3]
TREATED = (_rng.random(N) < expit(X[:, 0])).astype(float)
INSTRUMENT = (_rng.random(N) < 0.4).astype(float)
NUISANCES = np.column_stack([TREATED, expit(X[:, 0]), INDEX + 1 + 0.1 * X[:, 1], INDEX])
Y = {
    "linear": INDEX + _rng.normal(size=N),
    "binary": (_rng.random(N) < expit(INDEX)).astype(float),
    "count": _rng.poisson(np.exp(INDEX)).astype(float),
    "effect": INDEX + TREATED + _rng.normal(size=N),
}


def growth(X, theta):
    return theta[0] + theta[1] * np.exp(theta[2] * X[:, 0])


def growth_slopes(X, theta):
    e = np.exp(theta[2] * X[:, 0])
    return np.column_stack([np.ones(len(X)), e, theta[1] * X[:, 0] * e])


MODELS = {
    "linear": (LinearIVMoment(), X, "linear", Z),
    "logistic": (LogisticMoment(), X, "binary", Z),
    "poisson": (PoissonMoment(), X, "count", Z),
    "poisson multiplicative": (PoissonMoment("multiplicative"), X, "count", Z),
    "quantile": (QuantileIVMoment(0.3), X, "linear", Z),
    "nls": (NonlinearLeastSquares(growth, [0, 1, 0.5], growth_slopes), X, "linear", Z),
    "ate": (ATEMoment(), NUISANCES, "effect", None),
    "late": (LATEMoment(), TREATED[:, None], "effect", INSTRUMENT),
    "mean-variance": (MeanVariance(), X, "linear", None),
}


@pytest.fixture(params=MODELS)
def prepared(request):
    model, X, y, instruments = MODELS[request.param]
    data = check_moment_data(GMM(), X, Y[y], instruments)
    return model.prepare(data), data


def test_derivatives_are_those_of_the_residuals(prepared):
    model, data = prepared
    theta = model.start(data) + 0.1
    given = model.residual_jac(theta, data)
    differences = MomentModel.residual_jac(model, theta, data)
    assert given.shape == (*model.residual(theta, data).shape, len(theta))
    assert_allclose(given, differences, atol=DIFFERENCED * np.abs(differences).max())


def test_moments_are_residuals_times_instruments(prepared):
    model, data = prepared
    theta = model.start(data) + 0.1
    psi, jac, rho = (f(theta, data) for f in (model.psi, model.jac, model.residual))
    assert len(model.names(data)) == len(theta)
    if model.conditional:
        expected = [np.kron(rho[i], data.Z[i]) for i in range(N)]
        assert_allclose(psi, expected)
    else:
        assert_array_equal(psi, rho)
    assert_allclose(
        jac,
        central_differences(lambda t: model.psi(t, data), theta),
        atol=DIFFERENCED * np.abs(jac).max(),
    )
    assert_allclose(restriction_of(model, data).moments(theta), psi)


def test_several_residuals_each_meet_all_instruments():
    class System(MomentModel):
        def residual(self, theta, data):
            return np.column_stack([data.y - theta[0], data.X[:, 0] - theta[1]])

        def start(self, data):
            return np.zeros(2)

    data = check_moment_data(GMM(), X, Y["linear"], Z)
    system, theta = System(), np.array([0.2, 0.1])
    psi = system.psi(theta, data)
    assert_allclose(psi[:, :4], (data.y - 0.2)[:, None] * Z)
    assert_allclose(psi[:, 4:], (X[:, :1] - 0.1) * Z)
    assert system.names(data) == ["theta0", "theta1"]
    # A weight of a row multiplies its moments.
    weighted = check_moment_data(GMM(), X, Y["linear"], Z, np.arange(1.0, N + 1))
    assert_allclose(
        restriction_of(system, weighted).moments(theta),
        weighted.sample_weight[:, None] * psi,
    )


@pytest.mark.parametrize(
    ("model", "y", "family"),
    [
        (LogisticMoment(), "binary", sm.families.Binomial()),
        (PoissonMoment(), "count", sm.families.Poisson()),
    ],
)
def test_exogenous_models_are_generalised_linear_ones(model, y, family):
    # The scores of a canonical link are these moments.
    ours = GMM(model).fit(X, Y[y])
    theirs = sm.GLM(Y[y], X, family=family).fit(cov_type="HC0", tol=1e-12)
    assert_allclose(ours.params_, theirs.params, rtol=SAME)
    assert_allclose(ours.se_, theirs.bse, rtol=SAME)
    assert_allclose(ours.predict(X), theirs.fittedvalues, rtol=SAME)


def test_multiplicative_errors_leave_a_constant_to_the_factor():
    # Of exp(X theta) v with E[v | Z] = c, log c moves to the constant.
    rng = np.random.default_rng(0)
    y = np.exp(INDEX) * rng.gamma(2.0, 1.0, size=N)
    found = GMM(PoissonMoment("multiplicative")).fit(X, y)
    again = GMM(PoissonMoment("multiplicative")).fit(X, 3 * y)
    assert_allclose(again.params_ - found.params_, [0, 0, np.log(3)], atol=SAME)
    assert_allclose(
        found.params_, [0.5, -0.4, 0.3 + np.log(2)], atol=4 * found.se_.max()
    )


def test_nonlinear_least_squares_with_its_own_derivatives_as_instruments():
    from scipy.optimize import least_squares

    rng = np.random.default_rng(1)
    y = growth(X, [0.5, 1.0, 0.7]) + 0.1 * rng.normal(size=N)
    best = least_squares(
        lambda t: y - growth(X, t), [0, 1, 0.5], xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    model = NonlinearLeastSquares(
        growth, [0, 1, 0.5], parameter_names=["level", "scale", "rate"]
    )
    found = GMM(model).fit(X, y, instruments=growth_slopes(X, best.x))
    assert_allclose(found.params_, best.x, rtol=1e-6)
    assert found.names_ == ["level", "scale", "rate"]
    assert_allclose(found.predict(X), growth(X, best.x), rtol=1e-6)


def test_effects_in_closed_form():
    ate = GMM(ATEMoment()).fit(NUISANCES, Y["effect"])
    a, e, m1, m0 = NUISANCES.T
    own = np.where(a == 1, m1, m0)
    values = m1 - m0 + (Y["effect"] - own) * np.where(a == 1, 1 / e, -1 / (1 - e))
    assert_allclose(ate.params_, values.mean())
    assert_allclose(ate.se_, values.std() / np.sqrt(N))
    assert ate.names_ == ["ate"]

    moments = GMM(MeanVariance()).fit(X, Y["linear"])
    assert_allclose(moments.params_, [Y["linear"].mean(), Y["linear"].var()])


def test_wald_ratio_is_two_stage_least_squares():
    late = GMM(LATEMoment()).fit(TREATED[:, None], Y["effect"], instruments=INSTRUMENT)
    line = GMM(fit_intercept=True)
    line.fit(TREATED[:, None], Y["effect"], instruments=INSTRUMENT)
    assert_allclose(late.params_[0], line.params_[0], rtol=1e-10)
    assert_allclose(late.se_[0], line.se_[0], rtol=1e-10)
    one, zero = (TREATED[INSTRUMENT == v] for v in (1, 0))
    assert_allclose(late.params_[1:], [one.mean() - zero.mean(), INSTRUMENT.mean()])
    assert_allclose(late.se_[1] ** 2, one.var() / len(one) + zero.var() / len(zero))
    s = INSTRUMENT.mean()
    assert_allclose(late.se_[2] ** 2, s * (1 - s) / N)


def test_smoothed_quantiles_approach_quantile_regression():
    rng = np.random.default_rng(5)
    n = 4000
    D = np.column_stack([rng.normal(size=n), np.ones(n)])
    y = D @ [1.0, 2.0] + (1 + 0.3 * D[:, 0]) * rng.normal(size=n)
    theirs = sm.QuantReg(y, D).fit(q=0.25, max_iter=5000, p_tol=1e-10)
    ours = GMM(QuantileIVMoment(0.25, bandwidth=0.02)).fit(D, y)
    # Smoothing at this width, and the ties of a linear program: far below 0.03 = se.
    assert_allclose(ours.params_, theirs.params, atol=0.01)
    automatic = GMM(QuantileIVMoment(0.25)).fit(D, y)
    assert_allclose(automatic.params_, theirs.params, atol=0.03)
    assert automatic.moment_.bandwidth > 0 and automatic.moment.bandwidth is None


@pytest.mark.parametrize(
    ("model", "X", "y", "instruments", "message"),
    [
        (LogisticMoment(), X, 2 + Y["binary"], None, r"y must lie in \[0, 1\]"),
        (PoissonMoment(), X, -Y["count"], None, "y must be non-negative"),
        (PoissonMoment("both"), X, Y["count"], None, "errors='both' is unknown"),
        (QuantileIVMoment(1.5), X, Y["linear"], None, "quantile must lie between"),
        (QuantileIVMoment(bandwidth=-1.0), X, Y["linear"], None, "bandwidth must be"),
        (ATEMoment(), X, Y["effect"], None, "four columns"),
        (ATEMoment(), NUISANCES + np.eye(4)[0], Y["effect"], None, "must be 0 or 1"),
        (ATEMoment(), NUISANCES * [1, 2, 1, 1], Y["effect"], None, "strictly between"),
        (LATEMoment(), X, Y["effect"], INSTRUMENT, "one treatment column"),
        (LATEMoment(), TREATED[:, None], Y["effect"], INSTRUMENT + 1, "0 and 1"),
        (
            LATEMoment(), np.ones((N, 1)), Y["effect"], INSTRUMENT,
            "same mean under both",
        ),
    ],
)  # fmt: skip
def test_data_that_do_not_fit_the_model_are_refused(model, X, y, instruments, message):
    with pytest.raises(ValueError, match=message):
        GMM(model).fit(X, y, instruments=instruments)


def test_models_are_cloned_pickled_and_shown(prepared):
    model, data = prepared
    theta = model.start(data)
    copy = clone(GMM(model)).moment
    for other in (copy, pickle.loads(pickle.dumps(model))):
        assert_array_equal(other.residual(theta, data), model.residual(theta, data))
    assert type(model).__name__ in repr(model)


def test_models_without_an_outcome_do_not_predict():
    assert hasattr(GMM(), "predict") and hasattr(GMM(PoissonMoment()), "predict")
    assert not hasattr(GMM(ATEMoment()), "predict")
