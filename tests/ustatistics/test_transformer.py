"""The uniform transformer against recursion by hand, and what it must not change."""

import pickle
from itertools import pairwise
from math import prod

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kstest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from causalweights import UniformTransformer
from causalweights.ustatistics._cell_cdf import cell_cdf
from causalweights.ustatistics._joint_map import group_numbers
from causalweights.ustatistics._marginal_map import Cells

KINDS = ["rank", "marginal", "joint"]
WITHIN = ["constant", "linear", "quadratic"]
# Images are of order one and a handful of roundings from the formulas.
ROUNDED = 1e-12
# The golden numbers have twelve decimals.
GOLDEN = 1e-9

CONTROLS = np.array(
    [
        (0.1, 2, 1), (0.4, -1, 0), (0.9, 0.5, 2), (1.3, 3, 3), (1.8, -2, -1),
        (2.2, 1.1, 2.5), (2.7, 0.2, 1.5), (3.1, -0.6, 0.5), (3.9, 1.7, 4),
    ]
)  # fmt: skip
TREATED = np.array(
    [(0.7, 1, 2), (2, 0, 1), (2.5, 2.4, 4.5), (3.5, -1.5, 0.5), (4.2, 0.8, 5)]
)


def mapped(kind, X, queries=None, *, sample_weight=None, **options):
    """Return the images of X, or of queries, under the map fitted on X."""
    fitted = UniformTransformer(kind, **options).fit(X, sample_weight=sample_weight)
    return fitted.transform(X if queries is None else queries)


@pytest.fixture
def sample(rng):
    """Return dependent continuous rows, rows full of ties, and weights."""
    X = rng.normal(size=(61, 3)) @ np.array([[1, 0.7, 0], [0, 1, 0.4], [0, 0, 1]])
    ties = rng.integers(0, 4, size=(61, 3)).astype(float)
    return {"X": X, "ties": ties, "weight": rng.exponential(size=61)}


# ---- the formulas, by hand ----------------------------------------------------------


def test_cell_cdf_by_hand():
    x = np.array([-0.4, -0.3, -0.2, -0.1])
    assert_allclose(cell_cdf(x, "constant"), x + 0.5, atol=1e-15)
    assert_allclose(cell_cdf(x, "linear"), [0.02, 0.08, 0.18, 0.32], atol=1e-15)
    expected = [0.005333, 0.042667, 0.142667, 0.305333]
    assert_allclose(cell_cdf(x, "quadratic"), expected, atol=5e-7)
    for within in WITHIN:
        grid = np.linspace(-0.5, 0.5, 401)
        values = cell_cdf(grid, within)
        assert_allclose(values + values[::-1], 1.0, atol=1e-15)
        assert np.all(np.diff(values) > 0)
        assert_array_equal(
            cell_cdf(np.array([-9, -0.5, 0, 0.5, 9]), within), [0, 0, 0.5, 1, 1]
        )


@pytest.mark.parametrize("within", WITHIN[1:])
def test_cell_cdfs_are_as_smooth_as_they_say(within):
    # A density without jumps: its largest step vanishes with the grid's.
    grid = np.linspace(-0.6, 0.6, 1201)
    density = np.gradient(cell_cdf(grid, within), grid)
    assert np.abs(np.diff(density)).max() < 0.02


def brute_rank(X, weight, x):
    below = (weight[:, None] * (x > X)).sum(axis=0)
    return (below + (weight[:, None] * (x >= X)).sum(axis=0)) / (2 * weight.sum())


def brute_tree(X, weight, sizes, ends, x, within, order):
    """Send one row down the tree, cutting each group again for it."""
    rows, u = list(range(len(X))), np.empty(len(x))
    for k, s in zip(order, sizes):
        rows.sort(key=lambda i: (X[i, k], *(X[i, j] for j in order)))
        base, extra = divmod(len(rows), s)
        groups, start = [], 0
        for b in range(s):
            stop = start + base + (b < extra)
            groups.append(rows[start:stop])
            start = stop
        edges = [ends[0, k]]
        for left, right in pairwise(groups):
            edges.append((X[left[-1], k] + X[right[0], k]) / 2)
        edges.append(ends[1, k])
        value = min(max(x[k], edges[0]), edges[-1])
        b = next(b for b in range(s) if value <= edges[b + 1])
        sums = [np.sum(weight[group]) for group in groups]
        middle, width = (edges[b] + edges[b + 1]) / 2, edges[b + 1] - edges[b]
        t = (value - middle) / width if width > 0 else 0.5
        share = float(cell_cdf(np.array([t]), within)[0])
        u[k] = (sum(sums[:b]) + sums[b] * share) / sum(sums)
        rows = groups[b]
    return u


def padded(X):
    low, high = X.min(axis=0), X.max(axis=0)
    return np.stack(
        [low - (high - low) / (2 * len(X)), high + (high - low) / (2 * len(X))]
    )


@pytest.mark.parametrize("rows", ["X", "ties"])
@pytest.mark.parametrize("weighted", [False, True])
def test_rank_by_brute_force(sample, rows, weighted, rng):
    X = sample[rows]
    weight = sample["weight"] if weighted else np.ones(len(X))
    queries = np.vstack([X, X + 0.5, rng.normal(scale=2, size=(20, 3))])
    expected = [brute_rank(X, weight, x) for x in queries]
    got = mapped("rank", X, queries, sample_weight=weight if weighted else None)
    assert_allclose(got, expected, atol=ROUNDED)


@pytest.mark.parametrize("rows", ["X", "ties"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("within", WITHIN)
def test_cells_by_brute_force(sample, rows, weighted, within, rng):
    X = sample[rows]
    n, d = X.shape
    # Under ties the brute force would have to know how weights break them.
    weight = sample["weight"] if weighted and rows == "X" else np.ones(n)
    given = weight if weighted else None
    queries = np.vstack([X, X + 0.5, rng.normal(scale=2, size=(20, 3))])
    options = {"sample_weight": given, "within_cell": within}
    ends, order = padded(X), (2, 0, 1)
    joint = mapped("joint", X, queries, coordinate_order=order, **options)
    expected = [
        brute_tree(X, weight, group_numbers(n, d), ends, x, within, order)
        for x in queries
    ]
    assert_allclose(joint, expected, atol=ROUNDED)
    marginal = mapped("marginal", X, queries, **options)
    for j in range(d):
        column = [
            brute_tree(
                X[:, [j]], weight, [n], ends[:, [j]], x[[j]], within, (0,)
            ).item()
            for x in queries
        ]
        assert_allclose(marginal[:, j], column, atol=ROUNDED)


@pytest.mark.parametrize("within", WITHIN)
def test_joint_map_of_one_column_is_the_marginal_one(sample, within):
    X = sample["X"][:, :1]
    options = {"within_cell": within, "sample_weight": sample["weight"]}
    queries = np.linspace(-4, 4, 50)[:, None]
    assert_array_equal(
        mapped("joint", X, queries, **options),
        mapped("marginal", X, queries, **options),
    )


@pytest.mark.parametrize(
    ("n", "d", "sizes"),
    [
        (1000, 3, [10, 10, 10]),
        (999, 3, [10, 10, 9]),
        (700, 10, [2] * 9 + [1]),
        (16, 2, [4, 4]),
        (17, 2, [4, 4]),
        (5, 2, [2, 2]),
        (12, 2, [3, 3]),
        (7, 1, [7]),
    ],
)
def test_numbers_of_groups(n, d, sizes):
    assert group_numbers(n, d) == sizes


@given(n=st.integers(1, 10**15), d=st.integers(1, 12))
def test_numbers_of_groups_are_an_integer_root(n, d):
    sizes = group_numbers(n, d)
    root = min(sizes)
    assert root**d <= n < (root + 1) ** d
    assert prod(sizes) <= n
    assert sizes == sorted(sizes, reverse=True) and max(sizes) <= root + 1


# ---- published and golden numbers ---------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "control", "treated"),
    [
        ("joint", (0.061840120664, 0.789954337900), (0.224736048265, 0.611111111111)),
        (
            "marginal",
            (0.066993464052, 0.803418803419),
            (0.234567901235, 0.592592592593),
        ),
    ],
)
def test_golden_images(kind, control, treated):
    U, V = golden_images(kind)
    assert_allclose(U[0], control, atol=GOLDEN)
    assert_allclose(V[0], treated, atol=GOLDEN)


def golden_images(kind):
    both = np.vstack([CONTROLS, TREATED])[:, :2]
    bounds = np.stack([both.min(axis=0), both.max(axis=0)])
    fitted = UniformTransformer(kind, bounds=bounds).fit(CONTROLS[:, :2])
    return fitted.transform(CONTROLS[:, :2]), fitted.transform(TREATED[:, :2])


# Kind, boundary; effects under global, per_target and no normalisation; the first
# control's weight under per_target.
EFFECTS = [
    ("joint", "none", 0.843466071762, 0.795597987624, 1.453683334888, 0.054715647724),
    ("joint", "reflect", 0.8138876872, 0.805238065909, 0.852478861592, 0.071414314412),
    ("marginal", "none", 0.878625023016, 0.85838345069, 1.523292846606, 0.052456363089),
    (
        "marginal", "reflect",
        0.882354171766, 0.875029095527, 0.910869545737, 0.067293752894,
    ),
    ("rank", "none", 0.934840923904, 0.884663257313, 1.586191163001, 0.044231671911),
    ("rank", "reflect", 0.928535079657, 0.917773911602, 0.961775551788, 0.06052583060),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "boundary", "overall", "per_target", "none", "weight"), EFFECTS
)
def test_golden_effects(kind, boundary, overall, per_target, none, weight):
    U, V = golden_images(kind)
    y, treated_mean, h = CONTROLS[:, 2], TREATED[:, 2].mean(), 14**-0.5

    def density(t):
        return np.exp(-((t / h) ** 2) / 2) / (h * np.sqrt(2 * np.pi))

    u, v = U[:, None, :], V[None, :, :]
    if boundary == "none":
        factors = density(u - v)
    else:
        shifts = 2 * np.arange(-4, 5)
        factors = sum(density(u - v + m) + density(u + v + m) for m in shifts)
    K = factors.prod(axis=2)
    omega = (K / K.sum(axis=0)).mean(axis=1)
    assert_allclose(treated_mean - K.sum(axis=1) @ y / K.sum(), overall, atol=GOLDEN)
    assert_allclose(treated_mean - omega @ y, per_target, atol=GOLDEN)
    assert_allclose(treated_mean - (K.T @ y).mean() / len(y), none, atol=GOLDEN)
    assert_allclose(omega[0], weight, atol=GOLDEN)


# ---- what changes nothing -----------------------------------------------------------


@pytest.mark.parametrize("change", [np.exp, lambda x: x**3, np.arctan])
def test_ranks_ignore_increasing_functions(sample, change):
    X, queries = sample["X"], sample["X"][::-1] * 1.1
    assert_array_equal(
        mapped("rank", change(X), change(queries)), mapped("rank", X, queries)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_units_are_no_matter(sample, kind):
    X, queries = sample["X"], sample["X"][::-1] * 1.1
    scale, shift = np.array([1e-3, 7.0, 1e4]), np.array([0.0, 50.0, -3.0])
    options = {"within_cell": "linear"}
    assert_allclose(
        mapped(kind, X * scale + shift, queries * scale + shift, **options),
        mapped(kind, X, queries, **options),
        atol=ROUNDED,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", ["X", "ties"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("random_cuts", [False, True])
def test_order_of_the_reference_is_no_matter(
    sample, kind, rows, weighted, random_cuts, rng
):
    X, order = sample[rows], rng.permutation(61)
    weight = sample["weight"] if weighted else None
    options = {"random_cuts": random_cuts, "coordinate_order": [1, 2, 0]}
    queries = np.vstack([X, X + 0.5])
    assert_array_equal(
        mapped(kind, X, queries, sample_weight=weight, **options),
        mapped(
            kind,
            X[order],
            queries,
            sample_weight=None if weight is None else weight[order],
            **options,
        ),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_a_function_of_the_row(sample, kind):
    X = sample["ties"]
    images = mapped(kind, X)
    _, first, inverse = np.unique(X, axis=0, return_index=True, return_inverse=True)
    assert len(first) < len(X)
    assert_array_equal(images, images[first][inverse.ravel()])
    transformer = UniformTransformer(kind)
    assert_array_equal(transformer.fit_transform(X), transformer.transform(X))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", ["X", "ties"])
@pytest.mark.parametrize("random_cuts", [False, True])
def test_frequencies_are_copies(sample, kind, rows, random_cuts, rng):
    X, counts = sample[rows], rng.integers(0, 4, size=61)
    options = {"random_cuts": random_cuts, "within_cell": "quadratic"}
    counted = UniformTransformer(kind, weight_type="frequency", **options)
    counted.fit(X, sample_weight=counts)
    copied = UniformTransformer(kind, **options).fit(np.repeat(X, counts, axis=0))
    assert counted.n_reference_ == copied.n_reference_ == counts.sum()
    assert_array_equal(counted.transform(X), copied.transform(X))
    assert_array_equal(counted.bounds_, copied.bounds_)


@pytest.mark.parametrize("rows", ["X", "ties"])
def test_ranks_ignore_duplication(sample, rows):
    X = sample[rows]
    assert_array_equal(mapped("rank", np.repeat(X, 3, axis=0), X), mapped("rank", X))


@pytest.mark.parametrize("kind", KINDS)
def test_sampling_weights_have_no_scale_and_equal_ones_no_effect(sample, kind):
    X, weight = sample["X"], sample["weight"]
    plain = mapped(kind, X)
    assert_array_equal(mapped(kind, X, sample_weight=np.full(61, 0.3)), plain)
    images = mapped(kind, X, sample_weight=weight)
    assert np.abs(images - plain).max() > 0.01
    assert_allclose(mapped(kind, X, sample_weight=7.3 * weight), images, atol=ROUNDED)


@pytest.mark.parametrize("weight_type", ["sampling", "frequency"])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_weight_zero_are_removed(sample, kind, weight_type):
    X, rows = sample["X"], np.arange(61) % 3 > 0
    fitted = UniformTransformer(kind, weight_type=weight_type)
    fitted.fit(np.where(rows[:, None], X, 1e3 * X), sample_weight=rows.astype(float))
    assert fitted.n_reference_ == rows.sum()
    assert_array_equal(fitted.transform(X), mapped(kind, X[rows], X))


# ---- uniformity ---------------------------------------------------------------------


@pytest.mark.parametrize("within", WITHIN)
def test_marginal_cells_hold_one_row_each(sample, within):
    X = sample["X"]
    U = mapped("marginal", X, within_cell=within)
    n = len(X)
    for j in range(3):
        cells = np.ceil(np.sort(U[:, j]) * n)
        assert_array_equal(cells, np.arange(1, n + 1))
        assert kstest(U[:, j], "uniform").statistic <= 1 / n
        # Order is kept.
        assert_array_equal(np.argsort(U[:, j]), np.argsort(X[:, j]))


@pytest.mark.parametrize("random_cuts", [False, True])
@pytest.mark.parametrize(("n", "d"), [(100, 2), (101, 2), (61, 3), (500, 4), (40, 1)])
def test_joint_leaves_hold_equal_counts(n, d, random_cuts, rng):
    X = rng.normal(size=(n, d))
    X[:, -1] += X[:, 0]
    fitted = UniformTransformer("joint", random_cuts=random_cuts).fit(X)
    sizes = fitted.sizes_
    assert sorted(sizes) == sorted(group_numbers(n, d))
    U = fitted.transform(X)
    assert np.all((U > 0) & (U < 1))
    leaf, volume = np.zeros(n, dtype=int), np.ones(n)
    for column, cells in zip(fitted.map_.order, fitted.map_.levels):
        _, child = cells.image(X[:, column], leaf, "constant")
        widths = np.diff(cells.heights, axis=1) / cells.heights[:, -1:]
        volume *= widths.ravel()[child]
        leaf = child
    counts = np.bincount(leaf, minlength=prod(sizes))
    quotient = n / prod(sizes)
    assert set(counts) <= {int(np.floor(quotient)), int(np.ceil(quotient))}
    # A leaf's volume is its share of the rows; with random cuts, the same for all.
    expected = 1 / prod(sizes) if random_cuts else counts[leaf] / n
    assert_allclose(volume, expected, rtol=1e-12)


def test_joint_map_takes_dependence_away_and_ranks_leave_it(rng):
    X = rng.normal(size=(900, 2)) @ np.array([[1, 0.9], [0, 0.4]])
    correlation = {k: np.corrcoef(mapped(k, X).T)[0, 1] for k in KINDS}
    assert correlation["rank"] > 0.85 and correlation["marginal"] > 0.85
    assert abs(correlation["joint"]) < 0.02


@pytest.mark.parametrize("kind", ["marginal", "joint"])
@pytest.mark.parametrize("within", WITHIN)
def test_images_are_increasing_and_continuous(sample, kind, within):
    # Along the coordinate that is split first.
    X = sample["X"]
    path = np.linspace(-6, 6, 4001)
    queries = np.column_stack([path, 0 * path, 0 * path])
    u = mapped(kind, X, queries, within_cell=within)[:, 0]
    assert u[0] == 0 and u[-1] == 1
    assert np.all(np.diff(u) >= 0) and np.diff(u).max() < 0.12


@pytest.mark.parametrize("kind", KINDS)
def test_images_stay_in_the_cube_under_any_weights(kind, rng):
    # The top of a column's last cell is a rounded sum of weights, over their total.
    for _ in range(50):
        X, weight = rng.normal(size=(9, 2)), np.exp(5 * rng.normal(size=9))
        queries = np.vstack([X, X + 10, X - 10])
        U = mapped(kind, X, queries, sample_weight=weight)
        assert np.all((U >= 0) & (U <= 1))
        assert_array_equal(U[9:18], 1)
        assert_array_equal(U[18:], 0)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_out_of_range_go_to_the_edge(sample, kind):
    X = sample["X"]
    fitted = UniformTransformer(kind).fit(X)
    far = fitted.transform(np.array([[1e300] * 3, [-1e300] * 3]))
    assert_array_equal(far, [[1, 1, 1], [0, 0, 0]])


# ---- bounds, columns, options -------------------------------------------------------


def test_bounds_are_widened_to_the_rows(sample):
    X = sample["X"]
    low, high = X.min(axis=0), X.max(axis=0)
    fitted = UniformTransformer("marginal", bounds=[low - 2, high - 1]).fit(X)
    assert_array_equal(fitted.bounds_, [low - 2, high])
    # The first cell reaches down to the padded lower limit.
    edge = low - 2 - (high - low + 2) / (2 * 61)
    assert_allclose(
        [cells.edges[0, 0] for cells in fitted.map_.coordinates], edge, rtol=1e-14
    )
    assert_array_equal(mapped("marginal", X, bounds=[low, high]), mapped("marginal", X))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("build", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_constant_columns_are_named_and_dropped(sample, kind, build):
    X = sample["X"]
    values, names = np.insert(X, 1, 7.0, axis=1), ["age", "flat", "income", "size"]
    name = "column 1"
    if build is not np.asarray:
        values, name = build(dict(zip(names, values.T, strict=True))), "flat"
    transformer = UniformTransformer(kind, coordinate_order=[3, 1, 0, 2])
    with pytest.warns(UserWarning, match=f"ignored: {name}") as caught:
        transformer.fit(values)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert transformer.kept_.tolist() == [0, 2, 3]
    assert_array_equal(
        transformer.transform(values), mapped(kind, X, coordinate_order=[2, 0, 1])
    )
    out = list(transformer.get_feature_names_out())
    assert out == (
        ["x0", "x2", "x3"] if build is np.asarray else ["age", "income", "size"]
    )


@pytest.mark.parametrize("kind", ["rank", "marginal"])
def test_columns_constant_in_the_reference_alone_are_kept(kind):
    X, bounds = np.column_stack([np.arange(6.0), np.ones(6)]), [[0, 0], [5, 3]]
    fitted = UniformTransformer(kind, bounds=bounds).fit(X)
    u = fitted.transform([[0, 0], [0, 1], [0, 3]])[:, 1]
    assert u[0] < u[1] < u[2]


def test_coordinate_order_is_that_of_permuted_columns(sample):
    X, order = sample["X"], np.array([2, 0, 1])
    fitted = UniformTransformer("joint", coordinate_order=order).fit(X)
    permuted = UniformTransformer("joint").fit(X[:, order])
    assert_array_equal(fitted.transform(X)[:, order], permuted.transform(X[:, order]))
    assert fitted.sizes_[order].tolist() == group_numbers(61, 3)
    assert np.abs(fitted.transform(X) - mapped("joint", X)).max() > 0.01


@pytest.mark.parametrize("kind", ["marginal", "joint"])
def test_random_cuts_follow_the_seed(sample, kind):
    X, options = sample["X"], {"random_cuts": True}
    first = mapped(kind, X, **options)
    assert_array_equal(mapped(kind, X, random_state=0, **options), first)
    others = [mapped(kind, X, random_state=seed, **options) for seed in (1, 1, 2)]
    assert_array_equal(others[0], others[1])
    assert len({values.tobytes() for values in [first, *others]}) == 3
    assert not np.array_equal(first, mapped(kind, X))


def test_random_cuts_are_those_of_the_package(sample):
    X = sample["X"]
    n, fitted = len(X), UniformTransformer("marginal", random_cuts=True).fit(X)
    ends = np.array([cells.edges[0, [0, -1]] for cells in fitted.map_.coordinates])
    # One draw pads all columns, in their own units.
    padding = np.column_stack([X.min(axis=0) - ends[:, 0], ends[:, 1] - X.max(axis=0)])
    assert_allclose(padding, padding[0, 0], rtol=1e-9)
    assert 0 < padding[0, 0] < 1 / n
    gaps = np.sort(X[:, 0])
    cuts = fitted.map_.coordinates[0].edges[0, 1:-1]
    share = (cuts - gaps[:-1]) / np.diff(gaps)
    assert np.all((share >= 0) & (share < 1))
    assert kstest(share, "uniform").pvalue > 0.01
    sizes = {
        tuple(
            UniformTransformer("joint", random_cuts=True, random_state=seed)
            .fit(X)
            .sizes_
        )
        for seed in range(20)
    }
    assert sizes == {(4, 4, 3), (4, 3, 4), (3, 4, 4)}


def test_larger_groups_are_drawn():
    # 11 rows in 3 x 3 groups: two of three first groups have four rows.
    X = np.column_stack([np.arange(11.0), np.arange(11.0) % 4])
    firsts = set()
    for seed in range(20):
        fitted = UniformTransformer("joint", random_cuts=True, random_state=seed)
        edges = fitted.fit(X).map_.levels[0].edges[0, 1:-1]
        firsts.add(tuple(np.searchsorted(X[:, 0], edges)))
    assert firsts == {(4, 8), (4, 7), (3, 7)}


def test_neighboring_floats_are_told_apart():
    x = np.array([1.0, np.nextafter(1.0, 2.0), np.nextafter(np.nextafter(1, 2), 2)])
    u = mapped("marginal", x[:, None]).ravel()
    assert_array_equal(np.ceil(3 * u), [1, 2, 3])


def test_cell_without_width_sends_its_value_to_the_right_end():
    cells = Cells(np.array([[0.0, 0.0, 1.0]]), np.array([[0.0, 1.0, 2.0]]))
    u, child = cells.image(np.array([0.0, 0.5]), np.zeros(2, dtype=int), "constant")
    assert_array_equal(u, [0.5, 0.75])
    assert_array_equal(child, [0, 1])


# ---- inputs and protocols -----------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_holds_the_numbers(rng, kind):
    X = rng.integers(-20, 21, size=(40, 2)).astype(np.float64)
    expected = mapped(kind, X)
    locked, wide = X.copy(), np.full((80, 4), 99.0)
    locked.flags.writeable = False
    wide[::2, ::2] = X
    names = ["age", "income"]
    for held in (
        X.astype(np.float32), X.astype(int), X.tolist(), locked, wide[::2, ::2],
        np.asfortranarray(X), pd.DataFrame(X, columns=names),
        pl.DataFrame(X, schema=names),
    ):  # fmt: skip
        got = mapped(kind, held)
        assert got.dtype == np.float64
        assert_array_equal(got, expected)
    assert_array_equal(locked, X)


def test_categories_become_indicators(rng):
    frame = pd.DataFrame({"age": rng.normal(size=30), "town": list("abc") * 10})
    fitted = UniformTransformer().fit(frame)
    names = ["age", "town=a", "town=b", "town=c"]
    assert list(fitted.get_feature_names_out()) == names
    U = fitted.transform(frame)
    assert_array_equal(np.unique(U[:, 1]), [1 / 3, 5 / 6])
    assert_array_equal(UniformTransformer().fit_transform(pl.from_pandas(frame)), U)
    out = fitted.set_output(transform="pandas").transform(frame)
    assert list(out.columns) == names and out.index.equals(frame.index)
    bounds = np.stack([[-9, 0, 0, 0], [9, 1, 1, 1]])
    wide = UniformTransformer("marginal", bounds=bounds).fit(frame)
    assert wide.bounds_[1, 0] == 9
    with pytest.raises(ValueError, match=r"shape \(2, 2\).*4 columns"):
        UniformTransformer(bounds=bounds[:, :2]).fit(frame)


@pytest.mark.parametrize("kind", KINDS)
def test_pickle_and_clone(sample, kind):
    X = sample["X"]
    fitted = UniformTransformer(kind, within_cell="linear").fit(X)
    again = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(again.transform(X), fitted.transform(X))
    assert_array_equal(clone(fitted).fit_transform(X), fitted.transform(X))


@pytest.mark.parametrize(
    ("options", "rows", "weight", "wrong"),
    [
        ({"bounds": [[0, 0], [1, 1]]}, 30, None, r"shape \(2, 2\)"),
        ({"bounds": [[0, 9, 0], [1, 1, 1]]}, 30, None, "bounds of column 1.*9.*first"),
        ({"bounds": [[0, 0, 0], [1, 1, np.nan]]}, 30, None, "bounds contains NaN"),
        ({"coordinate_order": [0, 1]}, 30, None, r"each of 0, ..., 2 once"),
        ({"coordinate_order": [0, 1, 1]}, 30, None, r"each of 0, ..., 2 once"),
        ({"kind": "joint"}, 7, None, "needs 8 reference rows.*got 7.*kind='rank'"),
        (
            {"kind": "joint"}, 30, np.arange(30) < 7,
            "needs 8 reference rows of positive weight",
        ),
        ({"weight_type": "frequency"}, 30, np.arange(30) / 2, "fraction .first"),
        ({"kind": "copula"}, 30, None, "kind"),
        ({"within_cell": "cubic"}, 30, None, "within_cell"),
        ({}, 30, np.zeros(30), "zero on every row"),
        ({}, 30, np.arange(30) == 1, "all columns of X are constant"),
    ],
)  # fmt: skip
def test_refusals_advise_and_leave_no_fit(sample, options, rows, weight, wrong):
    transformer = UniformTransformer(**options)
    weight = None if weight is None else np.asarray(weight, dtype=float)
    with pytest.raises(ValueError, match=f"(?s){wrong}"):
        transformer.fit(sample["X"][:rows], sample_weight=weight)
    assert [name for name in vars(transformer) if name.endswith("_")] == []
    with pytest.raises(NotFittedError):
        transformer.transform(sample["X"])


def test_weights_are_requested_by_the_class():
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        requests = UniformTransformer().get_metadata_routing().fit.requests
    assert requests == {"sample_weight": True}
