"""Effective sample sizes and weight summaries by hand."""

import numpy as np
import pandas as pd
import pytest

from causalweights.diagnostics import effective_sample_size, weight_summary

RTOL = 1e-12


def test_effective_size_by_hand():
    assert effective_sample_size([1, 1, 1, 1]) == 4.0
    assert effective_sample_size([7, 0, 0]) == 1.0
    assert effective_sample_size([3, 1]) == pytest.approx(16 / 10, rel=RTOL)
    assert effective_sample_size([0, 0, 1], groups=[1, 1, 2]) == {1: 0.0, 2: 1.0}
    assert effective_sample_size([1, 2], sample_weight=[2, 1]) == 2.0


def test_effective_size_by_group(rng):
    w, label = rng.exponential(size=50), rng.choice(["x", "y"], size=50)
    sizes = effective_sample_size(w, groups=label)
    assert list(sizes) == ["x", "y"]
    for key in sizes:
        assert sizes[key] == effective_sample_size(w[label == key])
    # 1 + cv^2 is what weighting costs.
    cv = w.std() / w.mean()
    assert effective_sample_size(w) == pytest.approx(50 / (1 + cv**2), rel=RTOL)


def test_effective_size_of_frequencies_is_replication(rng):
    w, k = rng.exponential(size=30), rng.integers(0, 4, size=30)
    label = rng.integers(0, 2, size=30)
    value = effective_sample_size(w, sample_weight=k, weight_type="frequency")
    assert value == pytest.approx(effective_sample_size(np.repeat(w, k)), rel=RTOL)
    by_group = effective_sample_size(
        w, sample_weight=k, groups=label, weight_type="frequency"
    )
    replicated = effective_sample_size(np.repeat(w, k), groups=np.repeat(label, k))
    assert by_group == pytest.approx(replicated, rel=RTOL)


def test_effective_size_of_a_weighter(stand_in, rng):
    w, a = rng.exponential(size=20), np.arange(20) % 2
    k = rng.integers(1, 4, size=20).astype(float)
    weighter = stand_in(w, a, sample_weight=k, weight_type="frequency")
    value = effective_sample_size(weighter, sample_weight=k, groups=a)
    expected = effective_sample_size(
        w, sample_weight=k, groups=a, weight_type="frequency"
    )
    assert value == pytest.approx(expected, rel=RTOL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": [[1.0]]}, "must be a vector"),
        ({"weights": [1.0, np.nan]}, "weights contains NaN"),
        ({"weights": [0.0, 0.0]}, "weights is zero on every row"),
        ({"weights": [1.0, 2.0], "groups": [1]}, "groups has shape"),
        ({"weights": [1.0, 2.0], "sample_weight": [1]}, "sample_weight has shape"),
        ({"weights": [1.0], "weight_type": "copies"}, "weight_type='copies'"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        effective_sample_size(**options)


def test_summary_by_hand():
    w = np.r_[np.zeros(5), np.ones(15), [5.0], np.full(79, 2.0), [1.0, 3.0]]
    a = np.r_[np.zeros(100), np.ones(2)].astype(int)
    table = weight_summary(w, a)
    w0 = w[:100]
    row = table.loc[0]
    assert row["n"] == 100 and row["n_zero"] == 5
    assert row["ess"] == pytest.approx(w0.sum() ** 2 / np.sum(w0**2), rel=RTOL)
    assert row["ess_share"] == pytest.approx(row["ess"] / 100, rel=RTOL)
    assert row["max_weight"] == pytest.approx(5 / w0.mean(), rel=RTOL)
    assert row["max_mass"] == pytest.approx(5 / w0.sum(), rel=RTOL)
    assert row["cv"] == pytest.approx(w0.std(ddof=1) / w0.mean(), rel=RTOL)
    assert row["top_1pct_share"] == pytest.approx(5 / w0.sum(), rel=RTOL)
    assert row["top_10_share"] == pytest.approx((5 + 9 * 2) / w0.sum(), rel=RTOL)
    assert not row["concentrated"]
    assert table.loc[1, "top_10_share"] == 1.0
    assert table.loc[1, "concentrated"]


def test_summary_flags_one_heavy_row():
    w = np.r_[np.ones(200), [80.0], np.ones(40)]
    a = np.r_[np.zeros(201), np.ones(40)].astype(int)
    table = weight_summary(w, a)
    assert table["concentrated"].tolist() == [True, False]
    assert table.loc[0, "max_mass"] == pytest.approx(80 / 280, rel=RTOL)


def test_summary_of_frequencies_is_replication(rng):
    w = np.where(rng.random(60) < 0.2, 0, rng.exponential(size=60))
    a, k = rng.integers(0, 2, size=60), rng.integers(0, 5, size=60)
    weighted = weight_summary(w, a, sample_weight=k, weight_type="frequency")
    replicated = weight_summary(np.repeat(w, k), np.repeat(a, k))
    pd.testing.assert_frame_equal(weighted, replicated, rtol=1e-10)


def test_summary_of_a_weighter_and_labels(stand_in, rng):
    w, arm = rng.exponential(size=30), np.array(["u", "v", "w"] * 10)
    weighter = stand_in(w, arm, control="u", focal=None)
    table = weight_summary(weighter, arm)
    assert table.index.tolist() == ["u", "v", "w"]
    assert table["ess"].to_dict() == pytest.approx(effective_sample_size(w, groups=arm))
    with pytest.raises(ValueError, match="control must be given"):
        weight_summary(w, arm)


def test_summary_without_weights_is_of_the_sampling_weights():
    table = weight_summary(None, [0, 0, 1], sample_weight=[1, 3, 2])
    assert table["ess"].tolist() == pytest.approx([1.6, 1.0])
    assert table["max_weight"].tolist() == [1.0, 1.0]
