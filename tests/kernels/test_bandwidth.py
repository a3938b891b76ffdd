"""The median-distance rule against brute force."""

import numba
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from causalweights.kernels import median_distance
from causalweights.kernels._bandwidth import EXACT_ROWS, SAMPLED_ROWS

# A median of sums of d products.
RTOL = 1e-13


def all_pairs(X, metric):
    gaps = np.abs(X[:, None] - X[None])[np.triu_indices(len(X), 1)]
    squared = np.sum(gaps**2, axis=1)
    return {
        "sqeuclidean": squared,
        "euclidean": np.sqrt(squared),
        "cityblock": np.sum(gaps, axis=1),
    }[metric]


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cityblock"])
@pytest.mark.parametrize("n", [2, 3, 60, 61])
def test_matches_brute_force(metric, n, rng):
    X = rng.normal(size=(n, 3))
    expected = np.median(all_pairs(X, metric))
    assert median_distance(X, metric) == pytest.approx(expected, rel=RTOL)


def test_default_is_the_squared_distance(rng):
    X = rng.normal(size=(20, 2))
    assert median_distance(X) == median_distance(X, "sqeuclidean")


def test_coinciding_rows_leave_the_mean_of_the_others():
    X = np.array([[0.0]] * 8 + [[3.0], [5.0]])
    expected = np.mean([3.0] * 8 + [5.0] * 8 + [2.0])
    assert median_distance(X, "euclidean") == pytest.approx(expected, rel=RTOL)


def test_equal_rows_give_one():
    assert median_distance(np.full((5, 2), 7.0)) == 1.0


def test_large_samples_are_subsampled_the_same_way_each_time(rng):
    X = rng.normal(size=(EXACT_ROWS + 1, 2))
    first = median_distance(X)
    assert median_distance(X) == first
    assert median_distance(X, random_state=0) == first
    assert median_distance(X, random_state=1) != first
    assert median_distance(X, random_state=np.random.RandomState(0)) == first
    rows = np.random.RandomState(0).choice(len(X), SAMPLED_ROWS, replace=False)
    assert first == median_distance(X[rows])


def test_seed_does_not_matter_where_all_pairs_are_used(rng):
    X = rng.normal(size=(50, 2))
    assert median_distance(X, random_state=0) == median_distance(X, random_state=1)


def test_lists_and_integers_are_accepted():
    assert median_distance([[0], [1], [3]], "euclidean") == 2.0


@pytest.mark.parametrize("X", [np.ones(3), np.ones((1, 2)), np.ones((2, 2, 2))])
def test_refuses_what_has_no_pairs(X):
    with pytest.raises(ValueError, match="at least two rows, got shape"):
        median_distance(X)


def test_refuses_an_unknown_metric():
    with pytest.raises(ValueError, match="nonsense"):
        median_distance(np.ones((3, 1)), "nonsense")


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cityblock"])
@pytest.mark.parametrize("d", [1, 4, 50])
def test_many_rows_match_the_sorted_distances(metric, d, rng):
    # Several tiles and pieces; integers make ties.
    X = rng.integers(0, 9, size=(700, d)).astype(float)
    expected = np.median(pdist(X, metric=metric))
    assert median_distance(X, metric) == pytest.approx(expected, rel=RTOL)
    X = rng.normal(size=(701, d)) * 1e-9 + 5.0
    expected = np.median(pdist(X, metric=metric))
    assert median_distance(X, metric) == pytest.approx(expected, rel=RTOL)


@pytest.mark.parametrize("scale", [1e-160, 1e-30, 1e30, 1e150])
def test_very_small_and_large_distances(scale, rng):
    X = rng.normal(size=(50, 2))
    expected = scale * median_distance(X, "cityblock")
    assert median_distance(scale * X, "cityblock") == pytest.approx(expected, rel=RTOL)


def test_middle_of_two_far_apart_groups():
    # The two middle distances lie in bins with empty ones between them.
    X = np.array([[0.0], [1.0], [1e6], [1e6 + 1], [3e6]])
    for rows in (X, X[:4]):
        expected = np.median(pdist(rows))
        assert median_distance(rows, "euclidean") == pytest.approx(expected, rel=RTOL)


def test_threads_do_not_matter(rng):
    X = rng.normal(size=(900, 3))
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = median_distance(X)
    finally:
        numba.set_num_threads(before)
    assert median_distance(X) == one


def test_refuses_nan():
    with pytest.raises(ValueError, match="contain NaN or infinity"):
        median_distance([[0.0], [np.nan], [1.0]])
