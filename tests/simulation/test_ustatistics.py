"""The U-statistic's exact moments, its reference rows, rates and coverage."""

import numpy as np
import pytest

from causalweights import UniformTransformerEffect
from causalweights.datasets import make_rough_ratio
from causalweights.ustatistics._local_kernels import LOCAL_KERNELS
from causalweights.ustatistics._pair_sums import PairSums

LIMIT = 3.0  # Monte-Carlo standard errors between an independent figure and ours


def test_variance_of_the_statistic_by_its_closed_form():
    # U, V uniform, Y ~ N(0, 1): Var = {1 + (Q^d - 1) / n_T} / n_C, Q the squared norm
    # of the reflected kernel.
    n_c, n_t, h, d, reps = 60, 40, 0.08, 2, 4000
    rng = np.random.default_rng(5)
    q = np.arange(200)
    norm = np.sum(np.exp(-((np.pi * q * h) ** 2)))
    expected = (1 + (norm**d - 1) / n_t) / n_c
    assert expected == pytest.approx(0.023004, abs=5e-7)
    values = np.empty(reps)
    for r in range(reps):
        U, V = rng.uniform(size=(n_c, d)), rng.uniform(size=(n_t, d))
        sums = PairSums(LOCAL_KERNELS["gaussian"], h, U, V, boundary="reflect")
        values[r] = sums.to_targets(rng.normal(size=n_c)).mean() / n_c
    error = expected * np.sqrt(2 / reps) * 1.5  # tails heavier than a normal's
    assert values.var() == pytest.approx(expected, abs=4 * error)
    assert abs(values.mean()) < 4 * np.sqrt(expected / reps)


@pytest.mark.parametrize(
    ("smoothness", "h", "mean"), [(0.3, 0.05, 0.3754), (1.0, 0.126, 0.6047 - 0.2406)]
)
def test_mean_of_the_statistic_at_a_finite_bandwidth(smoothness, h, mean):
    k = np.arange(7)
    power = 2.0 ** (-2 * smoothness * k)
    strength = 0.9 / np.sum(2.0 ** (-smoothness * k))
    damping = np.exp(-((np.pi * 2.0 ** (k + 1) * h) ** 2) / 2)
    exact = strength * np.sum(power * damping)
    assert exact == pytest.approx(mean, abs=6e-5)
    values = []
    for r in range(300):
        data = make_rough_ratio(
            500, alpha=smoothness, beta=smoothness,
            random_state=np.random.default_rng([8, r]),
        )  # fmt: skip
        fit = UniformTransformerEffect(
            "att", transformer="none", normalization="none", bandwidth=h,
            augment=None, se=None,
        ).fit(data.latent, data.y, treatment=data.treatment)  # fmt: skip
        values.append(fit.means_[0])
    assert np.mean(values) == pytest.approx(exact, abs=4 * np.std(values) / 300**0.5)


def figures(simulate, design, n, reps, names=None):
    return simulate.summarise(simulate.run(design, reps, 3, n=n, estimators=names))


@pytest.mark.parametrize(("design", "n", "reps"), [("rough_03", 500, 30)])
def test_reference_rows_in_miniature(
    simulate, reference, ustatistic_rows, design, n, reps
):
    check_rows(simulate, reference, ustatistic_rows, design, n, reps)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("design", "n"),
    [
        ("rough_03", 500), ("rough_03", 2000), ("rough_1", 500), ("rough_1", 2000),
        ("cube_1", 400), ("cube_2", 400), ("cube_3", 400),
        ("dependent_2", 500), ("dependent_2", 2000), ("dependent_4", 1000),
        ("hidden", 200), ("hidden", 1000), ("seen", 200), ("seen", 1000),
    ],
)  # fmt: skip
def test_reference_rows(simulate, reference, ustatistic_rows, design, n):
    check_rows(simulate, reference, ustatistic_rows, design, n, 600)


def check_rows(simulate, reference, tables, design, n, reps):
    rows = tables[design, n]
    ours = figures(simulate, design, n, reps, list(rows))
    apart = {
        name: reference.compare(row, ours.loc[name].to_dict())
        for name, row in rows.items()
    }
    far = {k: v for k, v in apart.items() if max(map(abs, v)) > LIMIT}
    assert not far


@pytest.mark.slow
def test_undersmoothed_error_halves_and_a_wide_one_does_not(simulate):
    names = [f"att/h={h}/raw" for h in ("2/n", "n^-1/5")]
    small, large = (
        figures(simulate, "rough_03", n, 400, names)["rmse"] for n in (500, 2000)
    )
    ratio = small / large
    assert ratio[names[0]] > 1.9
    assert ratio[names[1]] < 1.25


@pytest.mark.slow
@pytest.mark.parametrize(
    ("design", "n", "names"),
    [
        ("line", 500, None),
        ("unequal", 400, None),
        ("unequal", 1600, None),
        ("dependent_2", 500, ["att/rank per_target/linear"]),
    ],
)
def test_intervals_cover(simulate, design, n, names):
    table = figures(simulate, design, n, 500, names)
    error = 3 * table["coverage_se"]
    assert (table["coverage"] >= 0.95 - error).all(), table
    assert table["se_ratio"].between(0.9, 1.1).all(), table
