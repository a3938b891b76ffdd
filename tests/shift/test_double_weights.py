"""The matching weighters as scikit-learn estimators."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalweights import DoubleKernelMeanMatching, KernelMeanMatching
from causalweights.discrepancy import energy_distance
from causalweights.kernels import Gaussian, Laplace
from causalweights.shift import MatchingProblem, TargetSample, weight_path
from causalweights.shift._bandwidth import neighbor_distance


@pytest.fixture(scope="module")
def pair(design_a):
    return design_a(90, 0, 70)


@pytest.mark.parametrize("D", [1.0, 2.0, np.inf])
def test_attributes_are_those_of_the_program(D, pair):
    X, target = pair
    weighter = DoubleKernelMeanMatching(D=D, B=50.0, kappa=0.01)
    assert weighter.fit(X, X_target=target) is weighter
    sigma = neighbor_distance(np.vstack(pair))
    problem = MatchingProblem(X, target, Gaussian(sigma))
    found = problem.solve(D, 50.0, 0.01)
    assert_array_equal(weighter.beta_, found.beta)
    assert_array_equal(weighter.alpha_, found.alpha)
    assert weighter.bandwidth_ == sigma and weighter.kernel_ == Gaussian(sigma)
    assert weighter.mmd2_before_ == problem.mmd2_before()
    for name in ("objective", "mmd2", "gap", "relative_gap", "n_iter", "converged",
                 "ess_source", "ess_target", "ball_active", "cap_active"):  # fmt: skip
        assert getattr(weighter, f"{name}_") == getattr(found, name), name
    new = target + 0.1
    assert_array_equal(
        weighter.predict_weights(new), problem.source_weights(new, found)
    )
    assert_array_equal(weighter.target_weights(new), problem.target_weights(new, found))


def test_kernel_mean_matching_is_the_case_of_one(pair):
    X, target = pair
    one = KernelMeanMatching(kappa=0.02).fit(X, X_target=target)
    same = DoubleKernelMeanMatching(D=1.0, kappa=0.02).fit(X, X_target=target)
    assert_array_equal(one.beta_, same.beta_)
    assert_array_equal(one.alpha_, np.ones(70))
    assert_array_equal(one.predict_weights(target), same.predict_weights(target))


def test_both_styles_agree(both):
    apart, mixed = both
    one = DoubleKernelMeanMatching().fit(apart["X"], X_target=apart["X_target"])
    two = DoubleKernelMeanMatching().fit(
        mixed["X"], mixed["y"], sample_domain=mixed["sample_domain"]
    )
    assert_array_equal(one.beta_, two.beta_)
    assert_array_equal(one.alpha_, two.alpha_)


def test_rows_without_weight_are_left_out(pair, rng):
    X, target = pair
    s, r = rng.integers(0, 3, size=90), rng.integers(0, 3, size=70)
    weighter = DoubleKernelMeanMatching(weight_type="frequency", bandwidth=0.7)
    some = clone(weighter).fit(X, X_target=TargetSample(target, r), sample_weight=s)
    copies = weighter.fit(
        np.repeat(X, s, axis=0), X_target=np.repeat(target, r, axis=0)
    )
    assert_array_equal(some.beta_[s == 0], 0.0)
    assert_array_equal(some.alpha_[r == 0], 0.0)
    assert_allclose(np.repeat(some.beta_, s), copies.beta_, atol=1e-8)
    assert_allclose(np.repeat(some.alpha_, r), copies.alpha_, atol=1e-8)
    assert some.ess_source_ == pytest.approx(copies.ess_source_)


def test_sampling_weights_by_domain(both, rng):
    apart, mixed = both
    weight = rng.uniform(0.5, 2.0, size=150)
    domain = mixed["sample_domain"]
    one = DoubleKernelMeanMatching().fit(
        apart["X"], sample_weight=weight[domain == 1],
        X_target=TargetSample(apart["X_target"], weight[domain == -1]),
    )  # fmt: skip
    two = DoubleKernelMeanMatching().fit(
        mixed["X"], sample_domain=domain, sample_weight=weight
    )
    assert_array_equal(one.beta_, two.beta_)
    assert_array_equal(one.alpha_, two.alpha_)


def test_standardized_columns_have_no_units(pair):
    X, target = pair
    scale, shift = np.array([1e3, 1e-2]), np.array([5.0, -1.0])
    plain = DoubleKernelMeanMatching(standardize=True).fit(X, X_target=target)
    moved = DoubleKernelMeanMatching(standardize=True).fit(
        X * scale + shift, X_target=target * scale + shift
    )
    assert_allclose(moved.beta_, plain.beta_, atol=1e-8)
    assert_allclose(
        moved.target_weights(target * scale + shift), plain.alpha_, atol=1e-8
    )
    # By mean and deviation of both samples together, each row once.
    pooled = np.vstack(pair)
    Z = (pooled - pooled.mean(axis=0)) / pooled.std(axis=0)
    by_hand = DoubleKernelMeanMatching().fit(Z[:90], X_target=Z[90:])
    assert_allclose(plain.beta_, by_hand.beta_, atol=1e-8)


@pytest.mark.parametrize("options", [
    {"kernel": Laplace(0.5)}, {"kernel": Laplace("median"), "D": 2.0},
    {"bandwidth": "median"}, {"bandwidth": 0.9}, {"solver": "low_rank", "rank": 50},
])  # fmt: skip
def test_options_reach_the_program(options, pair):
    X, target = pair
    weighter = DoubleKernelMeanMatching(**options).fit(X, X_target=target)
    assert weighter.converged_ and weighter.mmd2_ < 0.1 * weighter.mmd2_before_
    plain = DoubleKernelMeanMatching().fit(X, X_target=target)
    if "solver" in options:
        assert_allclose(weighter.beta_, plain.beta_, atol=1e-2)
    else:
        assert np.abs(weighter.beta_ - plain.beta_).max() > 0.05


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_frames_with_categories(library, pair, rng):
    X, target = pair
    words = np.array(["north", "south", "west"])

    def frame(values, seed):
        town = words[np.random.default_rng(seed).integers(0, 3, size=len(values))]
        return library({"u": values[:, 0], "v": values[:, 1], "town": town})

    source, goal = frame(X, 0), frame(target, 1)
    weighter = DoubleKernelMeanMatching(standardize=True).fit(source, X_target=goal)
    assert weighter.feature_names_in_.tolist() == ["u", "v", "town"]
    assert_array_equal(weighter.predict_weights(source), weighter.beta_)
    assert_array_equal(weighter.target_weights(goal), weighter.alpha_)
    with pytest.raises(ValueError, match="frame"):
        weighter.predict_weights(X)


def test_pickle_and_clone(pair):
    X, target = pair
    weighter = DoubleKernelMeanMatching(D=2.0).fit(X, X_target=target)
    loaded = pickle.loads(pickle.dumps(weighter))
    assert_array_equal(loaded.predict_weights(target), weighter.predict_weights(target))
    assert len(pickle.dumps(weighter)) < 100_000  # no Gram matrix
    again = clone(weighter).fit(X, X_target=target)
    assert_array_equal(again.beta_, weighter.beta_)


def test_a_refused_fit_keeps_the_earlier_one(pair):
    X, target = pair
    weighter = DoubleKernelMeanMatching().fit(X, X_target=target)
    before = weighter.beta_
    with pytest.raises(ValueError, match="target sample is missing"):
        weighter.fit(X[:50])
    assert weighter.beta_ is before and len(weighter.predict_weights(X)) == 90


# ---- warnings ------------------------------------------------------------------------


def messages(weighter, X, target, category=UserWarning):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        weighter.fit(X, X_target=target)
    assert all(w.filename == __file__ for w in caught)
    return [str(w.message) for w in caught if issubclass(w.category, category)]


def test_a_sound_fit_does_not_warn(pair):
    assert messages(DoubleKernelMeanMatching(), *pair) == []


def test_warnings_of_the_weights(pair, design_a, rng):
    X, target = pair
    few = messages(KernelMeanMatching(kappa=0.0), X, target)
    assert len(few) == 1 and "source weights rest on few rows" in few[0]
    (cap,) = messages(DoubleKernelMeanMatching(B=2.0, D=4.0), X, target)
    assert "at their bound B / sqrt(D) = 1" in cap
    (small,) = messages(DoubleKernelMeanMatching(), X, target[:49])
    assert "target sample has 49 rows" in small
    apart = messages(DoubleKernelMeanMatching(D=1e4), X, target + 20.0)
    assert any("the target keeps" in m and "%" in m for m in apart)
    short = messages(
        DoubleKernelMeanMatching(solver="low_rank", rank=5, kappa=1e-4), X, target,
        ConvergenceWarning,
    )  # fmt: skip
    assert len(short) == 1 and "not optimal to tol=1e-08" in short[0]


def test_few_rows_of_many_are_warned_of(rng):
    # 20 rows of 600 near the target: more than ten, less than 5 %.
    X = np.concatenate([rng.normal(size=580), rng.normal(8.0, 0.1, size=20)])[:, None]
    target = rng.normal(8.0, 0.1, size=(60, 1))
    weighter = KernelMeanMatching(bandwidth=1.0)
    (few,) = messages(weighter, X, target)
    assert 10 < weighter.ess_source_ < 30 and "rest on few rows" in few


# ---- score, searches, pipelines ------------------------------------------------------


def test_score_is_the_energy_distance_of_weighted_held_out_rows(pair, design_a):
    X, target = pair
    new, _ = design_a(40, 7)
    weighter = DoubleKernelMeanMatching(D=2.0).fit(X, X_target=target)
    both = np.vstack([new, target])
    Z = (both - both.mean(axis=0)) / both.std(axis=0)
    expected = energy_distance(
        Z[:40],
        Z[40:],
        x_weights=weighter.predict_weights(new),
        y_weights=weighter.alpha_,
    )
    assert weighter.score(new) == pytest.approx(-expected, rel=1e-9)
    domain = np.repeat([1, -1], [40, 70])
    by_domain = weighter.score(both, sample_domain=domain)
    assert by_domain == pytest.approx(-expected, rel=1e-9)
    weights = np.repeat([0.0, 2.0], [1, 39])
    weighted = weighter.score(new, sample_weight=weights)
    assert weighted == pytest.approx(weighter.score(new[1:]))
    far = weighter.score(new - 1000.0)
    assert far < 10 * weighter.score(new)


@pytest.mark.parametrize("routing", [False, True])
def test_grid_search_over_a_weighter(routing, design_a):
    X, target = design_a(120, 0)
    grid = {"kappa": [1e-6, 1e-2, 1e3]}
    with sklearn.config_context(enable_metadata_routing=routing):
        search = GridSearchCV(KernelMeanMatching(), grid, cv=3)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the source weights rest")
            search.fit(X, X_target=TargetSample(target))
    # Interpolating weights and equal ones are both poor for held-out rows.
    assert search.best_params_ == {"kappa": 1e-2}


def test_grid_search_by_domain_needs_routing(both):
    _, mixed = both
    X, domain = mixed["X"], mixed["sample_domain"]
    grid = {"kappa": [1e-2, 1e3]}
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(KernelMeanMatching(), grid, cv=3)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the (source|target)")
            search.fit(X, sample_domain=domain)
    assert search.best_params_ == {"kappa": 1e-2}
    weighter = KernelMeanMatching().fit(X, sample_domain=domain)
    with pytest.raises(ValueError, match="enable_metadata_routing=True"):
        weighter.score(X)


def test_pipelines_scale_the_target_where_they_are_told_to(pair):
    X, target = pair
    scale = np.array([30.0, 0.1])
    scaler = StandardScaler().fit(X * scale)
    expected = DoubleKernelMeanMatching().fit(
        scaler.transform(X * scale), X_target=scaler.transform(target * scale)
    )
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = make_pipeline(
            StandardScaler(), DoubleKernelMeanMatching(), transform_input=["X_target"]
        )
        pipe.fit(X * scale, X_target=target * scale)
    assert_array_equal(pipe[-1].beta_, expected.beta_)
    # With domains the scaler sees both samples.
    pooled, domain = np.vstack([X, target]), np.repeat([1, -1], [90, 70])
    pipe = make_pipeline(StandardScaler(), DoubleKernelMeanMatching())
    pipe.fit(pooled * scale, doublekernelmeanmatching__sample_domain=domain)
    inside = DoubleKernelMeanMatching(standardize=True).fit(X, X_target=target)
    assert_allclose(pipe[-1].beta_, inside.beta_, atol=1e-8)


# ---- several D -----------------------------------------------------------------------


def test_a_path_has_the_weights_of_single_fits(pair):
    X, target = pair
    weighter = DoubleKernelMeanMatching(kappa=0.01, standardize=True)
    path = weight_path(weighter, X, D=[1.0, 1.5, np.inf], X_target=target)
    assert vars(weighter) == vars(clone(weighter))
    for D, found in zip([1.0, 1.5, np.inf], path.solutions):
        single = clone(weighter).set_params(D=D).fit(X, X_target=target)
        assert_allclose(found.beta, single.beta_, atol=1e-8)
        assert_allclose(found.alpha, single.alpha_, atol=1e-8)
    assert path.values("ess_source").shape == (3,)
    with pytest.raises(ValueError, match="target sample is missing"):
        weight_path(weighter, X)
    with pytest.raises(ValueError, match="kappa"):
        weight_path(DoubleKernelMeanMatching(kappa=-1.0), X, X_target=target)


@pytest.mark.parametrize("bad", [
    {"D": 0.9}, {"D": "auto"}, {"kappa": -1}, {"B": 0}, {"bandwidth": "scott"},
    {"kernel": "laplace"}, {"solver": "cone"}, {"rank": 0}, {"tol": 0},
])  # fmt: skip
def test_parameters_are_checked(bad, pair):
    X, target = pair
    with pytest.raises(ValueError, match=next(iter(bad))):
        DoubleKernelMeanMatching(**bad).fit(X, X_target=target)
