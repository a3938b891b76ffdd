"""Effects of several models: ranked, or centered, within the folds they come from."""

import numpy as np
import pytest
from scipy.stats import rankdata

from causalweights.cate import (
    calibration_curve,
    calibration_test,
    clan,
    gates,
    qini_score,
    rate_score,
    targeting_curve,
)
from causalweights.cate._folds import ranks_within

RANKED = (gates, rate_score, qini_score, targeting_curve)


@pytest.fixture
def folds(contrast, rng):
    return rng.permutation(np.repeat(["u", "v", "w"], 80))


@pytest.fixture
def levels(folds):
    """A number a fold: what its model adds to all of its effects."""
    return np.select([folds == "u", folds == "v"], [5.0, -3.0], 0.0)


@pytest.mark.parametrize("function", RANKED)
def test_the_level_of_a_fold_does_not_move_a_ranking(contrast, folds, levels, function):
    y, g, rows = contrast
    one = function(y, g, folds=folds, **rows)
    other = function(y, np.exp(g + levels), folds=folds, **rows)
    assert np.allclose(one.effect, other.effect, atol=1e-12)
    assert np.allclose(one.se, other.se, atol=1e-12)
    ranks = np.empty(len(y))
    for k in "uvw":
        ranks[folds == k] = rankdata(g[folds == k])
    assert np.allclose(function(y, ranks, **rows).effect, one.effect, atol=1e-12)
    assert not np.allclose(function(y, g + levels, **rows).effect, one.effect)


@pytest.mark.parametrize("form", ["r", "dr"])
def test_the_level_of_a_fold_does_not_move_the_slope(contrast, folds, levels, form):
    y, g, rows = contrast
    centered = g.copy()
    for k in "uvw":
        centered[folds == k] += g.mean() - g[folds == k].mean()
    expected = calibration_test(y, centered, form=form, **rows)
    found = calibration_test(y, g, form=form, folds=folds, **rows)
    assert np.allclose(found.effect, expected.effect, atol=1e-12)
    assert np.allclose(found.cov, expected.cov, atol=1e-12)
    moved = calibration_test(y, g + levels, form=form, folds=folds, **rows)
    assert moved.effect[1] == pytest.approx(found.effect[1])


def test_tables_take_folds(contrast, folds, levels, rng):
    y, g, rows = contrast
    X = rng.normal(size=(len(y), 2))
    one, other = (clan(X, v, folds=folds) for v in (g, g + levels))
    assert np.allclose(one, other)
    one, other = (calibration_curve(y, v, folds=folds, **rows) for v in (g, g + levels))
    assert np.allclose(one.estimated, other.estimated)


def test_one_fold_is_none(contrast):
    y, g, rows = contrast
    one = np.zeros(len(y), dtype=int)
    for function in (*RANKED, calibration_test):
        expected = function(y, g, **rows).effect
        assert np.allclose(function(y, g, folds=one, **rows).effect, expected)


def test_folds_without_weight_and_copies(contrast, folds, replicated):
    y, g, rows = contrast
    weight = (folds != "u") * 1.0
    kept = weight > 0
    some = {name: v[kept] for name, v in rows.items()}
    expected = gates(y[kept], g[kept], folds=folds[kept], **some)
    found = gates(y, g, folds=folds, sample_weight=weight, **rows)
    assert np.allclose(found.effect, expected.effect, atol=1e-12)
    assert np.allclose(found.se, expected.se, atol=1e-12)
    counts, (_, copied, _) = replicated
    found = ranks_within(copied, np.repeat(folds, counts), np.ones(len(copied)))
    expected = np.repeat(ranks_within(g, folds, counts * 1.0), counts)
    assert np.array_equal(found, expected)


def test_bad_folds(contrast):
    y, g, rows = contrast
    with pytest.raises(ValueError, match="folds"):
        gates(y, g, folds=[1, 2], **rows)
