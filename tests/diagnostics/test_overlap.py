"""Common support and weighted quantiles of a score."""

import numpy as np
import pandas as pd
import pytest

from causalweights.diagnostics import overlap_summary
from causalweights.diagnostics._overlap import weighted_quantile


def test_support_by_hand():
    scores = np.array([0.1, 0.2, 0.3, 0.6, 0.2, 0.5, 0.7, 0.9])
    a = np.repeat([0, 1], 4)
    table = overlap_summary(scores, a)
    assert table.attrs["support"] == [(0.2, 0.6)]
    assert table["n_outside"].tolist() == [1, 2]
    assert table["share_outside"].tolist() == [0.25, 0.5]
    assert table.attrs["n_outside"] == 3
    assert table.attrs["share_outside"] == 3 / 8
    assert table[["min", "max"]].to_numpy().tolist() == [[0.1, 0.6], [0.2, 0.9]]
    assert [c for c in table if c[0] == "q"] == ["q05", "q25", "q50", "q75", "q95"]


def test_separated_arms_have_no_support():
    table = overlap_summary([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    low, high = table.attrs["support"][0]
    assert low > high
    assert table["n_outside"].tolist() == [2, 2]


def test_weights_move_quantiles_and_shares_but_not_the_support(stand_in):
    scores = np.array([0.1, 0.2, 0.3, 0.6, 0.2, 0.5, 0.7, 0.9])
    a = np.repeat([0, 1], 4)
    w = np.array([0, 1, 1, 2, 1, 1, 1, 1.0])
    for weights in (w, stand_in(w, a)):
        table = overlap_summary(scores, a, weights)
        assert table.attrs["support"] == [(0.2, 0.6)]
        assert table["share_outside"].tolist() == [0.0, 0.5]
        assert table["q50"].tolist() == [0.3, 0.5]
        assert table["q75"].tolist() == [0.6, 0.7]


def test_integer_weights_are_replication(rng):
    scores, a = rng.random(40), np.arange(40) % 2
    k = rng.integers(0, 4, size=40)
    weighted = overlap_summary(scores, a, sample_weight=k)
    replicated = overlap_summary(np.repeat(scores, k), np.repeat(a, k))
    columns = ["min", "q05", "q25", "q50", "q75", "q95", "max", "share_outside"]
    pd.testing.assert_frame_equal(weighted[columns], replicated[columns])


def test_quantiles_are_numpys_inverted_cdf(rng):
    values = rng.normal(size=31)
    levels = [0.01, 0.1, 0.5, 0.9, 1 - 1e-9]
    expected = np.quantile(values, levels, method="inverted_cdf")
    np.testing.assert_array_equal(
        weighted_quantile(values, np.ones(31), levels), expected
    )
    # A tenth of ten rows is one row, whatever the rounding of 3 * 0.1.
    ten = np.arange(10.0)
    np.testing.assert_array_equal(
        weighted_quantile(ten, np.full(10, 0.1), [0.1, 0.3, 0.7]), [0, 2, 6]
    )


def test_several_scores(rng):
    a = np.arange(90) % 3
    e = rng.dirichlet([1, 1, 1], size=90)
    table = overlap_summary(e, a)
    assert table.index.names == ["score", "arm"]
    assert len(table) == 9
    single = overlap_summary(e[:, 1], a)
    np.testing.assert_array_equal(table.loc[1].to_numpy(), single.to_numpy())
    assert table.attrs["n_outside"] >= single.attrs["n_outside"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scores": [0.1, np.inf, 0.2, 0.3]}, "has no logit"),
        ({"scores": [0.1, 0.2, 0.3]}, "scores has 3 rows"),
        ({"scores": np.zeros((4, 1, 1))}, "vector or matrix"),
        ({"scores": [0.1, 0.2, 0.3, 0.4], "quantiles": [5, 50]}, "between 0 and 1"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        overlap_summary(treatment=[0, 0, 1, 1], **options)


def test_a_frame_names_its_scores(rng):
    import pandas as pd

    frame = pd.DataFrame(rng.random((30, 2)), columns=["propensity", "age"])
    table = overlap_summary(frame, np.arange(30) % 2)
    assert list(table.index.get_level_values("score").unique()) == ["propensity", "age"]
