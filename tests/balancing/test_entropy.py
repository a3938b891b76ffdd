"""Entropy balancing: exact moments, the dual against cvxpy, honest failure."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalweights.balancing import EntropyBalancer
from causalweights.balancing._entropy_dual import solve_dual, worst_feature
from causalweights.balancing._features import fit_features, whitening

# The iterations run to rounding; this is what the public promise is.
BALANCE = 1e-8
# Two runs of the same convex problem, in another order or scale.
SAME = 1e-10
# Published to two decimals (effective sizes) or three (weights).
ESS, WEIGHT = 0.006, 6e-4
# An interior-point solver with its tolerances lowered to 1e-12.
SOLVER = 1e-6
# Central differences with step 1e-5 of masses computed to 1e-15.
DERIVATIVE = 1e-6


def imbalance(balancer, features):
    """Return the largest distance of any arm's means to the target's."""
    target = balancer.target_masses_ @ features
    return max(
        np.abs(np.where(own, balancer.masses_, 0.0) @ features - target).max()
        for own in (balancer.arm_of == k for k in np.unique(balancer.arm_of))
    )


def fitted(X, a, sample_weight=None, base_weights=None, **options):
    """Fit without the overlap warning and note the arms for the oracles above."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the weights of arm", UserWarning)
        balancer = EntropyBalancer(**options).fit(
            X, a, sample_weight=sample_weight, base_weights=base_weights
        )
    balancer.arm_of = np.asarray(a)
    return balancer


# ---- parity ----------------------------------------------------------------------


def test_lalonde_seven_covariates_effective_size_as_published(lalonde):
    X, a = lalonde
    balancer = fitted(X, a, estimand="att")
    assert abs(balancer.ess_[0] - 98.46) < ESS
    assert balancer.converged_
    assert balancer.max_imbalance_[0] < BALANCE


def test_lalonde_five_covariates_weights_as_published(lalonde):
    X, a = lalonde
    X = X[["age", "educ", "married", "nodegree", "re74"]]
    balancer = fitted(X, a, estimand="att")
    weights = balancer.weights_[a == 0]
    assert abs(balancer.ess_[0] - 252.12) < ESS
    assert abs(weights.std(ddof=1) - 0.839) < WEIGHT
    largest = np.sort(weights)[::-1][:5]
    published = [5.247, 4.043, 3.655, 3.443, 3.396]
    np.testing.assert_allclose(largest, published, atol=WEIGHT)


@pytest.mark.parametrize("estimand", ["ate", "att", "atc"])
def test_weights_solve_the_primal_problem_of_cvxpy(two_arms, estimand):
    import cvxpy as cp

    X, a, s = two_arms
    base = np.random.default_rng(0).uniform(0.5, 2.0, size=len(a))
    balancer = fitted(X, a, s, base, estimand=estimand, moments=2)
    features = np.column_stack([X, X**2])
    target = balancer.target_masses_ @ features
    for k in balancer.n_iter_:
        own = a == k
        q = s[own] * base[own] / np.sum(s[own] * base[own])
        m = cp.Variable(own.sum())
        cp.Problem(
            cp.Minimize(cp.sum(cp.kl_div(m, q))),
            [features[own].T @ m == target, cp.sum(m) == 1],
        ).solve(solver="CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12)
        np.testing.assert_allclose(balancer.masses_[own], m.value, atol=SOLVER)


# ---- identities ------------------------------------------------------------------


@pytest.mark.parametrize("estimand", ["ate", "att", "atc"])
@pytest.mark.parametrize("interactions", [False, True])
@pytest.mark.parametrize("moments", [1, 2])
def test_moments_are_balanced_and_masses_are_masses(
    two_arms, estimand, moments, interactions
):
    X, a, s = two_arms
    X = np.column_stack([X, np.arange(len(a)) % 2])
    balancer = fitted(
        X, a, s, estimand=estimand, moments=moments, interactions=interactions
    )
    features = [X]
    if moments == 2:
        features.append(X**2)
    if interactions:
        features += [X[:, [j]] * X[:, [k]] for j in range(4) for k in range(j)]
    assert imbalance(balancer, np.hstack(features)) < BALANCE
    # Four means, three squares (one column is binary), six products.
    count = 4 + 3 * (moments == 2) + 6 * interactions
    assert len(balancer.moment_names_) == balancer.coef_.shape[1] == count
    assert np.all(balancer.masses_ > 0)
    for k in (0, 1):
        assert abs(balancer.masses_[a == k].sum() - 1) < 1e-12
        assert abs(np.average(balancer.weights_[a == k], weights=s[a == k]) - 1) < SAME
    if estimand != "ate":
        np.testing.assert_allclose(balancer.weights_[a == (estimand == "att")], 1.0)


def test_weights_are_log_linear_and_nothing_else(two_arms):
    X, a, _ = two_arms
    weights = fitted(X, a, estimand="att").weights_[a == 0]
    design = np.column_stack([np.ones(len(weights)), X[a == 0]])
    slope = np.linalg.lstsq(design, np.log(weights), rcond=None)[0]
    np.testing.assert_allclose(design @ slope, np.log(weights), atol=SAME)


def test_atc_is_att_of_the_swapped_treatment(two_arms):
    X, a, s = two_arms
    atc, att = fitted(X, a, s, estimand="atc"), fitted(X, 1 - a, s, estimand="att")
    np.testing.assert_allclose(atc.masses_, att.masses_, rtol=SAME)


@pytest.mark.parametrize("estimand", ["ate", "att", "atc"])
def test_three_arms_are_single_arm_problems(three_arms, estimand):
    X, a, s = three_arms
    balancer = fitted(X, a, s, estimand=estimand, focal=2)
    assert imbalance(balancer, X) < BALANCE
    focal = {"ate": None, "att": 2, "atc": 0}[estimand]
    assert set(balancer.n_iter_) == {0, 1, 2} - {focal}
    if focal is not None:
        k = 1
        pair = np.isin(a, [k, focal])
        two = fitted(X[pair], a[pair], s[pair], estimand="att", control=k)
        np.testing.assert_allclose(
            balancer.masses_[a == k], two.masses_[a[pair] == k], rtol=1e-9
        )


def test_permuting_rows_and_columns_permutes_weights(two_arms):
    X, a, s = two_arms
    rows = np.random.default_rng(1).permutation(len(a))
    plain = fitted(X, a, s, moments=2, interactions=True)
    moved = fitted(X[rows][:, [2, 0, 1]], a[rows], s[rows], moments=2,
                   interactions=True)  # fmt: skip
    np.testing.assert_allclose(moved.weights_, plain.weights_[rows], rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-150, 1e-12, 1e12, 1e150])
def test_units_do_not_matter(two_arms, scale):
    X, a, _ = two_arms
    moved = fitted(X * scale * [1, -1, 2] + 3 * scale, a, estimand="att")
    plain = fitted(X, a, estimand="att")
    np.testing.assert_allclose(moved.weights_, plain.weights_, rtol=1e-9)


def test_redundant_columns_change_nothing(two_arms):
    X, a, _ = two_arms
    wide = np.column_stack([X, X[:, 0], 2 * X[:, 1] - X[:, 2] + 5])
    plain, redundant = fitted(X, a), fitted(wide, a)
    np.testing.assert_allclose(redundant.weights_, plain.weights_, rtol=1e-9)
    assert imbalance(redundant, wide) < BALANCE
    np.testing.assert_allclose(
        redundant.predict_weights(wide, a), redundant.weights_, rtol=1e-9
    )


def test_duplicated_rows_share_a_weight(two_arms):
    X, a, _ = two_arms
    twice = fitted(np.vstack([X, X]), np.concatenate([a, a]))
    np.testing.assert_allclose(twice.weights_[:200], twice.weights_[200:], rtol=SAME)
    np.testing.assert_allclose(twice.weights_[:200], fitted(X, a).weights_, rtol=1e-9)


# ---- weights ---------------------------------------------------------------------


@pytest.mark.parametrize("estimand", ["ate", "att"])
def test_frequency_weights_are_replication_and_zero_is_absence(two_arms, estimand):
    X, a, _ = two_arms
    count = np.random.default_rng(2).integers(0, 4, size=len(a))
    options = dict(estimand=estimand, weight_type="frequency")
    counted = fitted(X, a, count, **options)
    rows = np.repeat(np.arange(len(a)), count)
    copied = fitted(X[rows], a[rows], **options)
    np.testing.assert_allclose(counted.weights_[rows], copied.weights_, rtol=1e-9)
    assert counted.ess_ == pytest.approx(copied.ess_)
    assert np.all(counted.weights_[count == 0] == 0)
    assert np.all(counted.masses_[count == 0] == 0)


def test_sampling_weights_are_scale_free(two_arms):
    X, a, s = two_arms
    one, many = fitted(X, a, s), fitted(X, a, 1e6 * s)
    np.testing.assert_allclose(one.weights_, many.weights_, rtol=SAME)
    assert one.ess_ == pytest.approx(many.ess_)


def test_base_weights_that_already_balance_are_kept(two_arms):
    X, a, _ = two_arms
    first = fitted(X, a, moments=2)
    again = fitted(X, a, base_weights=3.0 * first.weights_)
    np.testing.assert_allclose(again.weights_, first.weights_, rtol=1e-9)
    np.testing.assert_allclose(again.coef_, 0.0, atol=1e-9)


@pytest.mark.parametrize("estimand", ["ate", "att"])
def test_predicted_weights_are_the_tilt(two_arms, estimand):
    X, a, s = two_arms
    base = np.where(np.arange(len(a)) % 2, 0.5, 2.0)
    plain = fitted(X, a, s, estimand=estimand, moments=2)
    np.testing.assert_allclose(plain.predict_weights(X, a), plain.weights_, rtol=SAME)
    based = fitted(X, a, s, base, estimand=estimand)
    ratio = based.weights_ / based.predict_weights(X, a)
    weighted = (a == 0) | (estimand == "ate")
    np.testing.assert_allclose(ratio[weighted], base[weighted], rtol=SAME)
    np.testing.assert_allclose(ratio[~weighted], 1.0)
    few = plain.predict_weights(X[:5], a[:5])
    np.testing.assert_allclose(few, plain.weights_[:5], rtol=SAME)
    with pytest.raises(ValueError, match="label 7"):
        plain.predict_weights(X[:1], [7])
    with pytest.raises(ValueError, match="one label"):
        plain.predict_weights(X, a[:3])


@pytest.mark.parametrize("estimand", ["ate", "att", "atc"])
@pytest.mark.parametrize("arms", ["two_arms", "three_arms"])
def test_weight_model_predicts_refits(request, mass_derivative_error, arms, estimand):
    X, a, s = request.getfixturevalue(arms)
    s[3] = 0.0
    base = np.random.default_rng(3).uniform(0.5, 2.0, size=len(a))

    def fit(s):
        return fitted(X, a, s, base, estimand=estimand, focal=1, moments=2)

    assert mass_derivative_error(fit, s) < DERIVATIVE
    model = fit(s)._weight_model()
    blocks = (2 if arms == "two_arms" else 3) - (estimand != "ate")
    assert model.log_gradient.shape == (len(a), 6 * blocks)
    assert np.all(model.log_gradient[3] == 0) and np.all(model.influence[3] == 0)
    # At the solution the arm's errors and the target's both sum to zero.
    np.testing.assert_allclose(model.influence.sum(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(model.target_influence.sum(axis=0), 0.0, atol=1e-9)


# ---- no solution -----------------------------------------------------------------


def test_target_outside_a_range_names_arm_and_covariate(two_arms):
    import pandas as pd

    X, a, _ = two_arms
    frame = pd.DataFrame(X, columns=["u", "v", "w"])
    frame["v"] += 9.0 * a
    with pytest.raises(ValueError, match=r"arm 0.*'v'.*SD.*IPMBalancer"):
        fitted(frame, a, estimand="att")


def test_target_outside_the_hull_but_inside_every_range_raises():
    angle = np.random.default_rng(4).uniform(0, 2 * np.pi, size=300)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    a = np.repeat([0, 1], 150)
    circle[a == 1] = 0.05 * circle[a == 1] + 0.9
    with pytest.raises(ValueError, match="no solution in arm 0"):
        fitted(circle, a, estimand="att")


def test_arm_without_a_level_of_the_target_raises(two_arms):
    X, a, _ = two_arms
    level = ((np.arange(len(a)) % 3 == 0) & (a == 1)).astype(float)
    with pytest.raises(ValueError, match="'column 3'"):
        fitted(np.column_stack([X, level]), a, estimand="att")


def test_more_moments_than_rows_raises(rng):
    with pytest.raises(ValueError, match="no solution"):
        fitted(rng.normal(size=(20, 30)), np.arange(20) % 2)


def test_target_on_the_boundary_is_reached_in_the_limit(two_arms):
    X, a, _ = two_arms
    level = np.where(a == 1, 1.0, np.arange(len(a)) % 2)
    balancer = fitted(np.column_stack([X, level]), a, estimand="att")
    assert balancer.converged_
    assert balancer.masses_[(a == 0) & (level == 0)].sum() < BALANCE


def test_feasibility_programme_agrees_with_geometry():
    square = np.array([[-1.0, -1], [-1, 1], [1, -1], [1, 1]])
    assert worst_feature(square) is None
    triangle = np.array([[1.0, -0.5], [-0.5, 1.0], [1.0, 1.0]])
    # The nearest point of the edge u + v = 1/2 misses one coordinate by 1/2.
    feature, miss = worst_feature(triangle)
    assert feature in (0, 1) and abs(miss - 0.5) < 1e-7
    assert worst_feature(square + np.array([3.0, 0.0])) == (0, 2.0)


def test_the_dual_proves_that_no_solution_exists():
    H = np.array([[1.0], [2.0], [3.0]])
    found = solve_dual(H, np.full(3, 1 / 3))
    assert found.unbounded
    assert found.n_iter < 200


def test_stopping_early_is_said(two_arms):
    X, a, _ = two_arms
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        balancer = EntropyBalancer(max_iter=1).fit(X, a)
    assert not balancer.converged_
    assert max(balancer.max_imbalance_.values()) > balancer.tol


def test_few_effective_rows_are_said(two_arms):
    X, a, _ = two_arms
    shifted = X + np.outer(a, [0.75, 0, 0])
    with pytest.warns(UserWarning, match="rest on few rows"):
        EntropyBalancer(estimand="att").fit(shifted, a)


# ---- input -----------------------------------------------------------------------


def test_containers_and_layouts_agree(two_arms, frame_library):
    X, a, _ = two_arms
    plain = fitted(X, a).weights_
    framed = fitted(frame_library(X, ["u", "v", "w"]), a)
    np.testing.assert_allclose(framed.weights_, plain, rtol=SAME)
    np.testing.assert_allclose(
        fitted(np.asfortranarray(X), a).weights_, plain, rtol=SAME
    )
    strided = np.repeat(X, 2, axis=1)[:, ::2]
    np.testing.assert_allclose(fitted(strided, a).weights_, plain, rtol=SAME)
    small = fitted(X.astype(np.float32), a).weights_
    np.testing.assert_allclose(small, plain, rtol=1e-4)


def test_inputs_are_left_as_they_are(two_arms):
    X, a, s = two_arms
    base = np.ones(len(a))
    copies = [v.copy() for v in (X, a, s, base)]
    for v in (X, a, s, base):
        v.flags.writeable = False
    fitted(X, a, s, base, moments=2)
    for v, copy in zip((X, a, s, base), copies, strict=True):
        np.testing.assert_array_equal(v, copy)


def test_names_of_moments(two_arms):
    import pandas as pd

    X, a, _ = two_arms
    frame = pd.DataFrame({"u": X[:, 0], "b": np.arange(len(a)) % 2})
    balancer = fitted(frame, a, moments=2, interactions=True)
    assert balancer.moment_names_ == ["u", "b", "u^2", "u * b"]


def test_bad_input_is_refused_with_advice(two_arms):
    X, a, s = two_arms
    with pytest.raises(ValueError, match=r"control must be given.*'drug', 'none'"):
        fitted(X, np.where(a == 1, "drug", "none"))
    missing = X.copy()
    missing[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        fitted(missing, a)
    with pytest.raises(ValueError, match="one arm only"):
        fitted(X, np.zeros(len(a)))
    with pytest.raises(ValueError, match="no row with a positive sample_weight"):
        fitted(X, a, sample_weight=(a == 1).astype(float))
    with pytest.raises(ValueError, match="not available here"):
        fitted(X, a, estimand="ato")
    with pytest.raises(ValueError, match="base_weights must be positive"):
        fitted(X, a, base_weights=s * (np.arange(len(a)) > 0))
    with pytest.raises(ValueError, match="base_weights has shape"):
        fitted(X, a, base_weights=s[:5])
    with pytest.raises(ValueError, match="'moments' parameter"):
        fitted(X, a, moments=3)


def test_strings_with_a_control_and_constant_columns(two_arms):
    X, a, _ = two_arms
    labels = np.where(a == 1, "drug", "none")
    with pytest.warns(UserWarning, match="constant covariates.*column 3"):
        balancer = fitted(
            np.column_stack([X, np.full(len(a), 7.0)]), labels, control="none"
        )
    np.testing.assert_allclose(balancer.weights_, fitted(X, a).weights_, rtol=SAME)
    assert balancer.control_ == "none" and balancer.focal_ == "drug"
    assert balancer.ess_.keys() == {"drug", "none"}


def test_pipeline_clone_and_pickle(two_arms):
    X, a, _ = two_arms
    plain = fitted(X, a)
    piped = make_pipeline(StandardScaler(), EntropyBalancer()).fit(X, a)
    np.testing.assert_allclose(piped[-1].weights_, plain.weights_, rtol=SAME)
    again = pickle.loads(pickle.dumps(plain))
    np.testing.assert_array_equal(
        again.predict_weights(X, a), plain.predict_weights(X, a)
    )
    assert clone(EntropyBalancer(moments=2)).get_params()["moments"] == 2


def test_rows_travel_through_a_routing_pipeline(two_arms):
    X, a, s = two_arms
    base = np.where(a == 1, 1.0, 0.5 + np.arange(len(a)) % 2)
    pipeline = make_pipeline(StandardScaler(), EntropyBalancer())
    with config_context(enable_metadata_routing=True):
        pipeline[0].set_fit_request(sample_weight=False)
        pipeline.fit(X, a, sample_weight=s, base_weights=base)
    plain = fitted(X, a, s, base)
    np.testing.assert_allclose(pipeline[-1].weights_, plain.weights_, rtol=SAME)


def test_whitening_keeps_the_span_and_drops_the_rest(rng):
    F = rng.normal(size=(50, 4)) * [1e-8, 1.0, 1e6, 1.0]
    F = np.column_stack([F, F[:, 1] + F[:, 3], np.zeros(50)])
    masses = rng.dirichlet(np.ones(50))
    H = F @ whitening(F, masses)
    assert H.shape == (50, 4)
    np.testing.assert_allclose((H * masses[:, None]).T @ H, np.eye(4), atol=1e-9)


def test_features_of_new_rows_use_the_training_scales(rng):
    Z = rng.normal(size=(40, 2))
    features = fit_features(Z, np.ones(40), ["u", "v"], moments=2, interactions=True)
    F = features.transform(Z)
    np.testing.assert_allclose(F.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(F.std(axis=0), 1.0)
    np.testing.assert_allclose(features.transform(Z[:3]), F[:3])
