"""The second-order correction: its U-statistic, its unbiasedness, its refusals."""

import numpy as np
import pytest

from causalweights import UniformTransformerEffect
from causalweights.ustatistics import second_order_effect
from causalweights.ustatistics._bases import evaluate_basis
from causalweights.ustatistics._second_order import second_order_terms


def draw(n, seed):
    """Return data on the unit interval with a wave as the confounder."""
    rng = np.random.default_rng([31, seed])
    X = rng.uniform(size=(n, 1))
    wave = np.sin(6 * np.pi * X[:, 0])
    propensity = 0.5 + 0.3 * wave
    a = (rng.uniform(size=n) < propensity).astype(int)
    y = wave + a + rng.normal(size=n)
    return X, y, a, propensity


def test_equals_the_published_form_of_the_statistic(rng):
    n, p = 24, 4
    Z = rng.normal(size=(n, p))
    s = np.arange(n) % 2
    pi, R = rng.uniform(0.3, 0.7, n), rng.normal(size=n)
    # IF_22 = (n-2)!/n! sum over distinct i, j of r_i Z_i' Omega s_j Z_j R_j, with
    # r = 1 - s / pi and Omega the inverse of the mean of s Z Z'.
    omega = np.linalg.inv(Z.T @ (s[:, None] * Z) / n)
    r = 1 - s / pi
    expected = sum(
        r[i] * Z[i] @ omega @ Z[j] * s[j] * R[j]
        for i in range(n) for j in range(n) if i != j
    ) / (n * (n - 1))  # fmt: skip
    own = np.flatnonzero(s)
    root = np.linalg.cholesky(np.linalg.inv(Z[own].T @ Z[own] / len(own)))
    total, changes = second_order_terms(Z @ root, own, r / n, R[own])
    # Ours divides by n_a (n_a - 1), not by n_a (n - 1): rows of the arm, not all.
    assert total * (len(own) - 1) / len(own) == pytest.approx(
        expected * (n - 1) / n, abs=1e-12
    )
    assert changes.sum() == pytest.approx(2 * total, abs=1e-12)
    without = np.delete(np.arange(n), own[0])
    less, _ = second_order_terms(
        (Z @ root)[without], own[1:] - 1, (r / n)[without], R[own[1:]]
    )
    lost = total - changes[own[0]]
    assert less * (len(own) - 2) / (len(own) - 1) == pytest.approx(lost, abs=1e-12)


def test_takes_off_what_first_order_nuisances_leave():
    # Nuisances that know nothing: the augmented estimate is the difference in means,
    # biased by 0.6 times the mean square of the wave, 0.3 an arm.
    errors, covered, uncorrected = [], 0, []
    for seed in range(40):
        X, y, a, _ = draw(1000, seed)
        nothing = np.zeros((1000, 2))
        found = second_order_effect(
            X, y, treatment=a, predictions=nothing, propensity=np.full(1000, 0.5),
            degree=15,
        )  # fmt: skip
        low, high = found.conf_int()[0]
        covered += low < 1 < high
        errors.append(found.effect - 1)
        uncorrected.append(float(found.details["Uncorrected 1"]) - 1)
    assert np.mean(uncorrected) == pytest.approx(0.6, abs=0.05)
    # The rest is the functions' remainder and the estimated map's.
    assert abs(np.mean(errors)) < 0.1
    assert covered >= 33


@pytest.mark.parametrize("estimand", ["ate", "att", "atc"])
def test_true_nuisances_need_no_correction(estimand):
    errors = []
    for seed in range(30):
        X, y, a, propensity = draw(400, seed)
        wave = (propensity - 0.5) / 0.3
        found = second_order_effect(
            X, y, treatment=a, predictions=np.column_stack([wave, wave + 1]),
            propensity=propensity, estimand=estimand,
        )  # fmt: skip
        errors.append((found.effect - 1) / found.se)
    assert abs(np.mean(errors)) < 3 / np.sqrt(30)
    assert 0.6 < np.std(errors) < 1.3


def test_without_nuisances_it_is_the_ustatistic_itself(rng):
    n = 300
    X = rng.uniform(size=(n, 1))
    a = (rng.uniform(size=n) < 0.3 + 0.4 * X[:, 0]).astype(int)
    y = np.sin(5 * X[:, 0]) + a + rng.normal(size=n)
    ours = UniformTransformerEffect(
        "att", transformer="rank", basis="cosine", degree=4, basis_gram="identity",
        normalization="none", augment=None, se=None,
    ).fit(X, y, treatment=a)  # fmt: skip
    # With a propensity of nearly zero arm masses vanish, and so does the sum over
    # pairs within the arm.
    found = second_order_effect(
        X, y, treatment=a, predictions=np.zeros((n, 2)),
        propensity=np.full(n, 1e-13), estimand="att", degree=4, basis_gram="identity",
    )  # fmt: skip
    m = np.sum(a == 0)
    imputed = ours.means_[0] * m / (m - 1)
    assert y[a == 1].mean() - found.effect == pytest.approx(imputed, abs=1e-9)
    z = evaluate_basis("cosine", 4, ours.maps_[0][0].transform(X))
    by_hand = z[a == 1].mean(axis=0) @ z[a == 0].T @ y[a == 0] / m
    assert ours.means_[0] == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictions": np.zeros((60, 3))}, "predictions must hold"),
        ({"propensity": np.zeros(60)}, "strictly between 0 and 1"),
        ({"propensity": np.full(59, 0.5)}, "propensity must hold"),
        ({"degree": 40}, "lower the degree"),
        ({"estimand": "ato"}, "not available"),
    ],
)
def test_refusals(change, message):
    X, y, a, _ = draw(60, 0)
    options = {"treatment": a, "predictions": np.zeros((60, 2)),
               "propensity": np.full(60, 0.5), **change}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        second_order_effect(X, y, **options)
