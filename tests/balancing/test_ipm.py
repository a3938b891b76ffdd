"""IPMBalancer: closed forms, certificates, invariances, weights and refusals."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalweights import EntropyBalancer, IPMBalancer, PropensityWeighter
from causalweights.discrepancy import energy_distance, squared_mmd
from causalweights.kernels import Energy, Gaussian, Laplace, Linear, Matern

# Weights of two routes to the same strictly convex optimum; the solver's own gap is
# 1e-13 of the objective, so weights agree to its square root times a condition number.
SAME = 1e-7
KERNELS = ["energy", "gaussian", "laplace", "matern", "linear"]


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(160, 3))
    a = (X[:, 0] - 0.5 * X[:, 1] + rng.logistic(size=160) > 0).astype(int)
    return X, a


def standardized(X, s=None):
    mean = np.average(X, axis=0, weights=s)
    return (X - mean) / np.sqrt(np.average((X - mean) ** 2, axis=0, weights=s))


def two_arms(source, target):
    """Return X, treatment with the source as control arm (label 0)."""
    X = np.array([*source, *target], dtype=float)[:, None]
    return X, np.array([0] * len(source) + [1] * len(target))


# ------------------------------------------------------------------ closed forms
@pytest.mark.parametrize("kernel", [Energy(), Gaussian(1.0), Laplace(1.0), Matern(1.0)])
def test_symmetric_source_gets_equal_weights(kernel):
    X, a = two_arms([-1, 1], [0, 0])
    fit = IPMBalancer(
        estimand="att", discriminator=kernel, ridge=0, standardize=False
    ).fit(X, a)
    np.testing.assert_allclose(fit.masses_[:2], 0.5, atol=1e-12)


@pytest.mark.parametrize("t", [0.0, 0.2, 0.7, 1.0])
@pytest.mark.parametrize("kernel", [Energy(), Linear()])
def test_two_source_points_interpolate(kernel, t):
    X, a = two_arms([0, 1], [t, t])
    fit = IPMBalancer(
        estimand="att", discriminator=kernel, ridge=0, standardize=False
    ).fit(X, a)
    np.testing.assert_allclose(fit.masses_[:2], [1 - t, t], atol=1e-8)


@pytest.mark.parametrize("kernel", ["energy", "gaussian", "laplace", "matern"])
def test_target_at_a_source_point_takes_all_mass(kernel):
    rng = np.random.default_rng(0)
    source = rng.normal(size=(12, 2))
    X = np.vstack([source, source[[4]], source[[4]]])
    a = np.array([0] * 12 + [1] * 2)
    with pytest.warns(UserWarning, match="rest on few rows"):
        fit = IPMBalancer(estimand="att", discriminator=kernel, ridge=0).fit(X, a)
    np.testing.assert_allclose(fit.masses_[:12], np.eye(12)[4], atol=1e-6)
    assert fit.discrepancy_[0] < 1e-10


@pytest.mark.parametrize("kernel", KERNELS)
def test_equal_samples_get_uniform_weights(kernel, sample):
    X, _ = sample
    both = np.vstack([X, X])
    a = np.repeat([0, 1], len(X))
    fit = IPMBalancer(estimand="att", discriminator=kernel).fit(both, a)
    np.testing.assert_allclose(fit.weights_, 1.0, atol=1e-8)
    assert fit.discrepancy_[0] < 1e-12


# ---------------------------------------------------- certificate and dominance
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("ridge", [0.0, 1e-4, 1e-1])
def test_frank_wolfe_gap_recomputed_from_scratch(kernel, ridge, sample):
    X, a = sample
    fit = IPMBalancer(estimand="att", discriminator=kernel, ridge=ridge).fit(X, a)
    Z = standardized(X)
    K = fit.kernel_(Z[a == 0])
    q = fit.kernel_(Z[a == 0], Z[a == 1]).mean(axis=1)
    w = fit.masses_[a == 0]

    def objective(m):
        constant = fit.kernel_(Z[a == 1]).mean()
        return m @ K @ m - 2 * q @ m + constant + ridge * m @ m

    gradient = 2 * (K @ w - q + ridge * w)
    uniform = np.full(len(w), 1 / len(w))
    assert gradient @ w - gradient.min() <= 1e-8 * objective(uniform)
    assert fit.objective_[0] == pytest.approx(objective(w), abs=1e-12)
    assert fit.converged_ and fit.relative_gap_[0] <= 1e-6
    # No worse than uniform, inverse-probability or nearest-neighbour weights.
    odds = PropensityWeighter(estimand="att").fit(X, a).masses_[a == 0]
    nearest = np.argmin(
        np.linalg.norm(Z[a == 0][:, None] - Z[a == 1][None], axis=2), axis=0
    )
    matched = np.bincount(nearest, minlength=len(w)) / np.sum(a)
    for other in (uniform, odds, matched, *np.eye(len(w))):
        assert objective(w) <= objective(other) + 1e-10


def test_joint_objective_is_the_sum_of_pairs(sample):
    X, a = sample
    fit = IPMBalancer(estimand="ate", ridge=0.01).fit(X, a)
    Z = standardized(X)
    m0, m1 = fit.masses_[a == 0], fit.masses_[a == 1]
    parts = [
        energy_distance(Z[a == 0], Z, x_weights=m0),
        energy_distance(Z[a == 1], Z, x_weights=m1),
        energy_distance(Z[a == 0], Z[a == 1], x_weights=m0, y_weights=m1),
    ]
    assert fit.discrepancy_ == pytest.approx(sum(parts), abs=1e-10)
    assert fit.pairwise_discrepancy_[(0, 1)] == pytest.approx(parts[2], abs=1e-10)
    expected = sum(parts) + 0.01 * (m0 @ m0 + m1 @ m1)
    assert fit.objective_ == pytest.approx(expected, abs=1e-10)


def test_joint_problem_equals_cvxpy(sample):
    import cvxpy as cp

    X, a = sample
    X, a = X[:60], a[:60]
    fit = IPMBalancer(estimand="ate", discriminator="gaussian", ridge=0.01).fit(X, a)
    Z = standardized(X)
    K = fit.kernel_(Z)
    q = K.mean(axis=1)
    w = cp.Variable(60, nonneg=True)
    side = np.where(a == 1, 1.0, -1.0)
    H = np.where(a[:, None] == a, 2.0, -1.0) * K + 0.01 * np.eye(60)
    values, vectors = np.linalg.eigh(H)
    root = vectors * np.sqrt(np.maximum(values, 0))
    problem = cp.Problem(
        cp.Minimize(cp.sum_squares(root.T @ w) - 2 * q @ w),
        [cp.sum(w[a == 0]) == 1, cp.sum(w[a == 1]) == 1],
    )
    problem.solve(solver=cp.CLARABEL)
    np.testing.assert_allclose(fit.masses_, w.value, atol=1e-5)
    assert abs(side @ fit.masses_) < 1e-12


# ------------------------------------------------------------------- invariances
@pytest.mark.parametrize("estimand", ["ate", "att", "atc"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_weights_are_feasible_and_target_is_untouched(estimand, kernel, sample):
    X, a = sample
    fit = IPMBalancer(estimand=estimand, discriminator=kernel).fit(X, a)
    for arm in (0, 1):
        assert fit.masses_[a == arm].sum() == pytest.approx(1, abs=1e-12)
        assert fit.weights_[a == arm].mean() == pytest.approx(1, abs=1e-12)
    assert np.all(fit.weights_ >= 0)
    untouched = {"att": 1, "atc": 0}.get(estimand)
    if untouched is not None:
        np.testing.assert_array_equal(fit.weights_[a == untouched], 1.0)


def test_affine_maps_and_column_order_leave_weights(sample):
    X, a = sample
    weights = IPMBalancer(estimand="att").fit(X, a).weights_
    moved = X * [1e-6, -3.0, 1e7] + [5.0, -2.0, 1e6]
    np.testing.assert_allclose(
        IPMBalancer(estimand="att").fit(moved, a).weights_, weights, atol=1e-6
    )
    swapped = IPMBalancer(estimand="att").fit(X[:, [2, 0, 1]], a).weights_
    np.testing.assert_allclose(swapped, weights, atol=1e-9)


@pytest.mark.parametrize("kernel", ["energy", "gaussian"])
def test_rotation_leaves_weights_without_scaling(kernel, sample):
    X, a = sample
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    balancer = IPMBalancer(estimand="att", discriminator=kernel, standardize=False)
    np.testing.assert_allclose(
        clone(balancer).fit(X @ rotation, a).weights_,
        clone(balancer).fit(X, a).weights_,
        atol=SAME,
    )


def test_row_order_permutes_weights(sample):
    X, a = sample
    order = np.random.default_rng(2).permutation(len(a))
    weights = IPMBalancer().fit(X, a).weights_
    np.testing.assert_allclose(
        IPMBalancer().fit(X[order], a[order]).weights_, weights[order], atol=SAME
    )


def test_atc_is_att_with_labels_swapped(sample):
    X, a = sample
    atc = IPMBalancer(estimand="atc").fit(X, a).weights_
    att = IPMBalancer(estimand="att").fit(X, 1 - a).weights_
    np.testing.assert_array_equal(atc, att)


def test_separate_ate_is_two_single_problems(sample):
    X, a = sample
    fit = IPMBalancer(estimand="ate", between_arms=False).fit(X, a)
    Z = standardized(X)
    for arm in (0, 1):
        stacked = np.vstack([Z[a == arm], Z])
        labels = np.repeat([0, 1], [np.sum(a == arm), len(Z)])
        single = IPMBalancer(estimand="att", standardize=False).fit(stacked, labels)
        np.testing.assert_allclose(
            single.masses_[labels == 0], fit.masses_[a == arm], atol=SAME
        )


@pytest.mark.parametrize("estimand", ["ate", "att", "atc"])
def test_third_level_gets_weights_of_its_own(estimand, sample):
    X, a = sample
    three = np.where((a == 0) & (np.arange(len(a)) % 2 == 0), 2, a)
    balancer = IPMBalancer(estimand=estimand, between_arms=False, focal=1)
    fit = balancer.fit(X, three)
    assert set(fit.ess_) == {0, 1, 2}
    for arm in (0, 1, 2):
        assert fit.masses_[three == arm].sum() == pytest.approx(1, abs=1e-12)
    joint = IPMBalancer(estimand="ate").fit(X, three)
    assert joint.converged_
    assert len(joint.pairwise_discrepancy_) == 6


def test_string_labels_in_other_order_give_the_same_weights(sample):
    X, a = sample
    labels = np.where(a == 1, "drug", "placebo")
    fit = IPMBalancer(estimand="att", control="placebo").fit(X, labels)
    np.testing.assert_array_equal(
        fit.weights_, IPMBalancer(estimand="att").fit(X, a).weights_
    )
    assert fit.focal_ == "drug" and fit.control_ == "placebo"


# --------------------------------------------------------------- sample weights
@pytest.mark.parametrize("estimand", ["ate", "att", "atc"])
@pytest.mark.parametrize("kernel", [Energy(), Gaussian(1.5)])
@pytest.mark.parametrize("between_arms", [True, False])
def test_frequency_weights_equal_replication(estimand, kernel, between_arms, sample):
    X, a = sample
    counts = np.random.default_rng(5).integers(0, 4, len(a))
    keep = np.repeat(np.arange(len(a)), counts)
    balancer = IPMBalancer(
        estimand=estimand,
        discriminator=kernel,
        between_arms=between_arms,
        weight_type="frequency",
    )
    weighted = clone(balancer).fit(X, a, sample_weight=counts)
    repeated = clone(balancer).fit(X[keep], a[keep])
    np.testing.assert_allclose(
        weighted.weights_[keep], repeated.weights_, atol=1e-6, rtol=1e-6
    )
    assert np.all(weighted.weights_[counts == 0] == 0)
    for name in ("discrepancy_", "objective_", "ess_"):
        ours, theirs = getattr(weighted, name), getattr(repeated, name)
        if not isinstance(ours, dict):
            ours, theirs = {0: ours}, {0: theirs}
        for key, value in theirs.items():
            assert ours[key] == pytest.approx(value, rel=1e-8, abs=1e-10)


def test_sampling_weights_are_scale_free(sample):
    X, a = sample
    s = np.random.default_rng(6).uniform(0.5, 2, len(a))
    one = IPMBalancer(estimand="att").fit(X, a, sample_weight=s)
    ten = IPMBalancer(estimand="att").fit(X, a, sample_weight=10 * s)
    np.testing.assert_allclose(one.weights_, ten.weights_, atol=SAME)
    assert np.average(one.weights_[a == 0], weights=s[a == 0]) == pytest.approx(1)


def test_copies_share_the_mass_of_one_row(sample):
    X, a = sample
    i = int(np.flatnonzero(a == 0)[np.argmax(
        IPMBalancer(estimand="att").fit(X, a).masses_[a == 0]
    )])  # fmt: skip
    doubled = IPMBalancer(
        estimand="att", weight_type="frequency", standardize=False
    ).fit(np.vstack([X, X[i]]), np.append(a, 0))
    assert doubled.masses_[i] == pytest.approx(doubled.masses_[-1], abs=1e-12)


# ------------------------------------------------------------------------- paths
def test_ridge_path_is_monotone_and_ends_uniform(sample):
    X, a = sample
    ridges = [0, 1e-5, 1e-3, 1e-1, 10, 1e6]
    fits = [IPMBalancer(estimand="att", ridge=r).fit(X, a) for r in ridges]
    ess = [f.ess_[0] for f in fits]
    distance = [f.discrepancy_[0] for f in fits]
    assert np.all(np.diff(ess) >= -1e-8)
    assert np.all(np.diff(distance) >= -1e-12)
    np.testing.assert_allclose(fits[-1].weights_, 1, atol=1e-4)
    assert fits[1].objective_[0] == pytest.approx(fits[0].objective_[0], abs=1e-5)


def test_bounds_of_weights_hold(sample):
    X, a = sample
    fit = IPMBalancer(min_weight=0.2, max_weight=2.0).fit(X, a)
    assert fit.weights_.min() >= 0.2 - 1e-10
    assert fit.weights_.max() <= 2.0 + 1e-10
    assert fit.converged_
    np.testing.assert_allclose(fit.predict_weights(X, a), fit.weights_, atol=1e-6)


@pytest.mark.parametrize("estimand", ["ate", "att", "atc"])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("between_arms", [True, False])
def test_dual_reproduces_training_weights(estimand, kernel, between_arms, sample):
    X, a = sample
    fit = IPMBalancer(
        estimand=estimand, discriminator=kernel, between_arms=between_arms
    ).fit(X, a)
    np.testing.assert_allclose(fit.predict_weights(X, a), fit.weights_, atol=1e-7)


@pytest.mark.parametrize("weight_type", ["sampling", "frequency"])
def test_dual_reproduces_training_weights_under_sample_weight(weight_type, sample):
    X, a = sample
    s = np.random.default_rng(7).integers(1, 4, len(a))
    fit = IPMBalancer(weight_type=weight_type).fit(X, a, sample_weight=s)
    np.testing.assert_allclose(fit.predict_weights(X, a), fit.weights_, atol=1e-7)


def test_witness_integrates_to_the_discrepancy(sample):
    X, a = sample
    fit = IPMBalancer(estimand="att", discriminator="gaussian").fit(X, a)
    values = fit.witness(X)
    gap = fit.masses_[a == 0] @ values[a == 0] - values[a == 1].mean()
    assert gap == pytest.approx(fit.discrepancy_[0], rel=1e-6, abs=1e-12)
    assert IPMBalancer().fit(X, a).witness(X).shape == (len(a), 2)


def test_ridge_is_chosen_by_grid_search_on_held_out_discrepancy(sample):
    X, a = sample
    search = GridSearchCV(
        IPMBalancer(estimand="att"), {"ridge": [1e-3, 10, 1e6]}, cv=3
    ).fit(X, a)
    assert search.best_params_["ridge"] == 10
    assert not hasattr(IPMBalancer(ridge=0), "score")
    assert not hasattr(IPMBalancer(ridge=0), "predict_weights")
    with pytest.raises(AttributeError) as caught:
        IPMBalancer(ridge=0).predict_weights(X, a)
    assert "need ridge > 0" in str(caught.value.__cause__)


def test_score_is_the_held_out_discrepancy_by_hand(sample):
    X, a = sample
    fit = IPMBalancer(estimand="att").fit(X[:100], a[:100])
    new, b = X[100:], a[100:]
    Z = (new - X[:100].mean(axis=0)) / X[:100].std(axis=0)
    w = fit.predict_weights(new, b)
    expected = squared_mmd(fit.kernel_, Z[b == 0], Z[b == 1], x_weights=w[b == 0])
    assert fit.score(new, b) == pytest.approx(-expected, rel=1e-9)


@pytest.mark.parametrize("weighter", [EntropyBalancer, PropensityWeighter])
def test_every_weighter_scores_its_weights_on_new_rows(weighter, sample):
    X, a = sample
    fit = weighter(estimand="att").fit(X[:100], a[:100])
    Z = (X[100:] - X[:100].mean(axis=0)) / X[:100].std(axis=0)
    b = a[100:]
    w = fit.predict_weights(X[100:], b)
    expected = energy_distance(Z[b == 0], Z[b == 1], x_weights=w[b == 0])
    assert fit.score(X[100:], b) == pytest.approx(-expected, rel=1e-9)


# ------------------------------------------------------------ data of all kinds
def test_frames_pipelines_and_layouts_agree(sample, frame_library):
    X, a = sample
    weights = IPMBalancer(estimand="att").fit(X, a).weights_
    frame = frame_library(X, ["u", "v", "w"])
    fit = IPMBalancer(estimand="att").fit(frame, a)
    np.testing.assert_array_equal(fit.weights_, weights)
    piped = make_pipeline(StandardScaler(), IPMBalancer(estimand="att")).fit(frame, a)
    np.testing.assert_allclose(piped[-1].weights_, weights, atol=SAME)


def test_float32_readonly_and_strided_input(sample):
    X, a = sample
    weights = IPMBalancer(estimand="att").fit(X, a).weights_
    single = IPMBalancer(estimand="att").fit(X.astype(np.float32), a).weights_
    np.testing.assert_allclose(single, weights, atol=1e-4)
    wide = np.zeros((len(a), 6))
    wide[:, ::2] = X
    view = wide[:, ::2]
    view.setflags(write=False)
    np.testing.assert_array_equal(
        IPMBalancer(estimand="att").fit(view, a).weights_, weights
    )


def test_constant_column_is_ignored_with_a_warning(sample):
    X, a = sample
    frame = pd.DataFrame(X, columns=["u", "v", "w"]).assign(one=1.0)
    with pytest.warns(UserWarning, match="constant covariates are ignored: one"):
        fit = IPMBalancer(estimand="att").fit(frame, a)
    np.testing.assert_allclose(
        fit.weights_, IPMBalancer(estimand="att").fit(X, a).weights_, atol=SAME
    )


def test_collinear_and_duplicated_data_are_safe(sample):
    X, a = sample
    twice = np.column_stack([X, X[:, 0], X[:, 0] + X[:, 1]])
    rows = np.repeat(np.arange(40), 4)
    for kernel in KERNELS:
        fit = IPMBalancer(discriminator=kernel, ridge=0).fit(twice[rows], a[rows])
        assert fit.converged_
        assert np.all(np.isfinite(fit.weights_))


def test_same_bits_for_any_number_of_threads(sample):
    rng = np.random.default_rng(8)
    X = rng.normal(size=(700, 4))
    a = (X[:, 0] + rng.normal(size=700) > 0).astype(int)
    one = IPMBalancer(n_jobs=1).fit(X, a).weights_
    two = IPMBalancer(n_jobs=2).fit(X, a).weights_
    np.testing.assert_array_equal(one, two)


def test_large_source_prices_columns_to_the_same_optimum():
    rng = np.random.default_rng(9)
    X = np.vstack([rng.normal(size=(4300, 3)), rng.normal(0.7, 0.8, size=(60, 3))])
    a = np.repeat([0, 1], [4300, 60])
    fast = IPMBalancer(estimand="att").fit(X, a)
    dense = IPMBalancer(estimand="att", solver="active_set").fit(X, a)
    assert fast.solver_[0] == "working_set" and dense.solver_[0] == "active_set"
    np.testing.assert_allclose(fast.weights_, dense.weights_, atol=1e-6)


# ------------------------------------------------------------------------ refusals
def test_unconverged_weights_warn_and_show(sample, monkeypatch):
    """The solver polishes even one step to the optimum, so its answer is replaced."""
    from causalweights.balancing import _mmd_problem

    solve = _mmd_problem.simplex_qp

    def stopped_early(*args, **options):
        result = solve(*args, **options)
        return dataclasses.replace(result, converged=False, relative_gap=0.25)

    monkeypatch.setattr(_mmd_problem, "simplex_qp", stopped_early)
    X, a = sample
    with pytest.warns(ConvergenceWarning, match="the relative gap is 0.25"):
        fit = IPMBalancer(estimand="att", discriminator="gaussian").fit(X, a)
    assert fit.converged_ is False
    assert fit.relative_gap_[0] == 0.25


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"estimand": "late"}, "estimand='late' is not available"),
        ({"discriminator": "wasserstein"}, "discriminator='wasserstein'"),
        ({"control": 7}, "control=7 is not a treatment label"),
        ({"max_weight": 0.5}, "max_weight"),
        ({"ridge": -1.0}, "ridge"),
    ],
)
def test_bad_parameters_are_named(change, message, sample):
    X, a = sample
    with pytest.raises(ValueError, match=message):
        IPMBalancer(**change).fit(X, a)


def test_bad_data_is_refused_by_name(sample):
    X, a = sample
    bad = X.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        IPMBalancer().fit(bad, a)
    bad[3, 1] = np.inf
    with pytest.raises(ValueError, match="contains infinity"):
        IPMBalancer().fit(bad, a)
    with pytest.raises(ValueError, match="one arm only"):
        IPMBalancer().fit(X, np.zeros(len(a)))
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        IPMBalancer().fit(X[:1], a[:1])
    with pytest.raises(ValueError, match="all columns of X are constant"):
        IPMBalancer().fit(np.ones((len(a), 2)), a)
    with pytest.raises(ValueError, match="no row with a positive sample_weight"):
        IPMBalancer().fit(X, a, sample_weight=(a == 0).astype(float))
    with pytest.raises(ValueError, match="control must be given"):
        IPMBalancer().fit(X, np.where(a, "b", "c"))
    with pytest.raises(ValueError, match="needs focal="):
        IPMBalancer(estimand="att").fit(X, np.arange(len(a)) % 3)
    frame = pd.DataFrame(X)
    shuffled = pd.Series(a).sample(frac=1, random_state=0)
    with pytest.raises(ValueError, match="same index labels in another order"):
        IPMBalancer().fit(frame, shuffled)


def test_sparse_input_is_refused(sample):
    from scipy.sparse import csr_matrix

    X, a = sample
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        IPMBalancer().fit(csr_matrix(X), a)


def test_new_rows_are_checked(sample):
    X, a = sample
    fit = IPMBalancer(estimand="att").fit(X, a)
    with pytest.raises(ValueError, match="holds the label 5, which fit has not seen"):
        fit.predict_weights(X, np.full(len(a), 5))
    with pytest.raises(ValueError, match="has 2 features, but IPMBalancer"):
        fit.predict_weights(X[:, :2], a)


def test_inputs_are_unchanged(sample):
    X, a = sample
    X, a, s = X.copy(), a.copy(), np.ones(len(a))
    before = X.copy(), a.copy(), s.copy()
    IPMBalancer().fit(X, a, sample_weight=s)
    for now, then in zip((X, a, s), before, strict=True):
        np.testing.assert_array_equal(now, then)
