"""The kernel test of a conditional restriction, beside n x n matrices."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import pdist
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler

from causalweights import GEL, GMM, MMR, KernelMoments, LinearIV
from causalweights.moments import MeanVariance, PoissonMoment
from causalweights.moments._conditional_test import (
    ResidualSample,
    conditional_moment_test,
)

# Two factorisations of one kernel matrix, which leave 1e-12 of its trace.
SAME = 1e-8


def sample(seed, n=200, quadratic=0.0, clusters=False):
    """An endogenous regressor, two instruments, heteroskedastic errors."""
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n, 2))
    u, e = rng.normal(size=(2, n))
    groups = None
    if clusters:
        groups = np.arange(n) % (n // 8)
        common = rng.normal(size=(2, n // 8))[:, groups]
        Z[:, 0] = 0.6 * Z[:, 0] + 0.8 * common[0]
        e = 0.6 * e + 0.8 * common[1]
    t = Z @ [1.0, 0.5] + u
    y = 1 + 2 * t + (u + e) * (1 + 0.5 * np.abs(Z[:, 0])) + quadratic * Z[:, 0] ** 2
    return {"X": t[:, None], "y": y, "instruments": Z, "groups": groups}


def brute_force(data, multipliers):
    """Return the statistic of just-identified IV, and a draw for each multiplier row.

    A draw is the statistic of y moved by multiplied residuals, the line fitted again.
    """
    n = len(data["y"])
    X = np.column_stack([data["X"], np.ones(n)])
    Z = np.column_stack([data["instruments"][:, 0], np.ones(n)])
    z = StandardScaler().fit_transform(data["instruments"][:, :1])
    K = rbf_kernel(z, gamma=1 / np.median(pdist(z, "sqeuclidean")))
    inverse = np.linalg.inv(Z.T @ X)
    residual = data["y"] - X @ (inverse @ (Z.T @ data["y"]))
    residual /= np.sqrt(np.mean(residual**2))
    statistic = residual @ K @ residual / n
    draws = []
    for xi in multipliers:
        moved = xi * residual
        refitted = moved - X @ (inverse @ (Z.T @ moved))
        draws.append(refitted @ K @ refitted / n)
    return statistic, np.array(draws)


@pytest.fixture
def recorded(monkeypatch):
    """The draws of the last test, and their multipliers by row of the sorted sample."""
    from causalweights.moments import _conditional_test as module

    kept = {}
    norms, draw = module._norms, module.draw_multipliers

    def keep_norms(*args):
        kept["statistic"], kept["draws"] = norms(*args)
        return kept["statistic"], kept["draws"]

    def keep_multipliers(*args):
        kept["xi"] = draw(*args)
        return kept["xi"]

    monkeypatch.setattr(module, "_norms", keep_norms)
    monkeypatch.setattr(module, "draw_multipliers", keep_multipliers)
    return kept


@pytest.mark.parametrize("estimator", [LinearIV, GMM, GEL])
def test_statistic_and_draws_are_those_of_the_kernel_matrix(recorded, estimator):
    data = sample(0)
    fit = estimator(fit_intercept=True).fit(
        data["X"], data["y"], instruments=data["instruments"][:, 0]
    )
    found = fit.conditional_moment_test(n_boot=49)
    order = np.argsort(data["instruments"][:, 0])
    ordered = {
        key: value if value is None else value[order] for key, value in data.items()
    }
    statistic, draws = brute_force(ordered, recorded["xi"])
    assert_allclose(found.statistic, statistic, rtol=SAME)
    assert_allclose(recorded["draws"], draws, rtol=SAME)
    assert found.pvalue == (1 + np.sum(draws >= statistic)) / 50
    assert found.df is None
    assert str(found).startswith(f"Kernel conditional moment test: {statistic:.4f}, p")


@pytest.mark.parametrize(
    "estimator", [GMM, MMR, lambda **o: KernelMoments(lam=1e-3, **o)]
)
def test_order_of_rows_and_units_do_not_matter(estimator):
    data = sample(1, n=120, quadratic=0.3)
    plain = estimator(fit_intercept=True).fit(
        data["X"], data["y"], instruments=data["instruments"]
    )
    order = np.random.default_rng(0).permutation(120)
    other = estimator(fit_intercept=True).fit(
        data["X"][order], -1e3 * data["y"][order] + 7,
        instruments=data["instruments"][order] * [1e4, 1e-2],
    )  # fmt: skip
    first, second = plain.conditional_moment_test(), other.conditional_moment_test()
    assert_allclose(second.statistic, first.statistic, rtol=1e-5)
    assert second.pvalue == pytest.approx(first.pvalue, abs=0.002)
    again = plain.conditional_moment_test()
    assert (again.statistic, again.pvalue) == (first.statistic, first.pvalue)
    assert plain.conditional_moment_test(random_state=1).pvalue != first.pvalue


def test_groups_of_one_row_are_rows_and_a_copy_is_no_news():
    data = sample(2, n=100)
    data.pop("groups")

    def pvalue(copies=1, groups=None, **options):
        rows = np.repeat(np.arange(100), copies)
        fit = LinearIV(fit_intercept=True, **options).fit(
            data["X"][rows], data["y"][rows], instruments=data["instruments"][rows],
            groups=groups,
        )  # fmt: skip
        return fit.conditional_moment_test(n_boot=1999, bandwidth=1.0)

    alone = pvalue()
    each = pvalue(groups=np.arange(100))
    assert each.statistic == alone.statistic
    # Other draws, of a process larger by 100 / 99.
    assert each.pvalue == pytest.approx(alone.pvalue, abs=0.04)
    doubled = pvalue(2, groups=np.repeat(np.arange(100), 2))
    assert_allclose(doubled.statistic, 2 * alone.statistic, rtol=1e-6)
    assert doubled.pvalue == pytest.approx(each.pvalue, abs=0.01)


def test_frequency_weights_count_rows():
    data, rng = sample(3, n=80), np.random.default_rng(0)
    counts = rng.integers(0, 4, size=80)
    rows = np.repeat(np.arange(80), counts)
    options = {"fit_intercept": True, "weight_type": "frequency"}
    counted = GMM(**options).fit(
        data["X"], data["y"], instruments=data["instruments"], sample_weight=counts
    )
    repeated = GMM(**options).fit(
        data["X"][rows], data["y"][rows], instruments=data["instruments"][rows]
    )
    tests = [
        fit.conditional_moment_test(n_boot=1999, bandwidth=1.0)
        for fit in (counted, repeated)
    ]
    assert_allclose(tests[0].statistic, tests[1].statistic, rtol=1e-6)
    assert tests[0].pvalue == pytest.approx(tests[1].pvalue, abs=0.04)


def test_a_low_rank_changes_little():
    data = sample(4, n=300, quadratic=0.3)
    fit = GMM(fit_intercept=True).fit(
        data["X"], data["y"], instruments=data["instruments"]
    )
    exact = fit.conditional_moment_test()
    low = fit.conditional_moment_test(n_components=40)
    assert_allclose(low.statistic, exact.statistic, rtol=1e-3)
    assert low.pvalue == pytest.approx(exact.pvalue, abs=0.01)
    coarse = fit.conditional_moment_test(n_components=3)
    assert coarse.statistic < 0.99 * exact.statistic


def test_residuals_of_several_equations_add_up():
    data = sample(5, n=60)
    fit = GMM(fit_intercept=True).fit(
        data["X"], data["y"], instruments=data["instruments"]
    )
    one = ResidualSample.of(fit.moment_, fit._sample, fit.params_, fit._influence())
    twice = replace(
        one, residual=np.repeat(one.residual, 2, axis=1),
        slopes=np.repeat(one.slopes, 2, axis=1),
    )  # fmt: skip
    single, double = conditional_moment_test(one), conditional_moment_test(twice)
    assert_allclose(double.statistic, 2 * single.statistic)
    assert double.pvalue == single.pvalue


def test_refusals():
    data = sample(6, n=60)
    X, y, Z = data["X"], data["y"], data["instruments"]
    fit = GMM().fit(X, y, instruments=Z)
    with pytest.raises(ValueError, match="n_boot must be"):
        fit.conditional_moment_test(n_boot=0)
    with pytest.raises(ValueError, match="multiplier='normal' is unknown"):
        fit.conditional_moment_test(multiplier="normal")
    with pytest.raises(ValueError, match="cov_type='hac'"):
        GMM(cov_type="hac").fit(X, y, instruments=Z).conditional_moment_test()
    with pytest.raises(ValueError, match="MeanVariance has no instruments"):
        GEL(MeanVariance()).fit(X, y).conditional_moment_test()
    smoothed = KernelMoments(reference="kde", lam=1e-3).fit(X, y, instruments=Z)
    with pytest.raises(ValueError, match="not offered with reference='kde'"):
        smoothed.conditional_moment_test()


def rejections(n_samples, quadratic=0.0, clusters=False, n=100, estimator=LinearIV):
    """Return the share of samples whose p-value is at most 5 %."""
    pvalues = []
    for seed in range(n_samples):
        data = sample(seed, n, quadratic, clusters)
        fit = estimator(fit_intercept=True).fit(**data)
        test = fit.conditional_moment_test(n_boot=99, n_components=20)
        pvalues.append(test.pvalue)
    return np.mean(np.array(pvalues) <= 0.05)


def test_size_and_power():
    # A binomial standard error of .024.
    assert abs(rejections(80) - 0.05) < 3 * 0.024
    assert rejections(15, quadratic=1.0) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [False, True])
@pytest.mark.parametrize(
    "estimator",
    [LinearIV, GMM, MMR],
)
def test_size(clusters, estimator):
    share = rejections(300, clusters=clusters, n=240, estimator=estimator)
    assert abs(share - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 300)


def test_exactly_identified_models_are_tested_too():
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    counts = rng.poisson(np.exp(0.5 + 0.3 * x + 0.5 * x**2 * (x > 0)))
    fit = GMM(PoissonMoment(), fit_intercept=True).fit(x[:, None], counts)
    assert np.isnan(fit.j_test().pvalue)
    assert fit.conditional_moment_test().pvalue < 0.01
    right = rng.poisson(np.exp(0.5 + 0.3 * x))
    fit = GMM(PoissonMoment(), fit_intercept=True).fit(x[:, None], right)
    assert fit.conditional_moment_test().pvalue > 0.05
