"""KernelIV: two-stage least squares, invariance, weights, limits, degenerate data."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from linearmodels.iv import IV2SLS
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from causalweights import KernelIV, WeightedKernelRidge

N = 200
GRID = np.linspace(-3.0, 3.0, 13)[:, None]
FIXED = {"slope_variance": 1.0, "smooth_variance": 3.0, "steepness": 1.0}


def draw(g=np.sin, n=N, seed=0, q=2, confounded=1.0):
    """The network design: t, y, z, of which the first instrument matters."""
    rng = np.random.default_rng(seed)
    z, e = rng.uniform(-3, 3, size=(n, q)), rng.normal(size=n)
    t = z[:, 0] + confounded * e + (1 - confounded) * rng.normal(size=n)
    return t[:, None], g(t) + e, z


def fit(sample, estimator=None, **metadata):
    T, y, z = sample
    return (estimator or KernelIV()).fit(T, y, instruments=z, **metadata)


def error(model, g):
    return np.mean((model.predict(GRID) - g(GRID[:, 0])) ** 2)


@pytest.fixture(scope="module")
def sample():
    return draw()


@pytest.fixture(scope="module")
def fitted(sample):
    return fit(sample)


# ---- corners -------------------------------------------------------------------------


def test_linear_and_vague_is_two_stage_least_squares(sample):
    T, y, z = sample
    iv = fit(
        sample,
        KernelIV(
            slope_variance=np.inf, smooth_variance=0.0, cov_type="unadjusted", tol=1e-12
        ),
    )
    B = iv._instruments.transform(z)
    oracle = IV2SLS(y, np.ones(N), T, B[:, 1:]).fit(cov_type="unadjusted")
    columns = np.column_stack([np.ones(len(GRID)), GRID])
    np.testing.assert_allclose(iv.predict(GRID), columns @ oracle.params, rtol=1e-8)
    se = np.sqrt(np.einsum("ij,jk,ik->i", columns, oracle.cov, columns))
    low, high = iv.predict_interval(GRID).T
    # The covariance of a unit outcome is 1e-8 at least.
    np.testing.assert_allclose((high - low) / 2, 1.959964 * se, rtol=1e-6)
    assert iv.effective_dim_ == pytest.approx(2.0)


def test_confounding_is_removed():
    for g in (np.sin, np.abs, np.tanh):
        sample = draw(g, n=800)
        iv = fit(sample)
        regression = WeightedKernelRidge().fit(*sample[:2])
        assert error(iv, g) < 0.3 * error(regression, g)


def test_without_instruments_it_is_a_regression():
    T, y, _ = draw(np.abs, n=800, confounded=0.0)
    y = np.abs(T[:, 0]) + np.random.default_rng(1).normal(size=800)
    iv = KernelIV().fit(T, y)
    assert iv.first_stage_f_[0] > 1e6
    assert error(iv, np.abs) < 0.02
    instrumented = fit((T, y, draw(n=800, confounded=0.0)[2]))
    assert error(iv, np.abs) < error(instrumented, np.abs)


def test_robust_covariance_weights_heteroskedastic_moments():
    errors = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        z, e = rng.uniform(-3, 3, size=600), rng.normal(size=600)
        t, scale = z + e, np.exp(1.2 * z) / 10.0
        sample = t[:, None], np.abs(t) + scale * e, z
        errors.append(
            [
                error(fit(sample, KernelIV(cov_type=kind)), np.abs)
                for kind in ("robust", "unadjusted")
            ]
        )
    robust, unadjusted = np.mean(errors, axis=0)
    assert robust < 0.75 * unadjusted


def test_exogenous_columns_among_the_instruments():
    rng = np.random.default_rng(3)
    z, w, e = rng.normal(size=(3, 800))
    t = z + 0.5 * w + 0.8 * e
    X, truth = np.column_stack([t, w]), np.sin(t) + w**2
    iv = KernelIV().fit(X, truth + e, instruments=np.column_stack([z, w]))
    regression = WeightedKernelRidge().fit(X, truth + e)
    middle = np.abs(X).max(axis=1) < 2
    gaps = [np.mean((m.predict(X) - truth)[middle] ** 2) for m in (iv, regression)]
    assert gaps[0] < 0.3 * gaps[1]
    assert iv.first_stage_f_.shape == (2,)
    with pytest.warns(UserWarning, match="weak for x1:"):
        KernelIV().fit(X, truth + e, instruments=z)


# ---- invariance ----------------------------------------------------------------------


def test_units_do_not_matter(sample, fitted):
    T, y, z = sample
    other = KernelIV().fit(
        5.0 - 20.0 * T, 100.0 + 1e4 * y, instruments=z * [1e-5, 3.0] + [1.0, -7.0]
    )
    np.testing.assert_allclose(
        other.predict(5.0 - 20.0 * GRID), 100.0 + 1e4 * fitted.predict(GRID), rtol=1e-6
    )
    np.testing.assert_allclose(
        other.predict_interval(5.0 - 20.0 * GRID),
        100.0 + 1e4 * fitted.predict_interval(GRID),
        rtol=1e-5,
        atol=1.0,
    )
    for name in ("smooth_variance_", "evidence_", "effective_dim_", "first_stage_f_"):
        np.testing.assert_allclose(
            getattr(other, name), getattr(fitted, name), rtol=1e-5
        )


def test_order_of_rows_does_not_matter(sample, fitted):
    order = np.random.default_rng(2).permutation(N)
    shuffled = fit([part[order] for part in sample])
    np.testing.assert_allclose(
        shuffled.predict(GRID), fitted.predict(GRID), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("clustered", [False, True])
def test_frequency_weights_are_copies(sample, clustered):
    s = np.random.default_rng(4).integers(0, 4, size=N)
    counts = KernelIV(weight_type="frequency", bandwidth=1.0)
    groups = np.arange(N) // 4 if clustered else None
    weighted = fit(sample, counts, sample_weight=s, groups=groups)
    copies = [np.repeat(part, s, axis=0) for part in sample]
    repeated = fit(
        copies,
        KernelIV(bandwidth=1.0),
        groups=np.repeat(groups, s) if clustered else None,
    )
    np.testing.assert_allclose(
        weighted.predict(GRID), repeated.predict(GRID), atol=1e-5
    )
    np.testing.assert_allclose(
        weighted.predict_interval(GRID), repeated.predict_interval(GRID), atol=1e-5
    )
    assert weighted.evidence_ == pytest.approx(repeated.evidence_, abs=1e-4)
    np.testing.assert_allclose(weighted.first_stage_f_, repeated.first_stage_f_)


def test_sampling_weights_have_no_scale_and_zero_is_no_row(sample):
    s = np.random.default_rng(5).uniform(size=N) * (np.arange(N) % 5 > 0)
    one, two = (fit(sample, sample_weight=scale * s) for scale in (1.0, 50.0))
    np.testing.assert_allclose(one.predict(GRID), two.predict(GRID), rtol=1e-8)
    kept = s > 0
    dropped = fit([part[kept] for part in sample], sample_weight=s[kept])
    np.testing.assert_allclose(one.predict(GRID), dropped.predict(GRID), rtol=1e-8)
    equal = fit([part[kept] for part in sample])
    assert np.abs(one.predict(GRID) - equal.predict(GRID)).max() > 0.01


def test_copies_in_clusters_are_one_row(sample):
    plain = fit(sample, KernelIV(bandwidth=1.0, n_instruments=20, **FIXED))
    doubled = [np.vstack([part, part]) if part.ndim == 2 else np.tile(part, 2)
               for part in sample]  # fmt: skip
    clustered = fit(
        doubled,
        KernelIV(bandwidth=1.0, n_instruments=20, **FIXED),
        groups=np.tile(np.arange(N), 2),
    )
    wide, naive = (
        np.ptp(model.predict_interval(GRID), axis=1)
        for model in (clustered, fit(doubled, KernelIV(bandwidth=1.0, **FIXED)))
    )
    # But for the factor N / (N - 1) of clusters.
    np.testing.assert_allclose(
        wide, np.ptp(plain.predict_interval(GRID), axis=1), rtol=0.01
    )
    assert np.mean(naive) < 0.9 * np.mean(wide)


def test_frames_and_single_precision(sample, fitted):
    T, y, z = sample
    frame = pd.DataFrame(T, columns=["price"])
    named = KernelIV().fit(
        frame, pd.Series(y), instruments=pd.DataFrame(z, columns=["cost", "tax"])
    )
    assert named.feature_names_in_.tolist() == ["price"]
    at = pd.DataFrame(GRID, columns=["price"])
    np.testing.assert_allclose(named.predict(at), fitted.predict(GRID), rtol=1e-10)
    single = fit([part.astype(np.float32) for part in sample])
    assert single.predict(GRID.astype(np.float32)).dtype == np.float64
    np.testing.assert_allclose(single.predict(GRID), fitted.predict(GRID), atol=1e-3)


# ---- degenerate data -----------------------------------------------------------------


def test_constant_columns_are_ignored(sample, fitted):
    T, y, z = sample
    with pytest.warns(UserWarning, match="constant covariates are ignored: x1"):
        more = KernelIV().fit(
            np.column_stack([T, np.ones(N)]), y,
            instruments=np.column_stack([np.ones(N), z]),
        )  # fmt: skip
    at = np.column_stack([GRID, np.ones(len(GRID))])
    np.testing.assert_allclose(more.predict(at), fitted.predict(GRID), rtol=1e-6)
    for X, Z in [(np.ones((N, 1)), z), (T, np.ones((N, 1)))]:
        with pytest.raises(ValueError, match="constant"):
            KernelIV().fit(X, y, instruments=Z)


def test_constant_outcome(sample):
    T, _, z = sample
    flat = KernelIV().fit(T, np.full(N, 7.0), instruments=z)
    np.testing.assert_allclose(flat.predict(GRID), 7.0)
    assert np.all(np.isfinite(flat.predict_interval(GRID)))


def test_outcome_without_noise(sample):
    T, _, z = sample
    exact = KernelIV().fit(T, 2.0 - 3.0 * T[:, 0], instruments=z)
    np.testing.assert_allclose(exact.predict(GRID), 2.0 - 3.0 * GRID[:, 0], atol=1e-2)
    assert exact.converged_


def test_two_rows():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        tiny = KernelIV().fit([[0.0], [1.0]], [0.0, 1.0], instruments=[[0.0], [1.0]])
    assert np.all(np.isfinite(tiny.predict([[0.0], [0.5], [9.0]])))
    assert tiny.n_instruments_ == 1


def test_what_the_instruments_do_not_see_keeps_its_prior(sample):
    T, y, z = sample
    prior = {"slope_variance": 0.0, "smooth_variance": 1.0, "steepness": 4.0}
    many, few = (
        np.ptp(
            KernelIV(**prior).fit(T, y, instruments=Z).predict_interval(GRID), axis=1
        )
        for Z in (z, (z[:, :1] > 0).astype(float))
    )
    assert np.all(many < few) and np.mean(many) < 0.7 * np.mean(few)


def test_two_instrument_values(sample):
    T, y, z = sample
    binary = KernelIV().fit(T, y, instruments=(z[:, :1] > 0).astype(float))
    assert binary.n_instruments_ == 1
    # Of the function two directions: a level and one contrast.
    assert binary.effective_dim_ < 2.0 + 1e-9


def test_weak_instruments_are_said(sample):
    T, y, _ = sample
    noise = np.random.default_rng(6).normal(size=(N, 2))
    with pytest.warns(UserWarning, match=r"weak for x0: the first-stage F .* below 10"):
        weak = KernelIV().fit(T, y, instruments=noise)
    assert weak.first_stage_f_[0] < 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(sample)


def test_updates_that_do_not_converge_are_said(sample):
    with pytest.warns(ConvergenceWarning, match="did not converge to tol"):
        stopped = fit(sample, KernelIV(max_iter=1))
    assert not stopped.converged_ and stopped.n_iter_ == 1


@pytest.mark.parametrize(
    ("params", "metadata", "message"),
    [
        ({"cov_type": "cluster"}, {}, "needs groups"),
        (
            {"cov_type": "unadjusted"},
            {"groups": np.arange(N) // 2},
            "does not use clusters",
        ),
        ({}, {"groups": np.zeros(N)}, "one cluster only"),
        ({"smooth_variance": np.inf}, {}, "smooth_variance"),
        ({"steepness": 0.0}, {}, "steepness"),
        ({}, {"sample_weight": np.zeros(N)}, "zero on every row"),
    ],
)
def test_bad_input_is_refused(sample, params, metadata, message):
    iv = KernelIV(**params)
    with pytest.raises(ValueError, match=message):
        fit(sample, iv, **metadata)
    assert not hasattr(iv, "n_features_in_")


# ---- what is reported ----------------------------------------------------------------


def test_path_and_averages(fitted):
    path = fitted.prior_path_
    assert {len(column) for column in path.values()} == {6 * 6 * 3}
    assert path["weight"].sum() == pytest.approx(1.0)
    order = np.argsort(path["evidence"])
    assert np.all(np.diff(path["weight"][order]) >= 0)
    for name in ("slope_variance", "smooth_variance", "steepness"):
        mean = path["weight"] @ path[name]
        assert getattr(fitted, f"{name}_") == pytest.approx(mean)
    assert fitted.evidence_ == pytest.approx(np.log(np.mean(np.exp(path["evidence"]))))


def test_given_prior_is_used(sample):
    given = fit(sample, KernelIV(**FIXED))
    assert given.slope_variance_ == 1.0 and given.smooth_variance_ == 3.0
    assert given.prior_path_["weight"].tolist() == [1.0]
    f = given._function
    H, rest = f.basis.transform(GRID), f.basis.unseen(GRID, 0)
    variance = np.diag(H @ f.error @ H.T) + 3.0 * np.sum(rest**2, axis=1)
    np.testing.assert_allclose(
        np.ptp(given.predict_interval(GRID), axis=1),
        2 * 1.959964 * sample[1].std() * np.sqrt(variance),
        rtol=1e-6,
    )
    wide = fit(sample, KernelIV(**FIXED | {"smooth_variance": 100.0}))
    widths = [np.ptp(m.predict_interval(GRID), axis=1) for m in (given, wide)]
    assert np.all(widths[0] < widths[1])


def test_limits(fitted):
    narrow, limits = (fitted.predict_interval(GRID, level) for level in (0.8, 0.95))
    center = fitted.predict(GRID)
    for low, high in (narrow.T, limits.T):
        np.testing.assert_allclose((low + high) / 2, center)
    ratio = np.ptp(limits, axis=1) / np.ptp(narrow, axis=1)
    np.testing.assert_allclose(ratio, 1.959964 / 1.281552, rtol=1e-6)
    uniform = fitted.predict_interval(GRID, kind="uniform")
    ratio = np.ptp(uniform, axis=1) / np.ptp(limits, axis=1)
    np.testing.assert_allclose(ratio, ratio[0])
    assert ratio[0] == pytest.approx(1.55, abs=0.45)
    again = fitted.predict_interval(GRID, kind="uniform")
    np.testing.assert_array_equal(uniform, again)
    far = fitted.predict_interval([[0.0], [30.0]])
    assert np.ptp(far[1]) > 3 * np.ptp(far[0])


def test_score_is_minus_the_norm_of_moments(sample, fitted):
    T, y, z = draw(seed=9)
    s = np.random.default_rng(7).uniform(size=N)
    B = fitted._instruments.transform(z)
    scale = sample[1].std()
    mean = B.T @ (s / s.sum() * (y - fitted.predict(T)) / scale)
    expected = -mean @ np.linalg.solve(fitted._omega, mean)
    assert fitted.score(T, y, instruments=z, sample_weight=s) == pytest.approx(expected)
    linear = fit(sample, KernelIV(smooth_variance=0.0))
    assert fitted.score(T, y, instruments=z) > linear.score(T, y, instruments=z)
    with pytest.raises(ValueError, match="instruments are missing"):
        fitted.score(T, y)


def test_search_through_metadata_routing(sample):
    T, y, z = draw(np.abs, n=400)
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(KernelIV(), {"smooth_variance": [0.0, 3.0]}, cv=3)
        search.fit(T, y, instruments=z)
    assert search.best_params_["smooth_variance"] == 3.0
