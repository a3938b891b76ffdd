"""Subsampling intervals: exact laws of the mean, strata, clusters, failures."""

import functools
import itertools

import numpy as np
import pytest
from scipy.stats import binom, norm

from causalweights.inference import minimum_volatility, subsample_interval
from causalweights.inference._subsamples import draw_subsamples

ROUNDING = 1e-12  # the same sums in another order


def mean_of(values):
    return functools.partial(_mean, values)


def _mean(values, rows):
    return values[rows].mean()


def test_all_subsamples_give_the_exact_variance(rng):
    # Over every subset of b of n rows, the rescaled variance is that of the mean.
    y, b = rng.normal(size=9), 4
    means = [y[list(rows)].mean() for rows in itertools.combinations(range(9), b)]
    scale = np.sqrt(b / (9 - b))
    assert np.std(means) * scale == pytest.approx(np.std(y, ddof=1) / 3, rel=ROUNDING)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_mean_has_the_normal_interval(rng, share):
    # Half of the rows as well: what the finite-population factor is for.
    n = 400
    y = rng.normal(size=n)
    out = subsample_interval(mean_of(y), n, sizes=[int(share * n)], n_subsamples=4000)
    se = y.std(ddof=1) / np.sqrt(n)
    # Monte-Carlo error of a 2.5 % quantile of 4000 draws: 0.042 standard deviations.
    tolerance = 4 * 0.042 * se
    z = norm.ppf(0.975)
    assert out.estimate == pytest.approx(y.mean(), rel=ROUNDING)
    assert out.lower == pytest.approx(y.mean() - z * se, abs=tolerance)
    assert out.upper == pytest.approx(y.mean() + z * se, abs=tolerance)
    assert out.se == pytest.approx(se, rel=4 / np.sqrt(2 * 4000))


def test_interval_is_made_of_the_estimates(rng):
    y = rng.exponential(size=60)
    out = subsample_interval(mean_of(y), 60, n_subsamples=50, level=0.8)
    for k, b in enumerate(out.sizes):
        roots = np.sqrt(b / (1 - b / 60)) * (out.estimates[k] - y.mean())
        # Of 50 draws the 5.1-th and the 45.9-th.
        low, high = np.interp([5.1, 45.9], np.arange(1, 51), np.sort(roots))
        assert out.lowers[k] == pytest.approx(y.mean() - high / np.sqrt(60))
        assert out.uppers[k] == pytest.approx(y.mean() - low / np.sqrt(60))
    chosen = minimum_volatility(out.lowers, out.uppers)
    assert out.size == out.sizes[chosen]
    assert (out.lower, out.upper) == (out.lowers[chosen], out.uppers[chosen])


def test_skewed_law_is_mirrored():
    # A mean of few exponentials overshoots further than it undershoots: the truth may
    # lie further below the estimate than above it.
    y = np.random.default_rng(3).exponential(size=2000)
    out = subsample_interval(mean_of(y), 2000, sizes=[10], n_subsamples=4000)
    assert out.estimate - out.lower > 1.15 * (out.upper - out.estimate)


def test_grid_is_the_recipe():
    y = np.arange(900.0)
    out = subsample_interval(mean_of(y), 900, n_subsamples=20)
    assert len(out.sizes) == 20
    assert (out.sizes[0], out.sizes[-1]) == (30, 90)
    assert out.estimates.shape == (20, 20)
    # Never more than half of the rows.
    assert subsample_interval(mean_of(y), 24, n_subsamples=20).sizes[-1] == 12


def test_same_bits_for_any_n_jobs(rng):
    X = rng.normal(size=(80, 40))
    options = {"sizes": [20, 24, 28, 32, 36], "n_subsamples": 60, "random_state": 4}

    def statistic(rows):
        return (X[rows].T @ X[rows])[0, 1]

    one = subsample_interval(statistic, 80, **options)
    two = subsample_interval(statistic, 80, n_jobs=2, **options)
    np.testing.assert_array_equal(one.estimates, two.estimates)
    assert (one.lower, one.upper, one.size) == (two.lower, two.upper, two.size)
    options["random_state"] = 5
    other = subsample_interval(statistic, 80, **options)
    assert not np.any(other.estimates == one.estimates)


def test_more_subsamples_begin_with_the_same(rng):
    y = rng.normal(size=50)
    few = subsample_interval(mean_of(y), 50, sizes=[10], n_subsamples=30)
    many = subsample_interval(mean_of(y), 50, sizes=[10], n_subsamples=80)
    np.testing.assert_array_equal(few.estimates[0], many.estimates[0, :30])


def test_strata_keep_their_shares(rng):
    codes = np.repeat([0, 1, 2], [60, 30, 10])[rng.permutation(100)]
    seen = []

    def statistic(rows):
        assert np.all(np.diff(rows) > 0), "sorted, without replacement"
        seen.append(np.bincount(codes[rows], minlength=3))
        return float(rows[0])

    out = subsample_interval(
        statistic, 100, sizes=[20, 25, 30, 35, 40], n_subsamples=20, strata=codes
    )
    counts = np.array(seen[1:]).reshape(5, 20, 3)
    assert np.all(counts == counts[:, :1])
    np.testing.assert_array_equal(counts.sum(axis=2)[:, 0], out.sizes)
    exact = out.sizes[:, None] * np.array([0.6, 0.3, 0.1])
    assert np.all(np.abs(counts[:, 0] - exact) < 1)
    assert np.all(counts >= 2)


def test_strata_set_the_smallest_size():
    y, codes = np.arange(400.0), np.repeat([0, 1], [380, 20])
    out = subsample_interval(mean_of(y), 400, n_subsamples=20, strata=codes)
    assert out.sizes[0] == 40  # two of the twenty
    with pytest.raises(ValueError, match="sizes must lie between 40"):
        subsample_interval(mean_of(y), 400, sizes=[30], strata=codes)
    with pytest.raises(ValueError, match="2 in the smallest stratum, are too few"):
        codes = np.repeat([0, 1], [398, 2])
        subsample_interval(mean_of(y), 400, strata=codes)


def test_stratified_variance_is_within_strata(rng):
    codes = np.repeat([0, 1], 100)
    y = rng.normal(size=200) + 50 * codes
    out = subsample_interval(
        mean_of(y), 200, sizes=[50], n_subsamples=4000, strata=codes
    )
    within = np.sqrt((y[:100].var(ddof=1) + y[100:].var(ddof=1)) / 2 / 200)
    assert out.se == pytest.approx(within, rel=4 / np.sqrt(2 * 4000))


def test_clusters_are_drawn_whole(rng):
    groups = np.repeat(np.arange(40), 5)[rng.permutation(200)]
    y = rng.normal(size=40)[groups]

    def statistic(rows):
        assert set(np.bincount(groups[rows], minlength=40)) <= {0, 5}
        return y[rows].mean()

    out = subsample_interval(
        statistic, 200, sizes=[15], n_subsamples=3000, groups=groups
    )
    means = np.array([y[groups == g].mean() for g in range(40)])
    se = means.std(ddof=1) / np.sqrt(40)
    assert out.se == pytest.approx(se, rel=4 / np.sqrt(2 * 3000))
    arms = groups % 2
    out = subsample_interval(
        statistic, 200, sizes=[14], n_subsamples=20, groups=groups, strata=arms
    )
    assert out.size == 14
    with pytest.raises(ValueError, match="leave strata out"):
        subsample_interval(
            statistic, 200, groups=groups, strata=np.arange(200) % 2, estimate=0.0
        )


def test_volatility_rule_on_a_made_up_curve():
    lowers = np.array([0.0, 3.0, 1.0, 2.0, 2.1, 2.0, 2.1, 2.0, 4.0, 8.0])
    uppers = lowers + 10
    assert minimum_volatility(lowers, uppers) == 5
    # Upper ends count as much as lower ends.
    assert minimum_volatility(np.zeros(10), uppers) == 5
    assert minimum_volatility(lowers, np.zeros(10)) == 5
    wavy = np.where(np.arange(10) < 5, 0.0, [9, 0] * 5)
    assert minimum_volatility(lowers, wavy) == 3
    assert minimum_volatility(np.ones(5), np.ones(5)) == 2
    assert minimum_volatility(lowers[:4], uppers[:4], window=1) in (1, 2)
    with pytest.raises(ValueError, match="4 intervals for a neighborhood of 5"):
        minimum_volatility(np.ones(4), np.ones(4))


def test_rare_failures_are_counted(rng):
    y = rng.normal(size=100)

    def statistic(rows):
        if len(rows) < 100 and {0, 1} <= set(rows):  # 2.1 % at 15 of 100 rows
            raise ValueError("these two exclude each other.")
        return y[rows].mean()

    out = subsample_interval(statistic, 100, sizes=[15], n_subsamples=300)
    assert 0 < out.n_failed == np.isnan(out.estimates).sum() <= 15
    assert np.isfinite([out.lower, out.upper, out.se]).all()


@pytest.mark.parametrize("value", [None, np.nan])
def test_many_failures_raise_with_the_reason(value):
    def statistic(rows):
        if len(rows) == 12 and 0 in rows:  # 30 % of the subsamples
            if value is None:
                raise ValueError("row 0 is bad.")
            return value
        return 1.0

    reason = "row 0 is bad" if value is None else "the statistic was nan"
    with pytest.raises(ValueError, match=f"size 12, more than 5%.*{reason}"):
        subsample_interval(statistic, 40, sizes=[8, 10, 12, 14, 16], n_subsamples=40)


def test_sizes_that_fail_leave_the_grid(rng):
    y = rng.normal(size=60)

    def statistic(rows):
        # 12 rows fail always, 15 rows in a quarter of the subsamples.
        if len(rows) <= 12 or (len(rows) == 15 and 0 in rows):
            raise ValueError("too few.")
        return y[rows].mean()

    sizes = [12, 14, 15, 16, 18, 20, 22, 24, 26]
    out = subsample_interval(statistic, 60, sizes=sizes, n_subsamples=60)
    assert out.sizes.tolist() == sizes[3:] and out.n_failed == 0
    assert out.estimates.shape == (6, 60) and len(out.lowers) == 6
    assert out.size in sizes[5:-2]
    # The draws of a size are those of its place in the whole grid.
    whole = subsample_interval(mean_of(y), 60, sizes=sizes, n_subsamples=60)
    np.testing.assert_array_equal(out.estimates, whole.estimates[3:])


def test_several_quantities_are_drawn_at_once(rng):
    Y = rng.normal(size=(60, 3))
    options = {"n_subsamples": 30, "random_state": 8}
    drawn = draw_subsamples(
        lambda rows: Y[rows].mean(axis=0), 60, Y.mean(axis=0), **options
    )
    assert drawn.values.shape == (len(drawn.sizes), 30, 3)
    lowers, uppers = drawn.intervals(0.9)
    alone = [
        subsample_interval(mean_of(Y[:, j]), 60, level=0.9, **options) for j in range(3)
    ]
    for j, one in enumerate(alone):
        np.testing.assert_allclose(drawn.values[:, :, j], one.estimates, atol=ROUNDING)
        np.testing.assert_allclose(lowers[:, j], one.lowers, atol=ROUNDING)
        np.testing.assert_allclose(uppers[:, j], one.uppers, atol=ROUNDING)
    # One size for all adds their volatilities.
    volatility = [
        sum(ends[k - 2 : k + 3].std(axis=0).sum() for ends in (lowers, uppers))
        for k in range(2, len(lowers) - 2)
    ]
    assert minimum_volatility(lowers, uppers) == np.argmin(volatility) + 2


def test_wide_grid_starts_where_it_is_asked_to():
    y = np.arange(400.0)
    estimate = np.array([y.mean()])
    drawn = draw_subsamples(mean_of(y), 400, estimate, least=50.2, n_subsamples=20)
    assert (drawn.sizes[0], drawn.sizes[-1]) == (51, 102)
    with pytest.raises(ValueError, match=r"40 units are too few .* from 25 on\. Wait"):
        draw_subsamples(mean_of(y), 40, estimate, least=25, advice="Wait.")


def test_other_errors_are_not_hidden():
    def statistic(rows):
        if len(rows) < 40:
            raise ZeroDivisionError
        return 1.0

    with pytest.raises(ZeroDivisionError):
        subsample_interval(statistic, 40, sizes=[10])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 95}, "level must lie between"),
        ({"n_subsamples": 5}, "too few for quantiles"),
        ({"sizes": [10, 9, 11, 12, 13]}, "increasing integers"),
        ({"sizes": [10.5]}, "increasing integers"),
        ({"sizes": [10, 12]}, "give one, or at least 5"),
        ({"sizes": [40]}, "below the number of units"),
        ({"strata": [1, 2]}, r"strata has shape \(2,\)"),
        ({"groups": [1, 2]}, r"groups has shape \(2,\)"),
        ({"estimate": np.nan}, "is nan, not finite"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        subsample_interval(lambda rows: 0.0, 40, **options)
    with pytest.raises(ValueError, match="n=7 rows are too few"):
        subsample_interval(lambda rows: 0.0, 7)


def coverage(n, reps, n_subsamples):
    hits = 0
    for rep in range(reps):
        y = np.random.default_rng([71, rep]).normal(size=n)
        sizes = np.unique(np.linspace(np.sqrt(n), 3 * np.sqrt(n), 7).astype(int))
        out = subsample_interval(mean_of(y), n, sizes=sizes, n_subsamples=n_subsamples)
        hits += out.lower <= 0 <= out.upper
    return hits


@pytest.mark.slow
def test_coverage_with_the_chosen_size():
    hits = coverage(100, 400, 200)
    low, high = binom.ppf([1e-3, 1 - 1e-3], 400, 0.945)
    assert low <= hits <= high


def test_coverage_of_the_mean():
    hits = coverage(64, 100, 60)
    low, high = binom.ppf([1e-3, 1 - 1e-3], 100, 0.945)
    assert low <= hits <= high
