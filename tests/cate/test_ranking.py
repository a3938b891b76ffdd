"""Ranking scores: closed forms, definitions, derivatives, bootstrap, coverage."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from causalweights.cate import qini_score, rate_score, targeting_curve

SCORES = (rate_score, qini_score)


def noise_free(effects):
    """Return outcomes and nuisances whose pseudo-outcome is the effect."""
    n = len(effects)
    a = np.arange(n) % 2.0
    v = {"treatment": a, "propensity": np.full(n, 0.5), "mean_0": np.zeros(n)}
    return a * effects, v | {"mean_1": effects}


@pytest.mark.parametrize(("share", "effect"), [(0.2, 3.0), (0.5, -1.0), (0.75, 2.0)])
def test_two_groups_have_a_closed_form(share, effect):
    tau = np.where(np.arange(40) < 40 * share, effect, 0.0)
    y, v = noise_free(tau)
    top = np.arange(40) < 40 * share
    autoc = rate_score(y, top, **v).effect
    assert autoc == pytest.approx(-share * effect * np.log(share), abs=1e-12)
    qini = qini_score(y, top, **v).effect
    assert qini == pytest.approx(share * effect * (1 - share) / 2, abs=1e-12)
    q = np.array([0.1, 0.5, 0.9])
    toc = effect * np.minimum(1, share / q) - share * effect
    assert np.allclose(targeting_curve(y, top, shares=q, **v).effect, toc, atol=1e-12)


def test_effects_rank_themselves_best(rng):
    tau = rng.normal(size=50)
    y, v = noise_free(tau)
    for score in SCORES:
        best = score(y, tau, **v).effect
        assert best > 0
        assert all(score(y, rng.permutation(tau), **v).effect < best for _ in range(20))


@pytest.mark.parametrize("score", SCORES)
def test_a_constant_ranks_nothing(contrast, score):
    y, _, v = contrast
    found = score(y, np.full(len(y), 0.7), **v)
    assert (found.effect, found.se) == (0.0, 0.0)


def test_turning_the_order_round(contrast):
    y, g, v = contrast
    ours, turned = qini_score(y, g, **v), qini_score(y, -g, **v)
    assert ours.effect == pytest.approx(-turned.effect, abs=1e-12)
    assert ours.se == pytest.approx(turned.se, abs=1e-12)
    assert rate_score(y, g, **v).effect > 0 > rate_score(y, -g, **v).effect


def test_only_the_order_of_scores_matters(contrast):
    y, g, v = contrast
    for score in SCORES:
        ours, theirs = score(y, g, **v), score(y, np.exp(3 * g), **v)
        assert (ours.effect, ours.se) == (theirs.effect, theirs.se)


def brute_toc(f, g, q):
    """Return TOC(q) row by row, equals sharing what is left of q."""
    n, left, total = len(f), q * len(f), 0.0
    for value in sorted(set(g), reverse=True):
        block = f[g == value]
        taken = min(len(block), left)
        total += taken * block.mean()
        left -= taken
    return total / (q * n) - f.mean()


@pytest.mark.parametrize("ties", [False, True])
def test_scores_are_integrals_of_the_curve(contrast, pseudo_outcome, ties):
    y, g, v = contrast
    y, v = y[:25], {name: values[:25] for name, values in v.items()}
    f, g = pseudo_outcome[:25], np.round(g[:25], 1 if ties else 9)
    q = np.array([0.03, 0.2, 0.41, 0.8, 0.99])
    curve = targeting_curve(y, g, shares=q, **v).effect
    assert np.allclose(curve, [brute_toc(f, g, p) for p in q], atol=1e-12)
    cuts = np.arange(26) / 25
    for score, power in ((rate_score, 0), (qini_score, 1)):

        def height(q, power=power):
            return q**power * brute_toc(f, g, q)

        area = sum(quad(height, *piece)[0] for piece in pairwise(cuts))
        assert score(y, g, **v).effect == pytest.approx(area, abs=1e-9)


def test_autoc_weights_f_by_the_logarithm_of_its_rank(contrast, pseudo_outcome):
    y, g, v = contrast
    n, f = len(y), pseudo_outcome
    rank = np.argsort(np.argsort(-g))
    weight = [
        n * quad(lambda u: -np.log(u) - 1, r / n, (r + 1) / n, epsabs=1e-13)[0]
        for r in rank
    ]
    assert rate_score(y, g, **v).effect == pytest.approx(np.mean(f * weight), abs=1e-9)
    # The sum at n points that other implementations use.
    ordered = np.cumsum(f[np.argsort(-g)]) / np.arange(1, n + 1) - f.mean()
    assert abs(rate_score(y, g, **v).effect - ordered.mean()) < np.log(n) / n
    q = np.arange(1, n + 1) / n
    assert abs(qini_score(y, g, **v).effect - np.mean(q * ordered)) < np.log(n) / n


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("ties", [False, True])
def test_influence_is_the_derivative_in_the_weights(contrast, score, ties):
    y, g, v = contrast
    g = np.round(g, 1) if ties else g
    found, n, step = score(y, g, **v), len(y), 1e-6
    for i in (0, 7, 100, int(np.argmax(g)), int(np.argmin(g))):
        sides = []
        for sign in (1, -1):
            s = np.ones(n)
            s[i] += sign * step
            sides.append(score(y, g, **v, sample_weight=s).effect)
        slope = n * (sides[0] - sides[1]) / (2 * step)
        assert found.influence[i] == pytest.approx(slope, rel=1e-4, abs=1e-6)
    assert np.sum(found.influence) == pytest.approx(0, abs=1e-9)


def test_standard_errors_agree_with_the_multiplier_bootstrap(design):
    rng = np.random.default_rng(0)
    x, y, v = design(rng, 800, 1.0)
    q = [0.1, 0.3, 0.6, 0.9]
    draws = []
    for _ in range(400):
        s = rng.exponential(size=len(y))
        scores = [score(y, x, **v, sample_weight=s).effect for score in SCORES]
        curve = targeting_curve(y, x, **v, shares=q, sample_weight=s).effect
        draws.append([*scores, *curve])
    ours = [score(y, x, **v).se for score in SCORES]
    ours += list(targeting_curve(y, x, **v, shares=q).se)
    # Of 400 draws an SD has a relative error of 3.5 %.
    assert np.allclose(np.std(draws, axis=0), ours, rtol=0.12)


@pytest.mark.parametrize("score", [*SCORES, targeting_curve])
@pytest.mark.parametrize("ties", [False, True])
def test_frequencies_are_copies(contrast, replicated, score, ties):
    y, g, v = contrast
    counts, (y_copies, g_copies, v_copies) = replicated
    if ties:
        g, g_copies = np.round(g, 1), np.round(g_copies, 1)
    ours = score(y, g, **v, frequency=counts)
    full = score(y_copies, g_copies, **v_copies)
    assert np.allclose(ours.effect, full.effect, atol=1e-12)
    assert np.allclose(ours.se, full.se, atol=1e-12)


def test_clusters_sum_the_influence(contrast, rng):
    y, g, v = contrast
    groups = rng.integers(0, 20, len(y))
    found = rate_score(y, g, **v, groups=groups)
    sums = np.bincount(groups, weights=rate_score(y, g, **v).influence) / len(y)
    assert found.se == pytest.approx(np.sqrt(20 / 19 * np.sum(sums**2)), abs=1e-12)


def test_a_shift_of_all_effects_changes_nothing(contrast):
    y, g, v = contrast
    # Every pseudo-outcome grows by 50.
    moved = v | {"mean_0": v["mean_0"] - 50}
    y_moved = np.where(v["treatment"] == 0, y - 50, y)
    for score in (*SCORES, targeting_curve):
        ours, theirs = score(y, g, **v), score(y_moved, g, **moved)
        assert np.allclose(ours.effect, theirs.effect, atol=1e-10)
        assert np.allclose(ours.se, theirs.se, atol=1e-10)


def test_shares_out_of_range(contrast):
    y, g, v = contrast
    for shares in ([0.0], [0.5, 1.0], []):
        with pytest.raises(ValueError, match="strictly between"):
            targeting_curve(y, g, shares=shares, **v)


# ---- simulations: tau(x) = 1 + x, x uniform on (-1, 1), ranked by x ------------------

AUTOC = quad(lambda x: x * (-np.log((1 - x) / 2) - 1) / 2, -1, 1)[0]
QINI = quad(lambda x: x * (0.5 - (1 - x) / 2) / 2, -1, 1)[0]
SHARES = np.array([0.05, 0.2, 0.5, 0.8, 0.95])


def covered(design, n, n_draws):
    """Return shares of 95 % intervals that cover: AUTOC, Qini, TOC, its whole band."""
    hits, toc = [], 1 - SHARES
    for r in range(n_draws):
        x, y, v = design(np.random.default_rng([7, r]), n, 1.0)
        curve = targeting_curve(y, x, **v, shares=SHARES)
        band = curve.joint_conf_int(n_draws=1000)
        hits.append(
            [
                *inside(rate_score(y, x, **v).conf_int(), AUTOC),
                *inside(qini_score(y, x, **v).conf_int(), QINI),
                *inside(curve.conf_int(), toc),
                inside(band, toc).all(),
            ]
        )
    return np.mean(hits, axis=0)


def inside(interval, truth):
    return (interval[:, 0] <= truth) & (truth <= interval[:, 1])


def test_intervals_cover(design):
    # Three Monte-Carlo standard errors of 300 draws are 3.8 %.
    assert np.all(np.abs(covered(design, 300, 300) - 0.95) < 0.045)


@pytest.mark.slow
@pytest.mark.parametrize("n", [500, 2000])
def test_intervals_cover_in_many_samples(design, n):
    assert np.all(np.abs(covered(design, n, 1500) - 0.95) < 0.022)


def test_level_without_heterogeneity(design):
    # One-sided 5 % tests: three standard errors of 400 draws are 3.3 %.
    rejections = []
    for r in range(400):
        x, y, v = design(np.random.default_rng([8, r]), 300, 0.0)
        rejections.append([s(y, x, **v).pvalue_greater[0] < 0.05 for s in SCORES])
    assert np.all(np.abs(np.mean(rejections, axis=0) - 0.05) < 0.035)
