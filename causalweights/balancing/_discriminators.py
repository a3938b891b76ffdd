"""From a discriminator's name or object to the kernel or function class it means."""

from __future__ import annotations

from typing import Any

import numpy as np

from causalweights.discrepancy import FunctionClass, ReLU, Sigmoid, Wasserstein
from causalweights.kernels import (
    Energy,
    Gaussian,
    Kernel,
    Laplace,
    Linear,
    Matern,
)

NAMES = (
    "energy",
    "gaussian",
    "laplace",
    "matern",
    "linear",
    "sigmoid",
    "relu",
    "wasserstein",
)
_CLASSES = {"sigmoid": Sigmoid, "relu": ReLU}
_WITH_BANDWIDTH = {"gaussian": Gaussian, "laplace": Laplace, "matern": Matern}


def resolve_discriminator(
    discriminator: str | Kernel, bandwidth: Any, Z: np.ndarray, random_state: Any
) -> Kernel:
    """Return the kernel k with d^2 = MMD_k^2, its bandwidth fixed on the rows Z.

    The energy distance is twice the squared MMD of its kernel, hence the factor.
    """
    if isinstance(discriminator, Kernel):
        kernel = discriminator.resolve(Z, random_state=random_state)
    elif discriminator in _WITH_BANDWIDTH:
        kernel = _WITH_BANDWIDTH[discriminator](bandwidth=bandwidth)
        kernel = kernel.resolve(Z, random_state=random_state)
    elif discriminator == "energy":
        kernel = Energy()
    elif discriminator == "linear":
        kernel = Linear()
    else:
        raise ValueError(
            f"discriminator={discriminator!r}: choose one of {', '.join(NAMES)}, or "
            "pass a kernel object such as kernels.Gaussian(bandwidth=2.0)."
        )
    return 2.0 * kernel if isinstance(kernel, Energy) else kernel


def function_class(
    discriminator: str | Kernel | FunctionClass | None,
) -> FunctionClass | None:
    """Return the class whose supremum is the criterion, None for a kernel or none."""
    if isinstance(discriminator, str):
        return _CLASSES[discriminator]() if discriminator in _CLASSES else None
    return None if isinstance(discriminator, Kernel | Wasserstein) else discriminator


def is_wasserstein(discriminator: Any) -> bool:
    """Tell whether the criterion is the Wasserstein-1 distance."""
    return wasserstein_of(discriminator) is not None


def wasserstein_of(discriminator: Any) -> Wasserstein | None:
    """Return the Wasserstein distance that is meant, None for another criterion."""
    if isinstance(discriminator, str) and discriminator == "wasserstein":
        return Wasserstein()
    return discriminator if isinstance(discriminator, Wasserstein) else None


def default_ridge(balancer: Any) -> float:
    """Return a balancer's ridge, or the number behind ``"auto"``: 1e-2, mostly.

    On the masses' scale (sum one) and for kernels of diagonal about one, 1e-2 caps the
    loss of effective sample size at little cost in discrepancy. A supremum is not
    squared, so its scale is larger: 0.1. Wasserstein weights are nearest neighbours,
    and Adam's epochs take the ridge's place: 0.
    """
    if balancer.ridge != "auto":
        return float(balancer.ridge)
    if balancer.solver == "adam" or is_wasserstein(balancer.discriminator):
        return 0.0
    if balancer.discriminator is None:  # its scale does not matter
        return 1.0
    return 1e-2 if function_class(balancer.discriminator) is None else 0.1
