"""The authors' algorithm of IPM balancing: Adam against a discriminator.

Kong et al. (2023) train the weights and a discriminator in turn, from uniform weights
and for a fixed number of epochs; the last iterate is the result. It is kept for
comparison: the exact solvers reach lower discrepancies, with a certificate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from causalweights._typing import FloatArray
from causalweights.balancing._critic import (
    Adam,
    Discriminator,
    KernelDiscriminator,
    SigmoidDiscriminator,
    WassersteinDiscriminator,
)
from causalweights.balancing._target_discrepancy import (
    TargetDiscrepancy,
    check_masses,
    check_samples,
)
from causalweights.kernels import Gaussian

DISCRIMINATORS = ("mmd", "sigmoid", "wasserstein")
WEIGHT_MODELS = ("nonparametric", "log_linear")


@dataclass(frozen=True, slots=True, eq=False)
class AdversarialFit:
    """The last iterate of adversarial training.

    Attributes
    ----------
    masses : ndarray of shape (n,)
        Sum one.
    coef : ndarray of shape (d,) or None
        Coefficients of the log-linear model.
    loss : float
        Of the last iterate, against the discriminator as it stood then.
    losses : ndarray of shape (epochs,)
        What each epoch's step descended, so the first is that of the starting weights.
    n_iter : int
        Epochs.
    """

    masses: FloatArray
    coef: FloatArray | None
    loss: float
    losses: FloatArray
    n_iter: int


class WeightModel(Protocol):
    """Masses as a function of parameters that Adam changes in place."""

    parameters: FloatArray

    def masses(self) -> FloatArray:
        """Return the masses (n,) at the parameters."""
        ...

    def pull_back(self, slope: FloatArray) -> FloatArray:
        """Return the derivative in the parameters from the one in the masses.

        At the parameters for which `masses` was called last.
        """
        ...


class NonparametricMasses:
    """``m = softmax(log base + v)``, started at v = 1."""

    def __init__(self, base: FloatArray) -> None:
        self.parameters: FloatArray = np.ones(len(base))
        self._base = base

    def masses(self) -> FloatArray:
        """Return the masses (n,)."""
        self._p = _tilt(self._base, self.parameters)
        return self._p

    def pull_back(self, slope: FloatArray) -> FloatArray:
        """Return the derivative in v."""
        return self._p * (slope - self._p @ slope)


class LogLinearMasses:
    """``m = a base + (1 - a) softmax(log base + X beta)``, beta started at random."""

    def __init__(
        self,
        Z: FloatArray,
        base: FloatArray,
        mixture: float,
        rng: np.random.Generator,
    ) -> None:
        bound = 1.0 / np.sqrt(max(Z.shape[1], 1))
        self.parameters: FloatArray = rng.uniform(-bound, bound, size=Z.shape[1])
        self._Z, self._base, self._share = Z, base, mixture

    def masses(self) -> FloatArray:
        """Return the masses (n,)."""
        self._p = _tilt(self._base, self._Z @ self.parameters)
        return self._share * self._base + (1.0 - self._share) * self._p

    def pull_back(self, slope: FloatArray) -> FloatArray:
        """Return the derivative in beta."""
        inner = self._p * (slope - self._p @ slope)
        return (1.0 - self._share) * (inner @ self._Z)


def _tilt(base: FloatArray, log_weight: FloatArray) -> FloatArray:
    p = base * np.exp(log_weight - log_weight.max())
    return p / p.sum()


def train_adversarial(
    Z_source: FloatArray,
    Z_target: FloatArray,
    target_masses: FloatArray,
    *,
    discriminator: Literal["mmd", "sigmoid", "wasserstein"] = "mmd",
    weight_model: Literal["nonparametric", "log_linear"] = "nonparametric",
    base: FloatArray | None = None,
    gamma: float | Sequence[float] = 10.0,
    epochs: int = 1000,
    learning_rate: float = 0.03,
    adversary_steps: int = 5,
    adversary_learning_rate: float = 0.3,
    n_functions: int = 100,
    mixture: float = 0.0,
    random_state: int | np.random.Generator | None = None,
    n_threads: int | None = None,
) -> AdversarialFit:
    """Return the masses after a fixed number of Adam steps against a discriminator.

    Parameters
    ----------
    Z_source : ndarray of shape (n, d)
        Rows that receive masses; the authors standardise on the full sample (ddof 0).
    Z_target : ndarray of shape (m, d)
    target_masses : ndarray of shape (m,)
        Non-negative; normalised to sum one.
    discriminator : {"mmd", "sigmoid", "wasserstein"}, default="mmd"
        The squared MMD of ``exp(-|x - x'|^2 / (2 gamma^2))``, the largest squared
        difference of ``n_functions`` sigmoids, or the squared difference of a network
        of ``n_functions`` hidden units with gradient penalty and cut weights.
    weight_model : {"nonparametric", "log_linear"}, default="nonparametric"
        One parameter a row, or one a covariate.
    base : ndarray of shape (n,) or None, default=None
        Sampling weights of the source rows; None is equal ones, the authors' case.
    gamma : float or sequence of float, default=10.0
        Bandwidth of the MMD; the average over a sequence (the authors' -1 is 1, 3, 10).
    epochs : int, default=1000
    learning_rate : float, default=0.03
    adversary_steps : int, default=5
        Discriminator steps an epoch.
    adversary_learning_rate : float, default=0.3
    n_functions : int, default=100
    mixture : float, default=0.0
        Of the log-linear model: the source arm's share of the whole sample for an ATE.
    random_state : int, Generator or None, default=None
        Of first parameters and the penalty's points; None is seed 0.
    n_threads : int or None, default=None
        Of the Gram matrix.

    Returns
    -------
    AdversarialFit

    Raises
    ------
    ValueError
        If inputs are not finite, shapes disagree or an option is out of its range.

    Notes
    -----
    There is no certificate and no rule to stop: 1000 epochs end several times above
    the least squared MMD of a wide kernel, which acts as its regularisation. An epoch
    costs O(n^2) for the MMD (the Gram matrix is formed once up to n = 4000, streamed
    beyond) and O(adversary_steps (n + m) d n_functions) otherwise.

    Deviations from the authors' code: float64, sampling weights, and penalty points
    whose target rows are drawn by ``target_masses``.

    References
    ----------
    Kong, I., Park, Y., Jung, J., Lee, K. and Kim, Y. (2023). Covariate balancing using
    the integral probability metric for causal inference. ICML, PMLR 202.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.balancing._adversarial import train_adversarial
    >>> X, target = np.array([[0.0], [1.0]]), np.array([[0.75]])
    >>> fit = train_adversarial(X, target, np.ones(1))
    >>> fit.masses.round(3)
    array([0.25, 0.75])
    >>> bool(fit.loss < fit.losses[0])
    True
    """
    S, T = check_samples(Z_source, Z_target)
    q = check_masses(target_masses, len(T), "target_masses")
    b = check_masses(np.ones(len(S)) if base is None else base, len(S), "base")
    _check_options(
        discriminator, weight_model, epochs, learning_rate, adversary_steps,
        adversary_learning_rate, n_functions, mixture,
    )  # fmt: skip
    rng = np.random.default_rng(0 if random_state is None else random_state)
    model: WeightModel
    if weight_model == "log_linear":
        model = LogLinearMasses(S, b, mixture, rng)
    else:
        model = NonparametricMasses(b)
    opponent: Discriminator
    if discriminator == "mmd":
        distance = TargetDiscrepancy(Gaussian(gamma), S, T, q, n_threads)
        opponent = KernelDiscriminator(distance)
    else:
        family = (
            SigmoidDiscriminator
            if discriminator == "sigmoid"
            else WassersteinDiscriminator
        )
        opponent = family(
            S, T, q, n_functions, adversary_steps, adversary_learning_rate, rng
        )
    adam, losses = Adam(model.parameters, learning_rate), np.empty(epochs)
    for epoch in range(epochs):
        masses = model.masses()
        opponent.ascend(masses)
        losses[epoch], slope = opponent.loss(masses)
        adam.step(model.pull_back(slope))
    masses = model.masses()
    loss = opponent.loss(masses)[0]
    coef = model.parameters if weight_model == "log_linear" else None
    return AdversarialFit(masses, coef, loss, losses, epochs)


def _check_options(
    discriminator: str,
    weight_model: str,
    epochs: int,
    learning_rate: float,
    adversary_steps: int,
    adversary_learning_rate: float,
    n_functions: int,
    mixture: float,
) -> None:
    for value, allowed, name in (
        (discriminator, DISCRIMINATORS, "discriminator"),
        (weight_model, WEIGHT_MODELS, "weight_model"),
    ):
        if value not in allowed:
            raise ValueError(f"{name}={value!r}: choose one of {', '.join(allowed)}.")
    for count, name in (
        (epochs, "epochs"),
        (adversary_steps, "adversary_steps"),
        (n_functions, "n_functions"),
    ):
        if count < 1:
            raise ValueError(f"{name}={count!r} must be at least 1.")
    if not (learning_rate > 0 and adversary_learning_rate > 0):
        raise ValueError("learning_rate and adversary_learning_rate must be positive.")
    if not 0.0 <= mixture < 1.0:
        raise ValueError(
            f"mixture={mixture!r}: give the source arm's share of all, in [0, 1)."
        )
    if mixture and weight_model != "log_linear":
        raise ValueError(
            f"mixture={mixture!r} is of the log-linear model only: the nonparametric "
            "one has no share that is fixed. Set mixture=0."
        )
