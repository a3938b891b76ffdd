"""Folds: partitions, arms in every training part, refused splits."""

import numpy as np
import pytest
from sklearn.model_selection import KFold, LeaveOneGroupOut, ShuffleSplit

from causalweights.crossfit import kept_splits, make_folds, repeat_seeds


@pytest.fixture
def codes(rng):
    """Return three arms, one of them small."""
    return rng.permutation(np.repeat([0, 1, 2], [60, 30, 10]))


def assert_partition(folds, n):
    tests = np.concatenate([test for _, test in folds])
    assert np.array_equal(np.sort(tests), np.arange(n))
    for train, test in folds:
        assert np.array_equal(np.sort(np.r_[train, test]), np.arange(n))


def test_int_is_stratified_on_the_arms(codes):
    folds = make_folds(5, 100, codes=codes, random_state=0)
    assert_partition(folds, 100)
    for _, test in folds:
        assert np.bincount(codes[test]).tolist() == [12, 6, 2]


def test_int_shuffles_and_is_reproducible(codes):
    first = make_folds(5, 100, codes=codes, random_state=0)
    same = make_folds(5, 100, codes=codes, random_state=0)
    other = make_folds(5, 100, codes=codes, random_state=1)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, same))
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(first, other))


def test_int_with_groups_keeps_them_whole(codes):
    groups = np.arange(100) // 4
    folds = make_folds(5, 100, codes=codes, groups=groups, random_state=0)
    assert_partition(folds, 100)
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])


def test_without_codes():
    folds = make_folds(3, 10, random_state=0)
    assert_partition(folds, 10)
    assert sorted(len(test) for _, test in folds) == [3, 3, 4]


def test_none_is_in_sample():
    ((train, test),) = make_folds(None, 7)
    assert np.array_equal(train, np.arange(7)) and np.array_equal(test, np.arange(7))


def test_splitters_lists_and_masks_agree(codes):
    splitter = KFold(4, shuffle=True, random_state=3)
    pairs = list(splitter.split(np.zeros((100, 1))))
    masks = [tuple(np.isin(np.arange(100), part) for part in pair) for pair in pairs]
    expected = make_folds(splitter, 100, codes=codes)
    assert_partition(expected, 100)
    for cv in (pairs, masks, iter(pairs)):
        folds = make_folds(cv, 100, codes=codes)
        assert all(
            np.array_equal(a, b) for f, g in zip(folds, expected) for a, b in zip(f, g)
        )


def test_splitter_sees_groups(codes):
    groups = np.arange(100) % 4
    folds = make_folds(LeaveOneGroupOut(), 100, codes=codes, groups=groups)
    assert len(folds) == 4
    assert_partition(folds, 100)


ROWS = np.arange(6)


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        (1, "from 2 to the number of rows"),
        (7, "from 2 to the number of rows"),
        (True, "give a number of folds"),
        ("five", "give a number of folds"),
        (2.5, "give a number of folds"),
        ([], r"not one of \(train, test\) pairs"),
        ([ROWS], r"not one of \(train, test\) pairs"),
        (ShuffleSplit(3, random_state=0), "exactly once"),
        ([(ROWS[3:], ROWS[:3])], "row 3 0 times"),
        ([(ROWS[3:], ROWS[:3]), (ROWS[:2], ROWS[2:])], "row 2 2 times"),
        ([(ROWS, ROWS)], "trains on row 0, which it predicts"),
        ([(ROWS[3:], ROWS[:3]), (ROWS[:3], ROWS[3:] + 1)], "positions go from 0 to 5"),
        ([(ROWS[3:], ROWS[:3] - 1)], "positions from -1"),
        ([(np.ones(5, bool), ROWS)], "mask of shape"),
        ([(ROWS[:0], ROWS)], "non-empty"),
        ([(ROWS[3:] / 1.0, ROWS[:3])], "row positions"),
    ],
)
def test_refused_splits(cv, message):
    with pytest.raises(ValueError, match=message):
        make_folds(cv, 6)


def test_training_part_without_an_arm_names_it():
    codes = np.array([0, 0, 0, 1, 1, 1])
    pairs = [(ROWS[3:], ROWS[:3]), (ROWS[:3], ROWS[3:])]
    with pytest.raises(ValueError, match=r"fold 0 .* arm 'a': use fewer folds"):
        make_folds(pairs, 6, codes=codes, labels=np.array(["a", "b"]))
    with pytest.raises(ValueError, match="arm 0"):
        make_folds(pairs, 6, codes=codes)


def test_refused_groups():
    with pytest.raises(ValueError, match="at least as many groups, got 2"):
        make_folds(3, 6, groups=[0, 0, 0, 1, 1, 1])
    with pytest.raises(ValueError, match="one group a row"):
        make_folds(3, 6, groups=[0, 1])
    with pytest.raises(ValueError, match="codes has shape"):
        make_folds(3, 6, codes=np.zeros(5, int))


def test_repetition_seeds_are_a_growing_sequence():
    seeds = repeat_seeds(5, 4)
    assert seeds == repeat_seeds(5, 4) and seeds[:2] == repeat_seeds(5, 2)
    assert len(set(seeds)) == 4 and all(isinstance(seed, int) for seed in seeds)
    assert seeds != repeat_seeds(6, 4)
    assert seeds == repeat_seeds(np.random.RandomState(5), 4)


def test_splits_of_kept_rows_are_renumbered():
    kept = np.array([True, False, True, True, False, True])
    pairs = [(ROWS[3:], ROWS[:3]), (ROWS[:3], ROWS[3:])]
    folds = make_folds(kept_splits(pairs, kept), 4)
    assert [(a.tolist(), b.tolist()) for a, b in folds] == [
        ([2, 3], [0, 1]),
        ([0, 1], [2, 3]),
    ]
    masks = [tuple(np.isin(ROWS, part) for part in pair) for pair in pairs]
    again = make_folds(kept_splits(masks, kept), 4)
    assert all(np.array_equal(a, b) for f, g in zip(folds, again) for a, b in zip(f, g))
    splitter = KFold(2)
    assert kept_splits(splitter, kept) is splitter
    assert kept_splits(3, kept) == 3 and kept_splits(None, kept) is None
