"""EffectResult: intervals, contrasts, tables and their formats."""

import numpy as np
import pytest
from scipy.stats import norm

from causalweights import EffectResult
from causalweights.inference import compare, contrast_gradient


@pytest.fixture
def result():
    return EffectResult(
        effect=2.0,
        se=0.5,
        cov=np.array([[0.25]]),
        names=["1 vs 0"],
        n_samples=100,
        details={"Weights": "energy"},
    )


@pytest.fixture
def two():
    cov = np.array([[0.25, 0.1], [0.1, 0.16]])
    return EffectResult(
        effect=np.array([2.0, -1.0]),
        se=np.sqrt(np.diag(cov)),
        cov=cov,
        names=["b vs a", "c vs a"],
    )


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_interval_of_a_difference(result, level):
    z = norm.ppf((1 + level) / 2)
    np.testing.assert_allclose(result.conf_int(level), [[2 - z / 2, 2 + z / 2]])


def test_interval_of_a_ratio_is_on_the_log_scale():
    ratio = EffectResult(2.0, 0.5, np.array([[0.25]]), ["1 vs 0"], contrast="ratio")
    low, high = ratio.conf_int()[0]
    z = norm.ppf(0.975)
    assert np.log(low) == pytest.approx(np.log(2) - z * 0.25)
    assert np.log(high) == pytest.approx(np.log(2) + z * 0.25)
    assert ratio.statistic[0] == pytest.approx(np.log(2) / 0.25)


def test_pvalue_matches_the_normal(result):
    assert result.pvalue[0] == pytest.approx(2 * norm.sf(4.0))


@pytest.fixture
def draws(rng):
    """Skewed errors of two contrasts."""
    return rng.gamma(2.0, size=(400, 2)) * [0.3, 0.5] - [0.6, 1.0]


@pytest.mark.parametrize("contrast", ["difference", "ratio"])
def test_draws_give_interval_and_pvalue(contrast, draws):
    effect = np.array([0.5, 1.3]) if contrast == "difference" else np.exp([0.5, 1.3])
    result = EffectResult(
        effect, draws.std(axis=0), np.cov(draws.T), ["b vs a", "c vs a"],
        contrast=contrast, draws=draws,
    )  # fmt: skip
    low, high = result.conf_int(0.9).T
    logs = (low, high) if contrast == "difference" else (np.log(low), np.log(high))
    quantiles = np.quantile(draws, [0.95, 0.05], axis=0, method="weibull")
    np.testing.assert_allclose(np.array(logs), np.array([0.5, 1.3]) - quantiles)
    # The interval at level 1 - p ends at no effect, on the side of the null.
    null = 0.0 if contrast == "difference" else 1.0
    for k, p in enumerate(result.pvalue):
        assert 0.005 < p < 0.9
        ends = result.conf_int(1 - p)[k]
        assert np.abs(ends - null).min() == pytest.approx(0, abs=1e-9)
    frame = result.to_frame(0.9)
    np.testing.assert_array_equal(frame["lower"], low)
    np.testing.assert_array_equal(frame["pvalue"], result.pvalue)
    text = str(result.summary(0.9))
    assert f"{result.pvalue[0]:.3f}" in text and "P>|z|" not in text


def test_pvalue_of_draws_knows_its_limits(draws):
    def pvalue(effect, errors):
        cov = np.cov(errors.T).reshape(1, 1)
        result = EffectResult(effect, cov[0, 0] ** 0.5, cov, ["1 vs 0"], draws=errors)
        return result.pvalue[0]

    one = draws[:, :1]
    assert pvalue(50.0, one) == pvalue(-50.0, one) == 2 / 401
    assert pvalue(np.median(one), one) == pytest.approx(1.0)
    # Tied draws: no level leaves out an error that half of the draws have.
    tied = np.repeat([-1.0, 0.5, 2.0], [100, 200, 100])[:, None]
    assert pvalue(0.5, tied) == 1.0
    assert pvalue(-1.0, tied) == pytest.approx(2 * 100 / 401)
    assert pvalue(2.0, tied) == pytest.approx(2 * 100 / 401)


def test_frame_has_a_row_a_contrast(two):
    frame = two.to_frame()
    assert list(frame.columns) == ["effect", "se", "z", "pvalue", "lower", "upper"]
    assert list(frame.index) == ["b vs a", "c vs a"]
    assert frame.loc["c vs a", "effect"] == -1.0


def test_summary_formats(result, two):
    text = str(result.summary())
    for part in ("1 vs 0", "2.000", "0.5000", "No. observations:", "100", "energy"):
        assert part in text
    assert "[0.05" in str(result.summary(level=0.9))
    assert "<table" in result.summary().as_html()
    assert "<table" in result._repr_html_()
    assert "tabular" in two.to_latex() and "b vs a" in two.to_latex()
    assert "<table" in two.to_html()
    assert repr(result) == "EffectResult(ATE 1 vs 0: 2.000 (se 0.5000))"


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_bad_level_is_refused(result, level):
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        result.conf_int(level)


@pytest.mark.parametrize("contrast", ["difference", "ratio", "odds_ratio"])
def test_gradient_is_the_derivative(contrast):
    means = np.array([0.2, 0.5, 0.35])
    _, jacobian = contrast_gradient(means, 1, contrast)
    for k in range(3):
        step = np.zeros(3)
        step[k] = 1e-6
        up, _ = contrast_gradient(means + step, 1, contrast)
        down, _ = contrast_gradient(means - step, 1, contrast)
        np.testing.assert_allclose(jacobian[:, k], (up - down) / 2e-6, rtol=1e-7)


def test_contrast_values():
    means = np.array([0.2, 0.5])
    assert contrast_gradient(means, 0, "difference")[0][0] == pytest.approx(0.3)
    assert contrast_gradient(means, 0, "ratio")[0][0] == pytest.approx(2.5)
    assert contrast_gradient(means, 0, "odds_ratio")[0][0] == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("contrast", "means"), [("ratio", [-1.0, 2.0]), ("odds_ratio", [0.5, 1.5])]
)
def test_impossible_contrasts_are_refused(contrast, means):
    with pytest.raises(ValueError, match=f"contrast='{contrast}' needs"):
        contrast_gradient(np.array(means), 0, contrast)


def test_compare_stacks_results(result, two):
    table = compare(result, result, names=["first", "second"])
    assert list(table.index) == ["first", "second"]
    assert table["effect"].tolist() == [2.0, 2.0]
    assert compare(two, result).shape == (3, 8)
    assert list(compare(result, result).index) == ["energy", "energy (2)"]
    assert compare(result)["contrast"].tolist() == ["difference"]
    with pytest.raises(ValueError, match="at least one"):
        compare()
    with pytest.raises(TypeError, match="got int"):
        compare(3)
    with pytest.raises(ValueError, match="1 names for 2 results"):
        compare(result, result, names=["one"])
