"""Local kernels: their formulas' moments and norms, and the mass inside the cube."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad

from causalweights.ustatistics._local_kernels import (
    LOCAL_KERNELS,
    boundary_mass,
    evaluate,
)

KERNELS = list(LOCAL_KERNELS.values())
# Gaussian tails beyond it are below 1e-17, Silverman's below 1e-24.
END = {"silverman": 80.0}

# The squared L2 norms and first non-zero moments of Gaussian kernels by order, and of
# Silverman's kernel.
NORMS = {2: 0.2821, 4: 0.4760, 6: 0.6240, 8: 0.7479, 10: 0.8565}
MOMENTS = {4: -3.0, 6: 15.0, 8: -105.0, 10: 945.0}
# Four decimals are given.
GIVEN = 5e-5


def integral(kernel, function):
    """Integrate an even function of (t, k(t)) over the line."""
    end = 1.0 if kernel.is_compact else END.get(kernel.name, 16.0)
    pieces = np.linspace(0, end, 9)
    values = [
        quad(lambda t: function(t, evaluate(kernel, t)), a, b, epsabs=1e-13)[0]
        for a, b in pairwise(pieces)
    ]
    return 2 * sum(values)


def by_name(kernel):
    return kernel.name


@pytest.mark.parametrize("kernel", KERNELS, ids=by_name)
def test_kernel_integrates_to_one_and_its_order_is_what_it_says(kernel):
    assert LOCAL_KERNELS[kernel.name] is kernel
    assert_allclose(integral(kernel, lambda t, k: k), 1.0, atol=1e-11)
    for even in range(2, kernel.order, 2):
        moment = integral(kernel, lambda t, k, even=even: t**even * k)
        assert_allclose(moment, 0.0, atol=1e-8)
    assert abs(integral(kernel, lambda t, k: t**kernel.order * k)) > 0.05


@pytest.mark.parametrize("order", NORMS)
def test_gaussian_kernels_have_the_published_norms_and_moments(order):
    kernel = LOCAL_KERNELS["gaussian" if order == 2 else f"gaussian{order}"]
    assert_allclose(integral(kernel, lambda t, k: k * k), NORMS[order], atol=GIVEN)
    if order > 2:
        moment = integral(kernel, lambda t, k: t**order * k)
        assert_allclose(moment, MOMENTS[order], rtol=1e-9)


def test_silverman_has_the_published_fourth_moment():
    kernel = LOCAL_KERNELS["silverman"]
    assert_allclose(integral(kernel, lambda t, k: t**4 * k), -24.0, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "at_zero", "at_half"),
    [
        ("uniform", 0.5, 0.5),
        ("epanechnikov", 0.75, 0.75 * 0.75),
        ("triangular", 1.0, 0.5),
        ("biweight", 15 / 16, 15 / 16 * 0.75**2),
        ("triweight", 35 / 32, 35 / 32 * 0.75**3),
        ("tricube", 70 / 81, 70 / 81 * 0.875**3),
        ("cosine", np.pi / 4, np.pi / 4 * np.sqrt(0.5)),
    ],
)
def test_compact_kernels_have_their_values(name, at_zero, at_half):
    kernel = LOCAL_KERNELS[name]
    values = evaluate(kernel, [0.0, 0.5, -0.5, 1.0 + 1e-12, 7.0])
    assert_allclose(values, [at_zero, at_half, at_half, 0, 0], rtol=1e-14)
    assert kernel.is_compact


@pytest.mark.parametrize("kernel", KERNELS, ids=by_name)
def test_signs_and_reach_are_what_they_say(kernel):
    t = np.linspace(0, 100, 200_001)
    values = evaluate(kernel, t)
    assert bool(np.all(values >= 0)) is kernel.is_positive
    beyond = np.abs(values[t > kernel.reach])
    assert np.all(beyond < 1e-15 * values[0])
    if not kernel.is_compact:
        inside = np.abs(values[(t < kernel.reach) & (t > kernel.reach - 3)])
        assert inside.max() > 1e-15 * values[0]


@pytest.mark.parametrize("kernel", KERNELS, ids=by_name)
@pytest.mark.parametrize("h", [0.05, 0.7, 3.0])
def test_boundary_mass_is_the_integral_over_the_cube(kernel, h):
    V = np.array([[0.0, 0.5], [0.02, 1.0], [0.3, 0.97], [1.0, 0.0]])

    def mass(v):
        kinks = np.unique(
            np.clip([0.0, v - h, v - h / 2, v, v + h / 2, v + h, 1], 0, 1)
        )
        return sum(
            quad(lambda u: evaluate(kernel, (u - v) / h) / h, a, b, epsabs=1e-13)[0]
            for a, b in pairwise(kinks)
        )

    expected = [mass(a) * mass(b) for a, b in V]
    assert_allclose(boundary_mass(kernel, h, V), expected, rtol=1e-9)
