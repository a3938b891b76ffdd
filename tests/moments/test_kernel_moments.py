"""KernelMoments: published figures, limits, weights, equivariance, degenerate data."""

import pickle

import numpy as np
import pandas as pd
import pytest
from linearmodels.iv import IV2SLS
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from causalweights.datasets import load_card
from causalweights.moments import (
    GMM,
    ATEMoment,
    MeanVariance,
    MomentModel,
    NonlinearLeastSquares,
)
from causalweights.moments._gel import GEL
from causalweights.moments._kernel_moments import KernelMoments
from causalweights.moments._mmr import MMR

N = 300
EXACT = {"n_components": None, "bandwidth": 1.0}


def draw(n=N, seed=0):
    """Two instruments, an exogenous regressor, heteroskedastic errors."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 2))
    x, h = rng.normal(size=(2, n))
    t = z @ [1.0, 0.5] + 0.3 * x + h
    y = 1.0 + 2.0 * t - x + h + (0.5 + z[:, 0] ** 2) * rng.normal(size=n)
    return np.column_stack([t, x]), y, np.column_stack([z, x])


@pytest.fixture(scope="module")
def data():
    return draw()


def fit(data, **params):
    X, y, Z = data
    params = {"instrument_features": "linear", "fit_intercept": True, **params}
    return KernelMoments(**params).fit(X, y, instruments=Z)


@pytest.fixture(scope="module")
def card():
    return load_card(instruments=("nearc2", "nearc4"))


def test_card_just_identified_is_two_stage_least_squares():
    card = load_card()
    for kappa, divergence in [(0.01, "kl"), (1.0, "log"), (np.inf, "chi2")]:
        model = KernelMoments(
            instrument_features="linear", kappa=kappa, divergence=divergence,
            fit_intercept=True,
        ).fit(card.X, card.y, instruments=card.instruments)  # fmt: skip
        assert model.params_[0] == pytest.approx(0.1315038362, abs=1e-7)
        assert model.se_[0] == pytest.approx(0.0539995, abs=1e-7)
        assert model.objective_ < 1e-15
        assert model.j_test().df == 0 and model.j_test().statistic == 0.0
        np.testing.assert_allclose(model.weights_, 1 / 3010, rtol=1e-6)


def test_card_overidentified(card):
    arrays = card.X, card.y, card.instruments
    large, middle = fit(arrays, kappa=1e5), fit(arrays)
    assert large.params_[0] == pytest.approx(0.1622988, abs=1e-7)
    assert middle.params_[0] == pytest.approx(0.1623319, abs=5e-5)
    assert 2 * 3010 * large.objective_ == pytest.approx(1.26115, abs=1e-5)
    assert large.se_[0] == pytest.approx(0.0529, abs=1e-4)
    for model in (large, middle):
        assert model.j_test().statistic == pytest.approx(1.26, abs=0.05)
        assert model.converged_ and model.ess_ > 3000
    assert list(large.names_)[:2] == ["educ", "exper"]
    assert "Hansen" in str(large.j_test()) and "educ" in str(large.summary())


def test_moments_hold_under_the_weights(data):
    X, y, Z = data
    for divergence in ("kl", "log", "chi2"):
        model = fit(data, kappa=0.1, divergence=divergence)
        residual = y - model.predict(X)
        moments = np.column_stack([Z, np.ones(N)]) * residual[:, None]
        np.testing.assert_allclose(model.weights_ @ moments, 0.0, atol=1e-8)
        assert model.weights_.sum() == pytest.approx(1.0, abs=1e-12)
        assert divergence == "chi2" or np.all(model.weights_ > 0)
        assert model.ess_ == pytest.approx(1 / np.sum(model.weights_**2))


@pytest.mark.parametrize("kappa", [0.01, 1.0])
def test_moments_in_other_combinations(data, kappa):
    A = np.array([[1.0, 0.5, 0.0], [-3.0, 1.0, 0.0], [2.0, 0.0, 10.0]])
    first = fit(data, kappa=kappa, bandwidth=1.0)

    def mixed(Z):
        return np.column_stack([Z[:, :3] @ A, 5 * Z[:, -1]])

    again = fit(data, kappa=kappa, bandwidth=1.0, instrument_features=mixed)
    np.testing.assert_allclose(again.params_, first.params_, rtol=1e-7)
    np.testing.assert_allclose(again.cov_, first.cov_, rtol=1e-6)
    assert again.objective_ == pytest.approx(first.objective_, rel=1e-8)
    assert again.j_test().statistic == pytest.approx(first.j_test().statistic, rel=1e-6)


@pytest.mark.parametrize("kappa", [1e-3, 1.0])
def test_j_is_what_estimation_leaves_of_the_moments(data, kappa):
    """In the form with Omega^{-1}, of the instruments as given, centred."""
    X, y, Z = data
    model = fit(data, kappa=kappa)
    Z, T = np.column_stack([Z, np.ones(N)]), np.column_stack([X, np.ones(N)])
    M = Z * (y - T @ model.params_)[:, None]
    W, G, mean = np.linalg.inv(np.cov(M.T, bias=True)), -Z.T @ T / N, M.mean(axis=0)
    rest = W - W @ G @ np.linalg.solve(G.T @ W @ G, G.T @ W)
    found = model.j_test()
    assert found.statistic == pytest.approx(N * mean @ rest @ mean, rel=1e-6)
    assert found.df == 1


@pytest.mark.parametrize("features", ["linear", "rkhs"])
def test_units_do_not_matter(data, features):
    X, y, Z = data
    options = {"instrument_features": features, "kappa": 0.1}
    if features == "rkhs":
        options["lam"] = 1e-3
    first = fit(data, **options)
    scale = np.array([10.0, 0.1])
    moved = (X * scale, 100 * y + 7, Z * 5 - 3)
    moved[2][:, -1] = moved[0][:, -1]
    again = fit(moved, **options)
    expected = 100 * first.params_ / [*scale, 1.0]
    expected[-1] += 7
    np.testing.assert_allclose(again.params_, expected, rtol=1e-6)
    np.testing.assert_allclose(again.weights_, first.weights_, rtol=1e-6)


@pytest.mark.parametrize("features", ["linear", "rkhs"])
def test_rows_in_another_order(data, features):
    X, y, Z = data
    order = np.random.default_rng(1).permutation(N)
    options = {"instrument_features": features, "n_components": 40}
    if features == "rkhs":
        options["lam"] = 1e-3
    first, again = fit(data, **options), fit((X[order], y[order], Z[order]), **options)
    np.testing.assert_allclose(again.params_, first.params_, rtol=1e-7)
    np.testing.assert_allclose(again.se_, first.se_, rtol=1e-6)
    np.testing.assert_allclose(again.weights_, first.weights_[order], rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"instrument_features": "rkhs", "lam": 1e-3}])
def test_frequency_weights_are_copies_and_zeros_are_absent(data, options):
    X, y, Z = data
    counts = np.random.default_rng(2).integers(0, 4, N)
    options = {
        "instrument_features": "linear", "kappa": 0.1, "fit_intercept": True,
        "weight_type": "frequency", **EXACT, **options,
    }  # fmt: skip
    rows = np.repeat(np.arange(N), counts)
    copied = KernelMoments(**options).fit(X[rows], y[rows], instruments=Z[rows])
    weighted = KernelMoments(**options).fit(X, y, instruments=Z, sample_weight=counts)
    np.testing.assert_allclose(weighted.params_, copied.params_, rtol=1e-7)
    np.testing.assert_allclose(weighted.se_, copied.se_, rtol=1e-6)
    assert weighted.objective_ == pytest.approx(copied.objective_, rel=1e-7)
    sums = np.bincount(rows, weights=copied.weights_, minlength=N)
    np.testing.assert_allclose(weighted.weights_, sums, rtol=1e-6)
    assert np.all(weighted.weights_[counts == 0] == 0)


def test_a_duplicated_sample_knows_twice_as_much(data):
    X, y, Z = data
    twice = (np.vstack([X, X]), np.tile(y, 2), np.vstack([Z, Z]))
    first, again = (fit(d, kappa=0.1, **EXACT) for d in (data, twice))
    np.testing.assert_allclose(again.params_, first.params_, rtol=1e-7)
    np.testing.assert_allclose(again.se_, first.se_ / np.sqrt(2), rtol=1e-6)
    assert again.j_test().statistic == pytest.approx(2 * first.j_test().statistic)
    assert again.objective_ == pytest.approx(first.objective_, rel=1e-7)


def test_sampling_weights_multiply_moments(data):
    """Just identified: the weighted moments' root, and linearmodels' standard error."""
    X, y, Z = data
    s = np.random.default_rng(3).uniform(0.2, 2.0, N)
    Z = Z[:, [0, 2]]
    model = KernelMoments(
        instrument_features="linear", fit_intercept=True, kappa=0.1
    ).fit(X, y, instruments=Z, sample_weight=s)  # fmt: skip
    theirs = IV2SLS(
        y, np.column_stack([X[:, 1], np.ones(N)]), X[:, 0], Z[:, 0], weights=s
    ).fit(cov_type="robust")
    order = [2, 0, 1]
    np.testing.assert_allclose(model.params_, theirs.params.iloc[order], rtol=1e-7)
    np.testing.assert_allclose(model.se_, theirs.std_errors.iloc[order], rtol=1e-6)
    scaled = KernelMoments(
        instrument_features="linear", fit_intercept=True, kappa=0.1
    ).fit(X, y, instruments=Z, sample_weight=7 * s)  # fmt: skip
    np.testing.assert_allclose(scaled.se_, model.se_, rtol=1e-7)


def test_clusters_are_those_of_gmm(data):
    X, y, Z = data
    groups = np.arange(N) // 5
    ours = KernelMoments(instrument_features="linear", fit_intercept=True)
    ours.fit(X, y, instruments=Z[:, [0, 2]], groups=groups)
    gmm = GMM(fit_intercept=True).fit(X, y, instruments=Z[:, [0, 2]], groups=groups)
    np.testing.assert_allclose(ours.se_, gmm.se_, rtol=1e-6)
    assert "cluster" in str(ours.summary())


@pytest.mark.parametrize("divergence", ["kl", "log", "chi2"])
def test_infinite_kappa_is_empirical_likelihood(data, divergence):
    kernel = fit(data, kappa=np.inf, divergence=divergence)
    X, y, Z = data
    gel = GEL(divergence=divergence, fit_intercept=True).fit(X, y, instruments=Z)
    np.testing.assert_allclose(kernel.params_, gel.params_, rtol=1e-9)
    near = fit(data, kappa=1e6, divergence=divergence)
    np.testing.assert_allclose(near.params_, gel.params_, atol=1e-6)
    assert not np.any(gel.dual_.a) and kernel.bandwidth_ == {}


def test_infinite_lam_is_maximum_moment_restrictions(data):
    X, y, Z = data
    options = {"n_instruments": None, "fit_intercept": True}
    limit = KernelMoments(lam=np.inf, **options).fit(X, y, instruments=Z)
    mmr = MMR(**options).fit(X, y, instruments=Z)
    np.testing.assert_allclose(limit.params_, mmr.params_, rtol=1e-9)
    np.testing.assert_allclose(limit.se_, mmr.se_, rtol=1e-9)
    near = KernelMoments(lam=1e5, **options).fit(X, y, instruments=Z)
    np.testing.assert_allclose(near.params_, mmr.params_, atol=1e-4)
    assert 1e5 * near.objective_ == pytest.approx(mmr.objective_, rel=1e-3)


def test_value_is_monotone_and_positive(data):
    lams = [fit(data, instrument_features="rkhs", lam=lam) for lam in (1e-4, 1e-2, 1.0)]
    kappas = [fit(data, kappa=kappa) for kappa in (0.01, 1.0, np.inf)]
    for models in (lams, kappas):
        values = [model.objective_ for model in models]
        assert np.all(np.diff(values) < 0) and values[-1] > 0


def test_smoothed_reference(data):
    """Bandwidth zero: the draws are the sample. Else V is positive without a tilt."""
    options = {"instrument_features": "rkhs", "lam": 1e-3, "kappa": 0.1}
    plain = fit(data, **options)
    still = fit(data, reference="kde", kde_bandwidth=0.0, **options)
    np.testing.assert_allclose(still.params_, plain.params_, rtol=1e-6)
    assert still.objective_ == pytest.approx(plain.objective_, rel=1e-7)
    assert still.weights_.shape == (2 * N,)
    np.testing.assert_allclose(np.sort(still.weights_[:N]), np.sort(still.weights_[N:]))
    few = fit(data, reference="kde", n_reference=50, **options)
    assert few.weights_.shape == (N + 50,)
    assert few.objective_ > plain.objective_
    with pytest.raises(ValueError, match="no J test"):
        fit(data, reference="kde").j_test()
    with pytest.raises(ValueError, match="leaves the reference out"):
        fit(data, reference="kde", lam=np.inf)


def test_conditional_restrictions_gain_from_weighting():
    """Variance t^4: near the bound .3 / n, where least squares has 40 / n."""
    errors, least_squares, n = [], [], 256
    for seed in range(3):
        rng = np.random.default_rng(seed)
        t = np.exp(rng.uniform(-1.5, 1.5, n))
        y = 1.7 * t + t**2 * rng.normal(size=n)
        model = KernelMoments().fit(t[:, None], y)
        errors.append(model.params_[0] - 1.7)
        least_squares.append(t @ y / (t @ t) - 1.7)
        assert model.lam_ <= 1e-4 and model.converged_
        assert 0.3 < model.se_[0] / np.sqrt(0.3 / n) < 2.0
    assert np.mean(np.square(errors)) < 4 * 0.3 / n
    assert np.mean(np.square(least_squares)) > 20 * 0.3 / n


@pytest.mark.parametrize("criterion", ["variance", "moment", "mmr", "hsic"])
def test_lam_is_chosen_among_candidates(data, criterion):
    X, y, Z = data
    options = {"criterion": criterion, "cv": 2, "n_instruments": 15}
    first = KernelMoments(**options).fit(X, y, instruments=Z)
    scores, grid = first.lam_path_["score"], first.lam_path_["lam"]
    assert first.lam_ == grid[np.argmin(scores)]
    assert np.all(np.isfinite(scores)) and np.ptp(scores) > 0


def test_chosen_penalties_have_standard_errors_of_held_out_rows(data):
    X, y, Z = data
    options = {"n_instruments": 15, "cv": 3}
    model = KernelMoments(**options).fit(X, y, instruments=Z)
    held_out = model._fit.choice.held_out
    half = np.linalg.inv(held_out.slopes)
    squares = held_out.scores.T @ held_out.scores / N
    np.testing.assert_allclose(model.cov_, half @ squares @ half.T / N, rtol=1e-9)
    fixed = KernelMoments(lam=model.lam_, **options).fit(X, y, instruments=Z)
    np.testing.assert_allclose(model.params_, fixed.params_, rtol=1e-6)
    assert np.all(np.abs(np.log(model.se_ / fixed.se_)) < 0.5)


def test_splits_may_be_given_with_rows_of_weight_zero(data):
    X, y, Z = data
    weight = np.ones(N)
    weight[:20] = 0.0
    parts = np.array_split(np.random.default_rng(0).permutation(N), 3)
    splits = [(np.setdiff1d(np.arange(N), part), np.sort(part)) for part in parts]
    options = {"n_instruments": 20, "cv": splits}
    model = KernelMoments(**options).fit(X, y, instruments=Z, sample_weight=weight)
    kept = [(a[a >= 20] - 20, b[b >= 20] - 20) for a, b in splits]
    without = KernelMoments(**{**options, "cv": kept}).fit(
        X[20:], y[20:], instruments=Z[20:]
    )
    np.testing.assert_allclose(model.params_, without.params_, rtol=1e-9)
    assert model.weights_.shape == (N,) and not np.any(model.weights_[:20])


class Exponential(MomentModel):
    """y = exp(theta_0 + theta_1 t) + error, one or two residuals."""

    def residual(self, theta, data):
        return (data.y - np.exp(theta[0] + theta[1] * data.X[:, 0]))[:, None]

    def start(self, data):
        return np.zeros(2)


def test_nonlinear_models_start_several_times(data):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 1))
    t = z + 0.3 * rng.normal(size=(400, 1))
    y = np.exp(0.3 + 0.5 * t[:, 0]) + 0.3 * rng.normal(size=400)
    model = KernelMoments(Exponential(), lam=1e-4).fit(t, y, instruments=z)
    np.testing.assert_allclose(model.params_, [0.3, 0.5], atol=4 * model.se_.max())
    assert model.start_objectives_.min() == model.objective_
    curve = NonlinearLeastSquares(
        lambda X, theta: np.exp(theta[0] + theta[1] * X[:, 0]), [0.0, 0.0]
    )
    same = KernelMoments(curve, lam=1e-4).fit(t, y, instruments=z)
    np.testing.assert_allclose(same.params_, model.params_, rtol=1e-6)
    np.testing.assert_allclose(same.predict(t), y, atol=1.5)
    assert not hasattr(model, "predict")


def hinge(X, theta):
    kink, level, left, right = theta
    bend = np.logaddexp(0.0, 2 * (X[:, 0] - kink)) / 2
    return level + left * (X[:, 0] - kink) + (right - left) * bend


def test_the_lowest_norm_of_moments_may_be_elsewhere():
    """A sample whose moments are smallest for a line that is steep at five rows.

    V has a minimum there too, twice as high as that near (2, 3, -0.5, 3).
    """
    rng = np.random.default_rng([40, 1000, 0])
    z = rng.uniform(-5, 5, size=(1000, 2))
    h, eta, e = rng.normal(size=(3, 1000)) * [[5.0], [0.2], [0.1]]
    index = z[:, 0] + np.abs(z[:, 1])
    t = (0.75 * index + 0.25 * (h + eta))[:, None]
    y = hinge(t, (2.0, 3.0, -0.5, 3.0)) + h + e * np.logaddexp(0.0, index)
    curve = NonlinearLeastSquares(hinge, (0.0, 0.0, 0.0, 1.0))
    assert MMR(curve).fit(t, y, instruments=z).params_[2] < -50
    model = KernelMoments(curve, lam=1e-4).fit(t, y, instruments=z)
    assert model.objective_ == pytest.approx(0.01157, abs=1e-5)
    assert model.start_objectives_.max() > 0.02
    np.testing.assert_allclose(model.params_, [2, 3, -0.5, 3], atol=1.0)


def test_unconditional_moments_and_efficient_mean():
    y = np.random.default_rng(0).normal(size=200)
    just = KernelMoments(MeanVariance()).fit(np.ones((200, 1)), y)
    np.testing.assert_allclose(just.params_, [y.mean(), y.var()], rtol=1e-8)
    X = np.column_stack([np.arange(200) % 2, np.full(200, 0.5), 0 * y, 0 * y])
    ate = KernelMoments(ATEMoment(), kappa=0.1).fit(X, y)
    expected = 2 * (X[:, 0] * y - (1 - X[:, 0]) * y).mean()
    assert ate.params_[0] == pytest.approx(expected, abs=1e-9)
    with pytest.raises(ValueError, match="conditional model"):
        KernelMoments(ATEMoment(), one_step=True).fit(X, y)


def test_one_step_is_near_weighted_least_squares():
    errors, weighted = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        t = np.exp(rng.uniform(-1.5, 1.5, 400))
        y = 1.7 * t + t**2 * rng.normal(size=400)
        model = KernelMoments(lam=1e-3, one_step=True).fit(t[:, None], y)
        errors.append(model.params_[0] - 1.7)
        weighted.append(np.sum(y / t**3) / np.sum(t**-2.0) - 1.7)
        assert 0.5 < model.se_[0] / np.sqrt(0.3 / 400) < 2.0
    assert np.mean(np.square(errors)) < 3 * np.mean(np.square(weighted))
    with pytest.raises(ValueError, match="no J test"):
        model.j_test()


def test_score_is_minus_a_norm_of_held_out_moments(data):
    X, y, Z = draw(400, seed=5)
    for features in ("linear", "rkhs"):
        model = fit(data, instrument_features=features, **(
            {} if features == "linear" else {"lam": 1e-3}
        ))  # fmt: skip
        score = model.score(X, y, instruments=Z)
        assert score <= 0
        assert model.score(X, y + 5.0, instruments=Z) < 10 * score
        doubled = model.score(X, y, instruments=Z, sample_weight=np.full(400, 2.0))
        assert doubled == pytest.approx(score)


def test_frames_clone_pickle_and_equal_refits(data):
    X, y, Z = data
    frame = pd.DataFrame(X, columns=["t", "x"])
    instruments = pd.DataFrame(Z, columns=["z1", "z2", "x"])
    model = KernelMoments(lam=1e-3, fit_intercept=True)
    model.fit(frame, pd.Series(y), instruments=instruments)
    assert model.names_ == ["t", "x", "Intercept"]
    assert model.instrument_names_ == ["z1", "z2", "x", "Intercept"]
    again = clone(model).fit(X, y, instruments=Z)
    np.testing.assert_array_equal(again.params_, model.params_)
    kept = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(kept.predict(frame), model.predict(frame))
    assert kept.score(frame, y, instruments=instruments) == model.score(
        frame, y, instruments=instruments
    )


def test_degenerate_data(data):
    X, y, Z = data
    flat = fit((X, np.full(N, 3.0), Z))
    np.testing.assert_allclose(flat.params_, [0.0, 0.0, 3.0], atol=1e-8)
    assert flat.objective_ < 1e-15
    with pytest.warns(UserWarning, match="collinear"):
        constant = np.column_stack([Z, np.ones(N)])
        model = fit((X, y, constant))
    np.testing.assert_allclose(model.params_, fit(data).params_, rtol=1e-7)
    with pytest.raises(ValueError, match="columns of instruments are constant"):
        KernelMoments().fit(X, y, instruments=np.ones((N, 1)))
    with pytest.raises(ValueError, match="under-identified"):
        fit((X, y, Z[:, 2:]))
    with pytest.raises(ValueError, match="cannot hold exactly on 6 rows"):
        fit((X[:6], y[:6], Z[:6]))
    with pytest.raises(ValueError, match="under-identified"):
        KernelMoments(n_instruments=1).fit(X, y, instruments=Z)
    twice = np.repeat(np.arange(20), 4)  # a singular Gram matrix
    assert fit((X[twice], y[twice], Z[twice]), n_components=None).converged_


def test_infeasible_moments_are_said(data):
    """y - theta and y - theta - 5 cannot both have mean zero."""

    class Shifted(MomentModel):
        conditional = False

        def residual(self, theta, data):
            error = data.y - theta[0]
            return np.column_stack([error, error - 5.0])

        def start(self, data):
            return np.array([data.y.mean()])

    X, y, _ = data
    with pytest.raises(ValueError, match="convex hull"):
        KernelMoments(Shifted()).fit(X, y)
    with pytest.warns(UserWarning, match="rows: zero is near the edge"):
        KernelMoments(LargeRegressor()).fit(X, y)


class LargeRegressor(MomentModel):
    """The mean of y is theta, that of a regressor three: wrong, but not infeasible."""

    conditional = False

    def residual(self, theta, data):
        return np.column_stack([data.y - theta[0], data.X[:, 0] - 3.0])

    def start(self, data):
        return np.array([data.y.mean()])


def test_unfinished_fits_warn(data):
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        fit(data, max_iter=1, kappa=0.01)


@pytest.mark.parametrize(
    "params",
    [
        {"kappa": 0.0}, {"lam": -1.0}, {"divergence": "tv"}, {"criterion": "mse"},
        {"bandwidth": 0.0}, {"instrument_features": "spline"}, {"moment": "iv"},
    ],
)  # fmt: skip
def test_options_are_checked(data, params):
    X, y, Z = data
    with pytest.raises(ValueError, match=next(iter(params))):
        KernelMoments(**params).fit(X, y, instruments=Z)


def test_a_functions_output_is_checked(data):
    with pytest.raises(ValueError, match="finite array of shape"):
        fit(data, instrument_features=lambda Z: Z[:, 0])
    with pytest.raises(ValueError, match="linearly dependent"):
        fit(data, instrument_features=lambda Z: np.column_stack([Z, Z[:, 0]]))
