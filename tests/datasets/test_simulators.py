"""Simulators: seeds, identities between the arrays of a draw, known effects."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from causalweights.datasets import (
    make_kang_schafer,
    make_kong_heterogeneous,
    make_nie_wager,
)

# Monte-Carlo checks accept four standard errors: a false alarm in 1 of 16,000 seeds
MC_ERRORS = 4.0

DESIGNS = {
    "ks-Z": (make_kang_schafer, {"design": "Z"}),
    "ks-X": (make_kang_schafer, {"design": "X"}),
    "ks-Z2": (make_kang_schafer, {"design": "Z2"}),
    "kong-scalar": (make_kong_heterogeneous, {"row_max": False}),
    "kong-row": (make_kong_heterogeneous, {"row_max": True}),
    **{f"nw-{name}": (make_nie_wager, {"setup": name}) for name in "ABCDEF"},
}
ALL = pytest.mark.parametrize("name", list(DESIGNS))


def draw(name, n_samples=300, random_state=0, **extra):
    make, options = DESIGNS[name]
    return make(n_samples, random_state=random_state, **options, **extra)


def within_mc_error(values, target):
    error = values.std(ddof=1) / np.sqrt(len(values))
    return abs(values.mean() - target) <= MC_ERRORS * error + 1e-12


@ALL
def test_shapes_and_types(name):
    data = draw(name, 50)
    assert data.X.shape[0] == 50
    for key in ("y", "treatment", "propensity", "mu0", "mu1", "cate"):
        assert data[key].shape == (50,)
        assert np.isfinite(data[key]).all()
    assert data.treatment.dtype == np.int64
    assert set(data.treatment) <= {0, 1}
    assert ((data.propensity > 0) & (data.propensity < 1)).all()


@ALL
def test_the_seed_decides_the_draw(name):
    first, again, other = draw(name), draw(name), draw(name, random_state=1)
    np.testing.assert_array_equal(first.X, again.X)
    np.testing.assert_array_equal(first.y, again.y)
    assert not np.array_equal(first.y, other.y)


@ALL
def test_generators_are_used_as_given(name):
    generator = draw(name, random_state=np.random.default_rng(0))
    np.testing.assert_array_equal(generator.y, draw(name).y)
    one = draw(name, random_state=np.random.RandomState(3))
    two = draw(name, random_state=np.random.RandomState(3))
    np.testing.assert_array_equal(one.y, two.y)
    shared = np.random.default_rng(0)
    assert not np.array_equal(
        draw(name, random_state=shared).y, draw(name, random_state=shared).y
    )


@ALL
def test_effects_follow_from_the_arm_means(name):
    data = draw(name)
    np.testing.assert_allclose(data.cate, data.mu1 - data.mu0)
    assert data.sample_ate == pytest.approx(data.cate.mean())
    assert data.true_att == pytest.approx(data.cate[data.treatment == 1].mean())


@ALL
def test_outcome_has_the_stated_mean_and_noise(name):
    data = draw(name, 20_000, random_state=11)
    noise = data.y - np.where(data.treatment == 1, data.mu1, data.mu0)
    variance = 0.1 if name.startswith("kong") else 1.0
    assert within_mc_error(noise, 0.0)
    assert within_mc_error(noise[data.treatment == 1], 0.0)
    assert within_mc_error(noise**2, variance)


@ALL
def test_treatment_follows_the_propensity(name):
    data = draw(name, 20_000, random_state=12)
    residual = data.treatment - data.propensity
    assert within_mc_error(residual, 0.0)
    for column in data.X.T:
        assert within_mc_error(residual * (column - column.mean()), 0.0)
    assert within_mc_error(residual * (data.propensity - 0.5), 0.0)


@ALL
def test_population_effect(name):
    data = draw(name, 20_000, random_state=13)
    assert within_mc_error(data.cate, data.true_ate)


@pytest.mark.parametrize("name", ["ks-Z", "ks-X", "ks-Z2"])
@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_kang_schafer_sigma_scales_the_noise(name, sigma):
    one, other = draw(name), draw(name, sigma=sigma)
    np.testing.assert_allclose(
        other.y - other.mu0, sigma * (one.y - one.mu0), atol=1e-12
    )


def test_kang_schafer_has_no_effect_and_shows_its_latent_covariates():
    data = draw("ks-Z")
    assert data.true_ate == data.true_att == data.sample_ate == 0.0
    z1, z2, z3, z4 = data.latent.T
    np.testing.assert_allclose(data.mu0, 210 + 27.4 * z1 + 13.7 * (z2 + z3 + z4))
    np.testing.assert_allclose(data.X[:, 0], np.exp(z1 / 2))
    np.testing.assert_allclose(data.X[:, 1], z2 / (1 + np.exp(z1)) + 10)
    np.testing.assert_allclose(data.X[:, 2], (z1 * z3 / 25 + 0.6) ** 3)
    np.testing.assert_allclose(data.X[:, 3], (z2 + z4 + 20) ** 2)


def test_kang_schafer_propensities():
    data = draw("ks-Z")
    z1, z2, z3, z4 = data.latent.T
    logit = -z1 + 0.5 * z2 - 0.25 * z3 - 0.1 * z4
    np.testing.assert_allclose(data.propensity, expit(logit))
    np.testing.assert_allclose(draw("ks-Z2").propensity, expit(2 * logit))
    x1, x2, x3, x4 = data.X.T
    logit = x1 - 0.5 * x2 - 2 * x3 - 0.01 * x4 + 8
    np.testing.assert_allclose(draw("ks-X").propensity, expit(logit))


@pytest.mark.parametrize("name, share", [("ks-Z", 0.50), ("ks-X", 0.43)])
def test_kang_schafer_treated_share(name, share):
    # shares of 200,000 rows, in two digits
    assert draw(name, 50_000).treatment.mean() == pytest.approx(share, abs=0.01)


def test_kong_effect_depends_on_the_fifth_covariate():
    data = draw("kong-scalar")
    np.testing.assert_allclose(data.cate, 5 * np.cos(2 * data.X[:, 4]), atol=1e-12)
    assert data.true_ate == pytest.approx(-0.94600, abs=5e-6)
    assert (np.abs(data.X) <= 2).all()


def test_kong_scalar_maximum_is_one_number_for_the_sample():
    scalar, row = draw("kong-scalar"), draw("kong-row")
    np.testing.assert_array_equal(scalar.X, row.X)
    x1, x2, x3, x4, _, x6 = scalar.X.T
    rest = 2 * (x1 - 2) ** 2 + 3 * (2 * x4 - 1) ** 2
    shape = np.sin(x2) / ((x2**2 + 1) * (1 + 2 * x3**2))
    largest = max(x1.max(), x6.max())
    np.testing.assert_allclose(scalar.mu0, rest + largest**3 * shape, atol=1e-10)
    own = np.maximum(x1, x6)
    np.testing.assert_allclose(row.mu0, rest + own**3 * shape, atol=1e-10)
    assert not np.allclose(scalar.propensity, row.propensity)


def test_kong_propensity_integrates_over_the_noise_of_the_logit():
    from causalweights.datasets._simulators import _average_expit

    scores = np.array([-3.0, 0.0, 1.5])
    noise = np.sqrt(0.5) * np.random.default_rng(0).standard_normal((400_000, 1))
    simulated = expit(scores + noise)
    error = simulated.std(axis=0) / np.sqrt(len(noise))
    difference = np.abs(_average_expit(scores, 0.5) - simulated.mean(axis=0))
    assert (difference <= MC_ERRORS * error).all()
    assert _average_expit(scores, 0.5)[1] == pytest.approx(0.5)


def test_nie_wager_setup_a():
    data = draw("nw-A")
    x = data.X.T
    assert data.X.shape == (300, 10)
    np.testing.assert_allclose(data.cate, (x[0] + x[1]) / 2)
    np.testing.assert_allclose(
        data.propensity, np.clip(np.sin(np.pi * x[0] * x[1]), 0.1, 0.9)
    )
    np.testing.assert_allclose(data.baseline, (data.mu0 + data.mu1) / 2)
    assert data.true_ate == 0.5


def test_nie_wager_setups_b_c_d():
    b, c, d = draw("nw-B"), draw("nw-C"), draw("nw-D")
    assert (b.propensity == 0.5).all()
    np.testing.assert_allclose(b.cate, b.X[:, 0] + np.log1p(np.exp(b.X[:, 1])))
    np.testing.assert_allclose(c.cate, 1.0)
    np.testing.assert_allclose(
        c.propensity, 1 / (1 + np.exp(c.X[:, 1] + c.X[:, 2])), rtol=1e-12
    )
    np.testing.assert_allclose(d.mu1, np.maximum(d.X[:, :3].sum(axis=1), 0), atol=1e-12)
    np.testing.assert_allclose(d.mu0, np.maximum(d.X[:, 3] + d.X[:, 4], 0), atol=1e-12)


def test_nie_wager_setups_e_f_have_one_covariate_and_no_effect():
    e, f = draw("nw-E"), draw("nw-F")
    assert e.X.shape == f.X.shape == (300, 1)
    assert not e.cate.any() and not f.cate.any()
    assert set(np.round(e.propensity, 12)) == {0.1, 0.9}
    np.testing.assert_allclose(f.propensity, f.X[:, 0])
    assert not f.mu0.any()


def test_nie_wager_setup_e_baseline_pieces():
    from causalweights.datasets._nie_wager import _setup_e

    at = np.array([[-1.0, -0.5, -0.25, 0.2, 0.75]])
    np.testing.assert_allclose(_setup_e(at)[0], [0.5, 1.125, 0.75, 1.075, 0.875])


def test_closed_forms_of_nie_wager_effects():
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    softplus = np.logaddexp(0, nodes) @ weights / weights.sum()
    assert draw("nw-B").true_ate == pytest.approx(softplus, abs=1e-10)
    half_normal = np.sqrt(2 / np.pi) / 2
    expected = half_normal * (np.sqrt(3) - np.sqrt(2))
    assert draw("nw-D").true_ate == pytest.approx(expected, abs=1e-14)


def test_tiny_draws():
    data = make_nie_wager(1, setup="F", random_state=0)
    assert data.X.shape == (1, 1)
    untreated = make_kang_schafer(1, random_state=0)
    expected = 0.0 if untreated.treatment[0] else np.nan
    np.testing.assert_equal(untreated.true_att, expected)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: make_kang_schafer(0), "n_samples"),
        (lambda: make_kang_schafer(10.5), "n_samples"),
        (lambda: make_kang_schafer(10, design="Y"), "design"),
        (lambda: make_kang_schafer(10, sigma=-1.0), "sigma"),
        (lambda: make_kong_heterogeneous(-1), "n_samples"),
        (lambda: make_nie_wager(10, setup="G"), "setup"),
        (lambda: make_nie_wager(10, 4, setup="A"), "n_features"),
        (lambda: make_nie_wager(10, 2, setup="C"), "n_features"),
        (lambda: make_nie_wager(10, 2, setup="E"), "one covariate"),
        (lambda: make_nie_wager(10, sigma=np.inf), "sigma"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
