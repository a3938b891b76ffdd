"""The generalised method of moments, beside linearmodels and statsmodels."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from linearmodels.datasets import mroz
from linearmodels.iv import IV2SLS, IVGMM, IVGMMCUE, IVLIML
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from statsmodels.sandbox.regression import gmm as sandbox

from causalweights import GMM
from causalweights.datasets import load_card
from causalweights.moments import (
    MeanVariance,
    MomentModel,
    PoissonMoment,
)

# The same closed form, in another basis of the instruments.
SAME = 1e-7
N = 400


@pytest.fixture(scope="module")
def card():
    return load_card(instruments=["nearc2", "nearc4"])


@pytest.fixture(scope="module")
def arrays():
    """One endogenous regressor, one exogenous, three excluded instruments."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(N, 3))
    u, x = rng.normal(size=(2, N))
    t = Z @ [0.5, 0.4, 0.2] + u
    y = 1.5 * t - 0.5 * x + (0.8 * u + rng.normal(size=N)) * (1 + 0.5 * np.abs(Z[:, 0]))
    return {
        "X": np.column_stack([t, x]),
        "y": y,
        "instruments": np.column_stack([Z, x]),
        "groups": rng.integers(0, 40, size=N),
        "sample_weight": rng.uniform(0.5, 3.0, size=N),
        "counts": rng.integers(0, 4, size=N),
    }


def fitted(arrays, *, weight=None, groups=None, rows=slice(None), **options):
    """Fit on some rows of the arrays."""
    return GMM(**options).fit(
        arrays["X"][rows], arrays["y"][rows], instruments=arrays["instruments"][rows],
        sample_weight=weight, groups=groups,
    )  # fmt: skip


def theirs(cls, arrays, weights=None, *, config=None, **fit):
    """Fit linearmodels' class to the arrays."""
    X, Z = arrays["X"], arrays["instruments"]
    model = cls(
        arrays["y"], X[:, 1:], X[:, :1], Z[:, :3], weights=weights, **(config or {})
    )
    return model.fit(**fit)


def assert_same(ours, result, order=(1, 0), scale=1.0):
    """Compare estimates and standard errors; theirs has the exogenous column first."""
    params, se = (
        np.asarray(v)[list(order)] for v in (result.params, result.std_errors)
    )
    assert_allclose(ours.params_, params, rtol=SAME)
    assert_allclose(ours.se_, scale * se, rtol=SAME)


# ---- published numbers ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "educ", "se"),
    [
        (1, 0.1570593700, 0.0524127),
        (2, 0.1552102, 0.0522023),
    ],
)
def test_card_overidentified(card, steps, educ, se):
    found = GMM(steps=steps, fit_intercept=True)
    found.fit(card.X, card.y, instruments=card.instruments)
    assert found.names_[0] == "educ" and found.names_[-1] == "Intercept"
    assert found.params_[0] == pytest.approx(educ, abs=6e-8)
    assert found.se_[0] == pytest.approx(se, abs=6e-8)
    # In one step, of moments projected off their derivatives: the two-step number.
    assert found.j_test().statistic == pytest.approx(1.26891, abs=6e-6)
    assert found.j_test().pvalue == pytest.approx(0.25997, abs=6e-6)


@pytest.mark.parametrize("steps", [1, 2, "iterated", "cue"])
def test_card_exactly_identified(steps):
    card = load_card(instruments=["nearc4"])
    found = GMM(steps=steps, fit_intercept=True)
    found.fit(card.X, card.y, instruments=card.instruments)
    assert found.params_[0] == pytest.approx(0.1315038362, abs=1e-10)
    assert found.se_[0] == pytest.approx(0.0539995, abs=6e-8)
    assert found.j_test().statistic == 0 and np.isnan(found.j_test().pvalue)
    assert found.objective_ == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("steps", "educ", "j"),
    [(1, 0.0613967, None), (2, 0.0610526, 0.4435), ("cue", 0.0607084, None)],
)
def test_mroz(steps, educ, j):
    data = mroz.load().dropna()
    found = GMM.from_formula(
        "lwage ~ 1 + exper + expersq + [educ ~ fatheduc + motheduc]", data, steps=steps
    )
    assert found.result_.n_samples == 428
    assert found.params_[-1] == pytest.approx(educ, abs=1e-7)
    if j is not None:
        assert found.j_test().statistic == pytest.approx(j, abs=6e-5)


def test_continuous_updating_of_card_is_below_that_of_linearmodels(card):
    found = GMM(steps="cue", center=True, fit_intercept=True)
    found.fit(card.X, card.y, instruments=card.instruments)
    exog = card.X[card.exogenous].assign(one=1.0)
    model = IVGMMCUE(card.y, exog, card.X[["educ"]], card.instruments[card.excluded])
    order = [*card.exogenous, "one", "educ"]
    params = pd.Series(found.params_, index=[*card.X.columns, "one"])[order].to_numpy()
    x = np.column_stack([exog, card.X["educ"]])
    z = np.column_stack([exog, card.instruments[card.excluded]])
    y = card.y.to_numpy()[:, None]
    # Theirs centres by default, and stops short of the minimum: 1.2612617 at 0.16230.
    value = model.j(params, x, y, z)
    assert found.j_test().statistic == pytest.approx(value, rel=1e-8)
    assert (
        value == pytest.approx(1.2612593, abs=1e-7) and value < model.fit().j_stat.stat
    )
    assert found.params_[0] == pytest.approx(0.162376, abs=1e-6)
    se = pd.Series(found.se_, index=[*card.X.columns, "one"])[order].to_numpy()
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert model.j(params + 1e-3 * se * rng.normal(size=16), x, y, z) > value


# ---- side by side --------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("steps", "cls", "options"),
    [
        (1, IV2SLS, {}),
        (2, IVGMM, {}),
        ("iterated", IVGMM, {"iter_limit": 200, "tol": 1e-16}),
    ],
)
def test_estimates_are_those_of_linearmodels(arrays, steps, cls, options, weighted):
    weight = arrays["sample_weight"] if weighted else None
    ours = fitted(arrays, steps=steps, weight=weight)
    result = theirs(cls, arrays, weight, **options)
    assert_same(ours, result)
    assert_allclose(ours.cov_, result.cov.to_numpy()[::-1, ::-1], rtol=SAME)
    if cls is IVGMM:
        assert ours.j_test().statistic == pytest.approx(result.j_stat.stat, rel=1e-6)
        assert ours.j_test().df == result.j_stat.df


KINDS = {
    "unadjusted": ({}, {}, {}),
    "robust centred": ({"center": True}, {"center": True}, {}),
    "cluster": ({}, {}, {}),
    "hac": (
        {"hac_bandwidth": 4}, {"kernel": "bartlett", "bandwidth": 4},
        {"kernel": "bartlett", "bandwidth": 4},
    ),
    "hac parzen": (
        {"hac_bandwidth": 6, "hac_kernel": "parzen"},
        {"kernel": "parzen", "bandwidth": 6}, {"kernel": "parzen", "bandwidth": 6},
    ),
}  # fmt: skip
THEIR_KIND = {"cluster": "clustered", "hac": "kernel"}


@pytest.mark.parametrize("kind", KINDS)
def test_covariances_are_those_of_linearmodels(arrays, kind):
    options, config, cov = KINDS[kind]
    cov_type = kind.split()[0]
    their_type = THEIR_KIND.get(cov_type, cov_type)
    groups = arrays["groups"] if cov_type == "cluster" else None
    if groups is not None:
        config, cov = {"clusters": groups}, {"clusters": groups}
    # linearmodels has no factor C / (C - 1) here, and centres s^2 in the weight alone.
    scale = np.sqrt(40 / 39) if groups is not None else 1.0
    config = {"weight_type": their_type, **config}
    ours = fitted(arrays, cov_type=cov_type, groups=groups, **options)
    center = {"center": True} if "centred" in kind else {}
    result = theirs(IVGMM, arrays, config=config, cov_type=their_type, **cov, **center)
    params = np.asarray(result.params)[::-1]
    assert_allclose(ours.params_, params, rtol=SAME)
    if cov_type == "unadjusted":
        eps = arrays["y"] - arrays["X"] @ ours.params_
        scale = np.sqrt(np.mean(eps**2)) / eps.std()
    assert_allclose(ours.se_, scale * np.asarray(result.std_errors)[::-1], rtol=SAME)
    # And two-stage least squares with these standard errors.
    one = fitted(arrays, steps=1, cov_type=cov_type, groups=groups, **options)
    if "centred" not in kind:
        result = theirs(IV2SLS, arrays, cov_type=their_type, **cov)
        scale = np.sqrt(40 / 39) if groups is not None else 1.0
        assert_same(one, result, scale=scale)


def test_groups_make_robust_errors_clustered(arrays):
    implied = fitted(arrays, groups=arrays["groups"])
    asked = fitted(arrays, groups=arrays["groups"], cov_type="cluster")
    assert_array_equal(implied.se_, asked.se_)
    assert np.all(implied.se_ != fitted(arrays).se_)
    assert "No. clusters" in implied.summary().as_text()
    for cov_type in ("hac", "unadjusted"):
        with pytest.raises(ValueError, match="does not use clusters"):
            fitted(arrays, groups=arrays["groups"], cov_type=cov_type)
    with pytest.raises(ValueError, match="needs groups"):
        fitted(arrays, cov_type="cluster")


def test_continuous_updating_without_heteroskedasticity_is_liml(arrays):
    ours = fitted(arrays, steps="cue", cov_type="unadjusted")
    result = theirs(IVLIML, arrays, cov_type="unadjusted")
    assert_allclose(ours.params_, np.asarray(result.params)[::-1], rtol=SAME)


def test_centring_does_not_move_continuous_updating(arrays):
    # J of one is a monotone function of the other's: J_c = J / (1 - J / N).
    plain, centred = (fitted(arrays, steps="cue", center=c) for c in (False, True))
    assert_allclose(centred.params_, plain.params_, rtol=SAME)
    j = plain.objective_
    assert centred.objective_ == pytest.approx(j / (1 - j / N), rel=1e-8)
    result = theirs(IVGMMCUE, arrays, opt_options={"options": {"gtol": 1e-9}})
    assert_allclose(plain.params_, np.asarray(result.params)[::-1], rtol=1e-6)


@pytest.mark.parametrize("rule", ["newey_west", "andrews"])
def test_bandwidths_are_chosen_at_the_first_step(arrays, rule):
    found = fitted(arrays, cov_type="hac", hac_bandwidth=rule)
    again = fitted(arrays, cov_type="hac", hac_bandwidth=found.hac_bandwidth_)
    assert_array_equal(again.params_, found.params_)
    assert "lags" in found.summary().as_text()
    assert fitted(arrays).hac_bandwidth_ is None


class Multiplicative(sandbox.GMM):
    def momcond(self, params):
        error = self.endog / np.exp(self.exog @ params) - 1
        return self.instrument * error[:, None]


class Additive(sandbox.GMM):
    def momcond(self, params):
        error = self.endog - np.exp(self.exog @ params)
        return self.instrument * error[:, None]


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(0)
    Z = np.column_stack([rng.normal(size=(800, 3)), np.ones(800)])
    u = 0.5 * rng.normal(size=800)
    X = np.column_stack(
        [Z @ [0.6, 0.4, 0.2, 0] + u + 0.4 * rng.normal(size=800), Z[:, 3]]
    )
    return X, rng.poisson(np.exp(0.3 + 0.5 * X[:, 0] + 0.6 * u)).astype(float), Z


@pytest.mark.parametrize(
    ("errors", "peer"), [("additive", Additive), ("multiplicative", Multiplicative)]
)
@pytest.mark.parametrize(("steps", "maxiter"), [(2, 2), ("iterated", 100)])
def test_poisson_with_instruments_is_that_of_statsmodels(
    counts, errors, peer, steps, maxiter
):
    X, y, Z = counts
    ours = GMM(PoissonMoment(errors), steps=steps).fit(X, y, instruments=Z)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its line search reports lost precision
        result = peer(y, X, Z, k_moms=4, k_params=2).fit(
            ours.params_ + 0.05, maxiter=maxiter, inv_weights=Z.T @ Z / len(Z),
            optim_method="bfgs", optim_args={"disp": 0, "gtol": 1e-9},
            wargs={"centered": False},
        )  # fmt: skip
    # It differentiates numerically.
    assert_allclose(ours.params_, result.params, rtol=1e-5)
    assert_allclose(ours.se_, result.bse, rtol=1e-5)
    assert ours.j_test().statistic == pytest.approx(result.jtest()[0], rel=1e-4)
    assert ours.converged_


@pytest.mark.parametrize(
    ("errors", "peer"), [("additive", Additive), ("multiplicative", Multiplicative)]
)
def test_continuous_updating_is_lowest_in_the_objective_of_statsmodels(
    counts, errors, peer
):
    X, y, Z = counts
    ours = GMM(PoissonMoment(errors), steps="cue").fit(X, y, instruments=Z)
    model = peer(y, X, Z, k_moms=4, k_params=2)
    value = model.gmmobjective_cu(ours.params_, wargs={"centered": False})
    assert ours.objective_ == pytest.approx(len(y) * value, rel=1e-8)
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 0.1, 1.0):
        other = ours.params_ + size * ours.se_ * rng.normal(size=(10, 2))
        for theta in other:
            assert model.gmmobjective_cu(theta, wargs={"centered": False}) > value


# ---- identities ----------------------------------------------------------------------

STEPS = pytest.mark.parametrize("steps", [1, 2, "iterated", "cue"])


@STEPS
def test_integer_weights_are_copies(arrays, steps):
    counts = arrays["counts"]
    rows = np.repeat(np.arange(N), counts)
    options = {"steps": steps, "weight_type": "frequency"}
    weighted = fitted(arrays, weight=counts, **options)
    repeated = fitted(arrays, rows=rows, **options)
    for name in ("params_", "se_", "objective_", "weight_matrix_"):
        assert_allclose(getattr(weighted, name), getattr(repeated, name), rtol=SAME)
    assert weighted.result_.n_samples == counts.sum()
    groups = arrays["groups"]
    weighted = fitted(arrays, weight=counts, groups=groups, **options)
    repeated = fitted(arrays, rows=rows, groups=groups[rows], **options)
    assert_allclose(weighted.se_, repeated.se_, rtol=SAME)


@STEPS
def test_weights_of_zero_drop_rows_and_sampling_weights_have_no_scale(arrays, steps):
    weight = np.where(np.arange(N) < 50, 0, arrays["sample_weight"])
    dropped = fitted(arrays, steps=steps, weight=weight[50:], rows=slice(50, None))
    for given in (weight, 1000 * weight):
        found = fitted(arrays, steps=steps, weight=given)
        assert_allclose(found.params_, dropped.params_, rtol=SAME)
        assert_allclose(found.se_, dropped.se_, rtol=SAME)


def test_the_two_kinds_of_weights_are_two_estimators(arrays):
    weight = arrays["counts"] + 1
    sampling = fitted(arrays, weight=weight)
    counted = fitted(arrays, weight=weight, weight_type="frequency")
    assert np.all(np.abs(sampling.params_ / counted.params_ - 1) > 1e-4)


@STEPS
def test_a_doubled_sample_doubles_j(arrays, steps):
    once = fitted(arrays, steps=steps)
    twice = fitted(arrays, steps=steps, rows=np.tile(np.arange(N), 2))
    assert_allclose(twice.params_, once.params_, rtol=SAME)
    assert_allclose(twice.se_, once.se_ / np.sqrt(2), rtol=SAME)
    statistic = once.j_test().statistic
    assert twice.j_test().statistic == pytest.approx(2 * statistic, rel=1e-6)


@STEPS
def test_units_and_order_of_rows_do_not_matter(arrays, steps):
    found = fitted(arrays, steps=steps)
    order = np.random.default_rng(1).permutation(N)
    shuffled = fitted(arrays, steps=steps, rows=order)
    assert_allclose(shuffled.params_, found.params_, rtol=SAME)
    other = GMM(steps=steps).fit(
        arrays["X"] * [1e3, 1e-3], 10 * arrays["y"],
        instruments=arrays["instruments"] * [1e-2, 1, 1e4, 1],
    )  # fmt: skip
    assert_allclose(other.params_ * [100, 1e-4], found.params_, rtol=SAME)
    assert_allclose(other.se_ * [100, 1e-4], found.se_, rtol=SAME)


def test_redundant_instruments_change_nothing(arrays):
    Z = arrays["instruments"]
    more = {**arrays, "instruments": np.column_stack([Z, Z[:, 0] - 2 * Z[:, 3]])}
    with pytest.warns(UserWarning, match="of rank 4: z4 depend"):
        found = fitted(more)
    assert_allclose(found.params_, fitted(arrays).params_, rtol=SAME)
    assert found.j_test().df == 2
    assert found.instrument_names_ == ["z0", "z1", "z2", "z3"]


def test_exogenous_regression_is_least_squares(arrays):
    X = np.column_stack([arrays["X"], np.ones(N)])
    expected = np.linalg.lstsq(X, arrays["y"])[0]
    for steps in (1, 2, "cue"):
        found = GMM(steps=steps, fit_intercept=True).fit(arrays["X"], arrays["y"])
        assert_allclose(found.params_, expected, rtol=SAME)
        assert_allclose(found.predict(arrays["X"]), X @ expected, rtol=SAME)


def test_continuous_updating_is_lowest(arrays):
    values = {}
    for steps in (1, 2, "iterated", "cue"):
        found = fitted(arrays, steps=steps)
        S = arrays["instruments"] * (arrays["y"] - arrays["X"] @ found.params_)[:, None]
        mean = S.mean(axis=0)
        values[steps] = N * mean @ np.linalg.solve(S.T @ S / N, mean)
    assert values["cue"] == min(values.values())
    assert fitted(arrays, steps="cue").objective_ == pytest.approx(values["cue"])


# ---- models written by users ---------------------------------------------------------


class PoissonMean(MomentModel):
    """Mean and variance are one parameter."""

    conditional = False

    def residual(self, theta, data):
        error = data.y - theta[0]
        return np.column_stack([error, error**2 - theta[0]])

    def start(self, data):
        return np.array([data.y.mean()])

    def names(self, data):
        return ["rate"]


def test_a_model_of_ones_own():
    y = np.random.default_rng(2).poisson(52.0, size=500).astype(float)
    found = GMM(PoissonMean()).fit(np.ones((500, 1)), y)
    assert found.names_ == ["rate"] and found.j_test().df == 1
    assert abs(found.params_[0] - 52) < 3 * found.se_[0]
    # The second moment of a Poisson law adds nothing to the mean: var = 52 / n.
    assert found.se_[0] == pytest.approx(np.sqrt(52 / 500), rel=0.1)
    # Brute force over the two-step objective.
    one_step = GMM(PoissonMean(), steps=1).fit(np.ones((500, 1)), y)
    assert one_step.converged_  # Gauss and Newton's steps alone would creep
    first = one_step.params_[0]
    S = np.column_stack([y - first, (y - first) ** 2 - first])
    W = np.linalg.inv(S.T @ S / 500)
    grid = np.linspace(50, 54, 40001)
    square = np.mean(y**2) - 2 * grid * y.mean() + grid**2
    means = np.column_stack([y.mean() - grid, square - grid])
    values = np.einsum("gi,ij,gj->g", means, W, means)
    assert found.params_[0] == pytest.approx(grid[np.argmin(values)], abs=1e-4)


class Sinusoid(MomentModel):
    """A curve whose frequency has many local minima."""

    def residual(self, theta, data):
        return (data.y - np.sin(theta[0] * data.X[:, 0]))[:, None]

    def start(self, data):
        return np.array([0.5])


def test_several_starts_find_what_one_misses():
    rng = np.random.default_rng(0)
    X = rng.uniform(-3, 3, size=(500, 1))
    y = np.sin(2.5 * X[:, 0]) + 0.1 * rng.normal(size=500)
    Z = np.column_stack([np.sin(k * X[:, 0]) for k in range(1, 5)])
    one = GMM(Sinusoid(), n_starts=1).fit(X, y, instruments=Z)
    many = GMM(Sinusoid(), n_starts=20).fit(X, y, instruments=Z)
    assert many.params_[0] == pytest.approx(2.5, abs=0.02)
    assert many.objective_ < one.objective_
    again = GMM(Sinusoid(), n_starts=20).fit(X, y, instruments=Z)
    assert_array_equal(again.params_, many.params_)


# ---- what is refused -----------------------------------------------------------------


def test_options_that_do_not_go_together_are_refused(arrays):
    for options in ({"steps": 1}, {"steps": "cue"}, {"moment": Sinusoid()}):
        with pytest.raises(ValueError, match="windmeijer=True is for linear models"):
            fitted(arrays, windmeijer=True, **options)
    with pytest.raises(ValueError, match="MeanVariance has not"):
        fitted(arrays, moment=MeanVariance(), cov_type="unadjusted")
    with pytest.raises(ValueError, match="'steps' parameter"):
        fitted(arrays, steps=3)


def test_models_the_data_do_not_determine_are_refused(arrays):
    Z = arrays["instruments"]
    with pytest.raises(ValueError, match="1 linearly independent instruments for 2"):
        fitted({**arrays, "instruments": Z[:, :1]})
    with pytest.raises(ValueError, match="2 moments for 3 parameters"):
        GMM(PoissonMoment(), fit_intercept=True).fit(
            arrays["X"], np.abs(arrays["y"]), instruments=Z[:, :1]
        )
    with pytest.raises(ValueError, match="as many instruments as rows, 4"):
        fitted(arrays, rows=slice(0, 4))
    with pytest.raises(ValueError, match="covariance of the 4 moments is singular"):
        fitted(arrays, groups=np.arange(N) % 3)
    fitted(arrays, groups=np.arange(N) % 3, steps=1)  # needs no inverse
    exact = {**arrays, "y": arrays["X"] @ [1.0, 2.0]}
    assert_allclose(fitted(exact, steps=1).params_, [1, 2], rtol=1e-10)


def test_a_refused_fit_changes_nothing(arrays):
    found = fitted(arrays)
    before = vars(found).copy()
    with pytest.raises(ValueError, match="under-identified"):
        found.fit(arrays["X"], arrays["y"], instruments=arrays["X"][:, :1])
    assert vars(found) == before


def test_stopping_early_is_said(arrays):
    with pytest.warns(ConvergenceWarning, match="did not converge to tol"):
        found = fitted(arrays, steps="iterated", max_iter=2)
    assert not found.converged_ and found.n_iter_ == 2
    with pytest.warns(ConvergenceWarning):
        fitted(arrays, steps="cue", max_iter=1, n_starts=1)


# ---- scikit-learn --------------------------------------------------------------------


def test_score_is_minus_the_held_out_norm(arrays):
    train, test = slice(0, 300), slice(300, None)
    found = fitted(arrays, rows=train)
    X, y, Z = (arrays[k][test] for k in ("X", "y", "instruments"))
    weight = arrays["sample_weight"][test]
    mean = np.average(Z * (y - X @ found.params_)[:, None], axis=0, weights=weight)
    expected = -mean @ found.weight_matrix_ @ mean
    found_score = found.score(X, y, instruments=Z, sample_weight=weight)
    assert found_score == pytest.approx(expected)
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        found.score(X, y)


def test_metadata_reaches_a_search(arrays):
    X, y, Z = (arrays[k] for k in ("X", "y", "instruments"))
    search = GridSearchCV(
        GMM(), {"steps": [1, 2], "fit_intercept": [False, True]}, cv=3
    )
    with sklearn.config_context(enable_metadata_routing=True):
        search.fit(X, y, instruments=Z, sample_weight=arrays["sample_weight"])
        requests = GMM().get_metadata_routing()
        scores = cross_val_score(GMM(), X, y, params={"instruments": Z})
    assert np.all(search.cv_results_["mean_test_score"] <= 0) and np.all(scores < 0)
    assert requests.fit.requests == {
        "instruments": True, "sample_weight": True, "groups": True,
    }  # fmt: skip
    assert requests.score.requests == {"instruments": True, "sample_weight": True}


def test_frames_keep_names_and_numbers(arrays):
    X = pd.DataFrame(arrays["X"], columns=["educ", "age"])
    Z = pd.DataFrame(arrays["instruments"], columns=["a", "b", "c", "age"])
    found = GMM(fit_intercept=True).fit(X, pd.Series(arrays["y"]), instruments=Z)
    assert found.names_ == ["educ", "age", "Intercept"]
    assert found.instrument_names_ == ["a", "b", "c", "age", "Intercept"]
    assert_allclose(found.params_, fitted(arrays, fit_intercept=True).params_)
    assert found.wald_test("educ = 1.5").pvalue > 0.01
    copy = pickle.loads(pickle.dumps(found))
    assert_array_equal(copy.predict(X), found.predict(X))
    assert not hasattr(clone(found), "params_")


# ---- law of the estimates ------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2, "cue"])
def test_intervals_cover_and_j_has_its_size(steps):
    reps, n, covered, rejected = 1000, 400, 0, 0
    for r in range(reps):
        rng = np.random.default_rng(r)
        Z = np.column_stack([rng.normal(size=(n, 3)), np.ones(n)])
        u = rng.normal(size=n)
        X = np.column_stack([Z @ [0.5, 0.4, 0.3, 0] + u, np.ones(n)])
        noise = (0.7 * u + rng.normal(size=n)) * (0.5 + np.abs(Z[:, 0]))
        found = GMM(steps=steps, n_starts=1).fit(
            X, X @ [1.0, 2.0] + noise, instruments=Z
        )
        low, high = found.conf_int()[0]
        covered += low <= 1 <= high
        rejected += found.j_test().pvalue < 0.05
    # Four Monte-Carlo errors around 0.95 and 0.05, and what n = 400 leaves.
    assert 0.92 < covered / reps < 0.965
    assert 0.02 < rejected / reps < 0.08
