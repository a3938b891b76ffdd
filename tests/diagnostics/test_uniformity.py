"""Uniformity of the unit cube's rows against scipy, copies and simulation."""

from math import erfc, sqrt

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import kstest, kstwo, spearmanr

from causalweights import UniformTransformer
from causalweights.diagnostics import rank_dependence, uniformity_table
from causalweights.diagnostics._uniformity import uniform_distance

# A few roundings from the formulas.
ROUNDED = 1e-12


@pytest.fixture
def images(rng):
    """Return 80 rows of the cube: two dependent coordinates, a skewed one, ties."""
    U = rng.random((80, 4))
    U[:, 1] = (U[:, 0] + U[:, 1]) / 2
    U[:, 2] **= 2
    U[:, 3] = np.round(U[:, 3] * 4) / 4
    return U


def test_distances_are_those_of_scipy(images):
    table = uniformity_table(images)
    for j, u in enumerate(images.T):
        test = kstest(u, "uniform", method="exact")
        assert_allclose(table["ks"].iloc[j], test.statistic, atol=ROUNDED)
        assert_allclose(table["ks_pvalue"].iloc[j], test.pvalue, rtol=1e-9)
    assert table["ks_pvalue"].iloc[0] > 0.1 > 1e-3 > table["ks_pvalue"].iloc[2]


def test_correlations_are_those_of_scipy(images):
    table, expected = uniformity_table(images), spearmanr(images).statistic
    np.fill_diagonal(expected, 0.0)
    partner = np.abs(expected).argmax(axis=1)
    assert table["strongest"].tolist() == [f"x{k}" for k in partner]
    assert_allclose(table["correlation"], expected[np.arange(4), partner], atol=ROUNDED)
    found = rank_dependence(images)
    assert found.pair == (0, 1)
    assert_allclose(found.correlation, np.abs(expected).max(), atol=ROUNDED)
    assert table.attrs == {
        "correlation": found.correlation,
        "pvalue": found.pvalue,
        "pair": ("x0", "x1"),
    }
    # Negative dependence counts, and keeps its sign in the table.
    images[:, 1] = 1 - images[:, 1]
    turned = uniformity_table(images)
    assert_allclose(turned["correlation"].iloc[:2], -found.correlation, atol=ROUNDED)
    assert_allclose(rank_dependence(images).correlation, found.correlation)


def test_pvalues_by_hand(images):
    def two_sided(correlation):
        return erfc(abs(correlation) * sqrt(79 / 2))

    found = rank_dependence(images[:, [0, 2]])
    assert_allclose(found.pvalue, two_sided(found.correlation), rtol=1e-9)
    # Four coordinates make six pairs.
    table = uniformity_table(images)
    expected = [min(6 * two_sided(r), 1) for r in table["correlation"]]
    assert_allclose(table["correlation_pvalue"], expected, rtol=1e-9)
    assert 0 < expected[0] < 1e-6 and expected[3] > 0.05


def test_weights_are_copies_in_distances_and_correlations(images, rng):
    counts = rng.integers(0, 4, size=80)
    weighted = uniformity_table(images, sample_weight=counts)
    copied = uniformity_table(np.repeat(images, counts, axis=0))
    for name in ("ks", "correlation"):
        assert_allclose(weighted[name], copied[name], atol=ROUNDED)
    # Unequal weights tell less than as many rows: Kish's effective size counts.
    size = round(counts.sum() ** 2 / np.sum(counts**2))
    assert size < 80 < counts.sum()
    assert_allclose(weighted["ks_pvalue"], kstwo.sf(weighted["ks"], size), rtol=1e-9)
    assert weighted.attrs["pvalue"] > copied.attrs["pvalue"]
    scaled = uniformity_table(images, sample_weight=0.3 * counts)
    for name in ("ks", "ks_pvalue", "correlation", "correlation_pvalue"):
        assert_allclose(scaled[name], weighted[name], rtol=1e-9)


def test_distance_by_brute_force(images, rng):
    weight = rng.exponential(size=80)
    u = images[:, 3]
    grid = np.concatenate([u, u - 1e-12, [0, 1]])
    share = [(weight * (u <= x)).sum() / weight.sum() for x in grid]
    assert_allclose(uniform_distance(u, weight), np.abs(share - grid).max(), atol=1e-11)


def test_one_coordinate_has_nothing_to_depend_on(images):
    table = uniformity_table(images[:, :1])
    assert table["strongest"].tolist() == [None]
    assert table[["correlation", "correlation_pvalue"]].isna().all(axis=None)
    assert rank_dependence(images[:, :1]) == (0.0, 1.0, None)
    assert table.attrs["pair"] is None


def test_constant_coordinates_depend_on_nothing(images):
    images[:, 1] = 0.3
    images[:, 2:] = 0.7
    assert rank_dependence(images) == (0.0, 1.0, (0, 1))


def test_ranks_alone_matter(images):
    found = rank_dependence(images)
    assert rank_dependence(np.exp(3 * images)) == found


def test_names(images):
    frame = pd.DataFrame(images, columns=list("abcd"))
    assert uniformity_table(frame).index.tolist() == list("abcd")
    named = uniformity_table(frame, ["p", "q", "r", "s"])
    assert named.index.tolist() == ["p", "q", "r", "s"]
    assert named.attrs["pair"] == ("p", "q")
    with pytest.raises(ValueError, match="names has 2 entries, U has 4 columns"):
        uniformity_table(images, ["p", "q"])


def test_covariates_are_refused(images):
    with pytest.raises(ValueError, match=r"outside \[0, 1\]: pass the images"):
        uniformity_table(images + 0.5)
    with pytest.raises(ValueError, match="NaN"):
        rank_dependence(np.where(images > 0.9, np.nan, images))
    with pytest.raises(ValueError, match="sample_weight has shape"):
        rank_dependence(images, np.ones(3))


@pytest.mark.parametrize("kind", ["rank", "marginal"])
def test_rows_of_the_fit_are_uniform_by_construction(kind, rng):
    X = rng.normal(size=(150, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0], [0, 0, 1]])
    table = uniformity_table(UniformTransformer(kind).fit_transform(X))
    assert np.all(table["ks"] <= 1 / 150 + ROUNDED)
    assert np.all(table["ks_pvalue"] > 0.999)
    assert table.attrs["pair"] == ("x0", "x1") and table.attrs["pvalue"] < 1e-6


def test_tests_hold_their_level(rng):
    # 400 replications: a rejection rate of 0.05 has a standard error of 0.011.
    rejected = np.zeros(2)
    for _ in range(400):
        X, new = rng.normal(size=(60, 3)), rng.random((60, 3))
        mapped = UniformTransformer().fit_transform(X)
        rejected += [
            rank_dependence(mapped).pvalue < 0.05,
            uniformity_table(new[:, :1])["ks_pvalue"].iloc[0] < 0.05,
        ]
    assert np.all(np.abs(rejected / 400 - 0.05) < 0.035)
