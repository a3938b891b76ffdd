"""Moment targets that no weights meet, and constraints that are no constraints."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from causalweights.optimize import LowRankOperator, simplex_qp


@pytest.mark.parametrize("solver", ["auto", "interior_point", "working_set"])
@pytest.mark.parametrize(
    "targets, tol, message",
    [
        ([0.0, 9.0], 0.0, r"moment 1 \(target 9\).*on its own.*come is 2\.\d+, 6\.\d+"),
        ([0.0, 9.0], 0.5, r"moment 1 \(target 9 within 0.5\).*on its own"),
        ([2.0, 2.0], 0.0, r"moment [01] \(target 2\).*together with the others"),
        ([2.0, 2.0], 0.1, r"moment [01] .*together with the others.*Raise moment_tol"),
    ],
)
def test_targets_out_of_reach_are_refused_by_name(
    targets, tol, message, solver, balancing_problem
):
    # Points in a disk of radius 2.5: (2, 2) is outside although 2 is in each range.
    rng = np.random.default_rng(5)
    angle, radius = rng.uniform(0, 2 * np.pi, 100), 2.5 * np.sqrt(rng.random(100))
    A = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    K, q = balancing_problem("energy", 100)
    options = {"moments": A, "moment_targets": targets, "moment_tol": tol}
    with pytest.raises(ValueError, match=message):
        simplex_qp(K, q, 1e-2, solver=solver, **options)


def test_the_distance_named_is_that_of_the_closest_weights(balancing_problem):
    K, q = balancing_problem("energy", 30)
    A = np.linspace(0.0, 1.0, 30)[:, None]
    with pytest.raises(ValueError, match=r"come is 1, 0.25 too far"):
        simplex_qp(K, q, moments=A, moment_targets=[1.25])
    # At most 0.1 on each of the ten largest rows: their mean is 24.5 / 29.
    closest = f"{24.5 / 29:.6g}"
    with pytest.raises(ValueError, match=f"come is {closest}"):
        simplex_qp(K, q, upper=0.1, moments=A, moment_targets=[0.9])
    with pytest.raises(ValueError, match=r"moment 0 of group 1 \(target 3\)"):
        groups = np.arange(30) % 2
        options = {"moments": A, "moment_targets": [[0.5], [3.0]]}
        simplex_qp(K, q, groups=groups, **options)


def test_inconsistent_combinations_are_refused_by_name(balancing_problem):
    K, q = balancing_problem("energy", 60)
    A = np.random.default_rng(0).normal(size=(60, 2))
    b = A[:20].mean(axis=0)
    more = np.column_stack([A, np.ones(60)])
    targets = np.append(b, 1.2)
    with pytest.raises(ValueError, match=r"moment 2 .*constant.*always 1, 0.2 away"):
        simplex_qp(K, q, 1e-2, moments=more, moment_targets=targets)
    more[:, 2] = more[:, 0] + more[:, 1]
    targets[2] = targets[0] + targets[1] + 0.3
    with pytest.raises(ValueError, match=r"moment \d .*a combination of theirs"):
        simplex_qp(K, q, 1e-2, moments=more, moment_targets=targets)


def test_bounds_that_determine_a_group_decide_its_moments(balancing_problem):
    K, q = balancing_problem("energy", 8)
    groups = np.array([0, 0, 1, 1, 1, 1, 1, 1])
    upper = np.where(groups == 0, 0.5, 1.0)
    A = np.arange(8.0)[:, None]
    options = {"groups": groups, "upper": upper, "moments": A}
    result = simplex_qp(K, q, 1e-2, moment_targets=[[0.5], [4.0]], **options)
    assert result.converged and result.moment_multipliers[0, 0] == 0.0
    np.testing.assert_allclose(A[2:, 0] @ result.weights[2:], 4.0, atol=1e-12)
    with pytest.raises(ValueError, match=r"moment 0 of group 0 .*always 0.5, 0.2"):
        simplex_qp(K, q, 1e-2, moment_targets=[[0.7], [4.0]], **options)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"moments": np.ones((3, 1))}, r"moments must have shape \(4, p\), got \(3"),
        ({"moments": np.ones(4)}, r"moments must have shape \(4, p\), got \(4,\)"),
        ({"moment_targets": None}, "moments needs moment_targets"),
        ({"moments": None}, "moment_targets needs moments"),
        ({"moment_targets": [1.0, 2.0]}, r"moment_targets must have shape \(1,\)"),
        ({"moment_targets": [[1.0]] * 3}, r"or \(1, 1\), got \(3, 1\)"),
        ({"moment_tol": [0.1, 0.1]}, "moment_tol must be a number or have shape"),
        ({"moment_tol": -0.1}, "moment_tol must be non-negative"),
        ({"moment_tol": np.nan}, "moment_tol must be non-negative"),
        ({"moments": np.full((4, 1), np.nan)}, "moments contains NaN"),
        ({"moment_targets": [np.inf]}, "moment_targets contains NaN or infinity"),
    ],
)
def test_refusals(change, message):
    arguments = {"moments": np.arange(4.0)[:, None], "moment_targets": [1.0], **change}
    with pytest.raises(ValueError, match=message):
        simplex_qp(np.eye(4), np.ones(4), **arguments)


@settings(max_examples=80, deadline=None)
@given(
    n=st.integers(2, 25),
    rank=st.integers(0, 5),
    ridge=st.sampled_from([0.0, 1e-8, 1e-3, 1.0]),
    n_groups=st.integers(1, 2),
    bounded=st.booleans(),
    decimals=st.sampled_from([0, 8]),
    tol=st.sampled_from([[0.0, 0.0, 0.0], [0.0, 0.1, 1.0], [1.0, 1.0, 0.1]]),
    shift=st.sampled_from([0.0, 0.2]),
    solver=st.sampled_from(["auto", "interior_point", "working_set", "low_rank"]),
    seed=st.integers(0, 10_000),
)
def test_targets_are_met_exactly_when_they_can_be(
    n, rank, ridge, n_groups, bounded, decimals, tol, shift, solver, seed
):
    # Integer columns make ties, duplicates, collinear moments and vertices common.
    rng = np.random.default_rng(seed)
    factor, q = rng.normal(size=(n, rank)), rng.normal(size=n).round(decimals)
    A = rng.normal(size=(n, 3)).round(decimals)
    groups = np.concatenate([np.arange(n_groups), rng.integers(0, n_groups, n)])[:n]
    sizes, masks = np.bincount(groups)[groups], groups == np.arange(n_groups)[:, None]
    lower = 0.3 / sizes if bounded else np.zeros(n)
    upper = 1.7 / sizes if bounded else np.full(n, 2.0)
    share = rng.exponential(size=n)
    share *= ((1.0 - np.bincount(groups, lower)) / np.bincount(groups, share))[groups]
    b = (masks * (lower + share)) @ A + shift * rng.normal(size=(n_groups, 3))
    rows = np.vstack([(mask[:, None] * A).T for mask in masks])
    width = np.tile(tol, n_groups) + 1e-9
    program = linprog(
        np.zeros(n),
        A_ub=np.vstack([rows, -rows]),
        b_ub=np.append(b.ravel() + width, width - b.ravel()),
        A_eq=masks.astype(float),
        b_eq=np.ones(n_groups),
        bounds=np.column_stack([lower, upper]),
    )
    K = LowRankOperator(factor) if solver == "low_rank" else factor @ factor.T
    options = {"groups": groups, "lower": lower, "upper": upper if bounded else None}
    options.update(moments=A, moment_targets=b, moment_tol=tol)
    options["solver"] = "auto" if solver == "low_rank" else solver
    # Targets of weights can be met, whatever the program says for its tolerances.
    given = shift == 0.0 and np.all(lower + share <= upper)
    if program.status == 2 and not given:
        with pytest.raises(ValueError, match=r"moment \d.* cannot be met"):
            simplex_qp(K, q, ridge, **options)
        return
    result = simplex_qp(K, q, ridge, **options)
    assert result.converged and np.isfinite(result.value)
    np.testing.assert_allclose(np.bincount(groups, result.weights), 1.0, atol=1e-12)
    assert np.all(result.weights >= lower) and np.all(result.weights <= upper)
    assert np.all(np.abs((masks * result.weights) @ A - b) <= np.add(tol, 1e-8))
