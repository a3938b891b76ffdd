"""The sketch of a dense matrix, and the linear solves that it preconditions."""

import numpy as np
import pytest

from causalweights.optimize._box_qp import Ball, box_qp
from causalweights.optimize._box_systems import sketch


def smooth_kernel(n, d=2, scale=2.0):
    X = np.random.default_rng(0).normal(size=(n, d))
    return np.exp(-((X[:, None] - X) ** 2).sum(axis=-1) / scale)


def test_a_sketch_leaves_out_no_more_than_asked():
    K = smooth_kernel(300)
    level = np.linspace(1e-3, 1e-1, 300)
    low = sketch(K, level, 200)
    assert low.factor.shape[1] < 60
    remainder = K - low.factor @ low.factor.T
    np.testing.assert_allclose(remainder.diagonal(), low.residual, atol=1e-12)
    assert np.all(low.residual <= level)
    assert np.linalg.eigvalsh(remainder).min() >= -1e-12
    assert sketch(K, level, 10) is None and sketch(K, 0.0 * level, 300) is None


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_the_sketched_route_is_as_exact_as_cholesky(share, monkeypatch):
    # 300 rows are enough for a sketch, which a share of zero forbids.
    K, n = smooth_kernel(300), 300
    q = K.mean(axis=1) + np.linspace(-0.3, 0.2, n)
    monkeypatch.setattr("causalweights.optimize._box_systems.SKETCH_SHARE", share)
    result = box_qp(
        K / n, q, 1e-2, upper=1.5, coupling=np.full(n, 1 / n),
        coupling_bounds=(0.9, 0.95), ball=Ball(np.arange(150), 1.0, 8.0),
    )  # fmt: skip
    assert result.solver == "active_set" and result.relative_gap <= 1e-14
    assert result.multipliers.coupling != 0.0 and result.multipliers.ball > 0.0


@pytest.mark.parametrize("solver", ["auto", "interior_point"])
def test_a_sketch_that_fails_gives_way_to_cholesky(solver, monkeypatch):
    K, n = smooth_kernel(300), 300
    q = K.mean(axis=1) + np.linspace(-0.3, 0.2, n)
    expected = box_qp(K / n, q, 1e-3, upper=1.5, solver=solver)
    monkeypatch.setattr("causalweights.optimize._box_systems.CG_STEPS", 1)
    result = box_qp(K / n, q, 1e-3, upper=1.5, solver=solver)
    assert "singular" not in result.status and result.relative_gap <= 1e-12
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-9)


@pytest.mark.parametrize("ridge", [1e-9, 1e-7, 1e-5])
def test_tiny_ridges_are_solved(ridge):
    K, n = smooth_kernel(300), 300
    result = box_qp(K / n, K.mean(axis=1) * np.linspace(0.5, 2, n), ridge, upper=9.0)
    assert result.converged and result.relative_gap <= 1e-9
