"""Discriminators of adversarial balancing, with their gradients (Kong et al., 2023).

Each has a ``loss(masses)`` that the weights descend, with its derivative in the masses,
and an ``ascend(masses)`` by which the discriminator answers. A function f of the class
sees the difference ``D = mean of f over the target - sum_i m_i f(x_i)``.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from causalweights._typing import FloatArray
from causalweights.balancing._target_discrepancy import TargetDiscrepancy

LEAK = 0.1  # slope of the leaky rectifier below zero
GRADIENT_PENALTY = 0.3
N_COMBINATIONS = 100
WEIGHT_BOUND = 0.1


class Adam:
    """Adam steps on one array, in place (Kingma & Ba, 2015, algorithm 1).

    Parameters
    ----------
    values : ndarray
        Changed by every `step`.
    learning_rate : float
    """

    def __init__(self, values: FloatArray, learning_rate: float) -> None:
        self.values, self._rate, self._t = values, learning_rate, 0
        self._first, self._second = np.zeros_like(values), np.zeros_like(values)
        self._work = np.empty_like(values)

    def step(self, gradient: FloatArray) -> None:
        """Move against the gradient."""
        self._t += 1
        self._first *= 0.9
        self._first += 0.1 * gradient
        self._second *= 0.999
        np.multiply(gradient, gradient, out=self._work)
        self._work *= 0.001
        self._second += self._work
        size = np.sqrt(self._second, out=self._work)
        size /= np.sqrt(1.0 - 0.999**self._t)
        size += 1e-8
        np.divide(self._first, size, out=size)
        size *= self._rate / (1.0 - 0.9**self._t)
        self.values -= size


class Discriminator(Protocol):
    """What the weights are trained against."""

    def ascend(self, masses: FloatArray) -> None:
        """Answer the masses by the discriminator's steps of one epoch."""
        ...

    def loss(self, masses: FloatArray) -> tuple[float, FloatArray]:
        """Return the loss and its derivative in the masses, (n,)."""
        ...


class KernelDiscriminator:
    """The unit ball of a kernel's space, whose supremum has a closed form."""

    def __init__(self, distance: TargetDiscrepancy) -> None:
        self._distance = distance

    def ascend(self, masses: FloatArray) -> None:
        """Do nothing: the loss holds the supremum itself."""

    def loss(self, masses: FloatArray) -> tuple[float, FloatArray]:
        """Return the squared discrepancy and its derivative."""
        product = self._distance.product(masses)
        return float(masses @ product), 2.0 * product


class _Contrast:
    """Rows of source, then target, and the coefficients of the difference D."""

    def __init__(
        self, source: FloatArray, target: FloatArray, target_masses: FloatArray
    ) -> None:
        rows = np.vstack([source, target])
        self.n_source = len(source)
        self.with_ones = np.column_stack([rows, np.ones(len(rows))])
        self._coefficients = np.concatenate([np.zeros(len(source)), target_masses])

    def coefficients(self, masses: FloatArray) -> FloatArray:
        """Return c with ``D = sum_r c_r f(x_r)``; it is overwritten by the next."""
        np.negative(masses, out=self._coefficients[: self.n_source])
        return self._coefficients


class SigmoidDiscriminator:
    """J sigmoids ``1 / (1 + exp(-(theta'x + b)))``, kept from epoch to epoch.

    They ascend ``sum_j D_j^2``; the weights descend ``max_j D_j^2``.

    Parameters
    ----------
    source, target : ndarray of shape (n, d), (m, d)
    target_masses : ndarray of shape (m,)
    n_functions, steps : int
    learning_rate : float
    rng : Generator
        Of the first parameters, uniform on ``+-1 / sqrt(d)``.

    Attributes
    ----------
    parameters : ndarray of shape (J, d + 1)
        The intercept is last.
    """

    def __init__(
        self,
        source: FloatArray,
        target: FloatArray,
        target_masses: FloatArray,
        n_functions: int,
        steps: int,
        learning_rate: float,
        rng: np.random.Generator,
    ) -> None:
        self._contrast = _Contrast(source, target, target_masses)
        bound = 1.0 / np.sqrt(max(source.shape[1], 1))
        shape = (n_functions, source.shape[1] + 1)
        self.parameters = rng.uniform(-bound, bound, size=shape)
        self._adam = Adam(self.parameters, learning_rate)
        self._steps = steps

    def _half_tanh(self) -> FloatArray:
        """Return ``2 sigmoid - 1`` of each row, (n + m, J): a constant adds nothing."""
        activation = self._contrast.with_ones @ (0.5 * self.parameters.T)
        return np.tanh(activation, out=activation)

    def power(self, masses: FloatArray) -> tuple[float, FloatArray]:
        """Return ``sum_j D_j^2`` and its derivative in the parameters, (J, d + 1)."""
        c = self._contrast.coefficients(masses)
        t = self._half_tanh()
        D = 0.5 * (c @ t)
        np.multiply(t, t, out=t)
        np.subtract(1.0, t, out=t)
        gradient = t.T @ (c[:, None] * self._contrast.with_ones)
        return float(D @ D), (0.5 * D)[:, None] * gradient

    def ascend(self, masses: FloatArray) -> None:
        """Take Adam steps up ``sum_j D_j^2``."""
        for _ in range(self._steps):
            self._adam.step(-self.power(masses)[1])

    def loss(self, masses: FloatArray) -> tuple[float, FloatArray]:
        """Return ``max_j D_j^2`` and its derivative in the masses."""
        t = self._half_tanh()
        D = 0.5 * (self._contrast.coefficients(masses) @ t)
        j = int(np.argmax(np.abs(D)))
        return float(D[j] ** 2), -D[j] * t[: self._contrast.n_source, j]


class WassersteinDiscriminator:
    """A network of one hidden layer, held near gradients of norm one.

    ``f(x) = out'lrelu(W x + b)``: the last intercept drops out of D. It ascends
    ``D^2 - tau mean_r (|grad f(x_r)| - 1)^2`` over random convex combinations x_r of
    a source and a target row; W and out are cut to [-0.1, 0.1] after every step.

    Parameters
    ----------
    source, target, target_masses, n_functions, steps, learning_rate, rng
        As in `SigmoidDiscriminator`; ``n_functions`` hidden units.

    Attributes
    ----------
    hidden : ndarray of shape (J, d + 1)
        W with b as its last column.
    out : ndarray of shape (J,)
    """

    def __init__(
        self,
        source: FloatArray,
        target: FloatArray,
        target_masses: FloatArray,
        n_functions: int,
        steps: int,
        learning_rate: float,
        rng: np.random.Generator,
    ) -> None:
        self._source, self._target = source, target
        self._target_masses = target_masses
        self._contrast = _Contrast(source, target, target_masses)
        first = 1.0 / np.sqrt(max(source.shape[1], 1))
        last = 1.0 / np.sqrt(n_functions)
        shape = (n_functions, source.shape[1] + 1)
        self.hidden = rng.uniform(-first, first, size=shape)
        self.out = rng.uniform(-last, last, size=n_functions)
        self._adam_hidden = Adam(self.hidden, learning_rate)
        self._adam_out = Adam(self.out, learning_rate)
        self._steps, self._rng = steps, rng

    def power(self, masses: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Return ``D^2`` and its derivatives in ``hidden`` and ``out``."""
        c, rows = self._contrast.coefficients(masses), self._contrast.with_ones
        activation = rows @ self.hidden.T
        slopes = np.where(activation > 0, 1.0, LEAK)
        out_slope = c @ (activation * slopes)
        D = float(out_slope @ self.out)
        hidden_slope = self.out[:, None] * (slopes.T @ (c[:, None] * rows))
        return D * D, 2.0 * D * hidden_slope, 2.0 * D * out_slope

    def penalty(self, points: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Return the mean of ``(|grad f| - 1)^2`` and its derivatives.

        The gradient at a point is ``W'(out * slopes)``; slopes are constant around it,
        so the intercepts have no derivative.
        """
        W = self.hidden[:, :-1]
        activation = points @ W.T + self.hidden[:, -1]
        slopes = np.where(activation > 0, 1.0, LEAK)
        gradients = (slopes * self.out) @ W
        norms = np.sqrt(np.einsum("rk,rk->r", gradients, gradients))
        # The norm has no derivative at zero; its subgradient of zero is taken there.
        factor = 2.0 * (norms - 1.0) / (len(points) * np.maximum(norms, 1e-300))
        pull = factor[:, None] * gradients
        hidden_slope = np.zeros_like(self.hidden)
        hidden_slope[:, :-1] = self.out[:, None] * (slopes.T @ pull)
        out_slope = np.einsum("rj,rj->j", slopes, pull @ W.T)
        return float(np.mean((norms - 1.0) ** 2)), hidden_slope, out_slope

    def _combinations(self) -> FloatArray:
        """Return random points between a source and a target row, (R, d)."""
        i = self._rng.integers(len(self._source), size=N_COMBINATIONS)
        j = self._rng.choice(
            len(self._target), size=N_COMBINATIONS, p=self._target_masses
        )
        share = self._rng.random((N_COMBINATIONS, 1))
        return share * self._source[i] + (1.0 - share) * self._target[j]

    def ascend(self, masses: FloatArray) -> None:
        """Take Adam steps up ``D^2`` less the gradient penalty, and cut the layers."""
        for _ in range(self._steps):
            _, hidden, out = self.power(masses)
            _, hidden_cost, out_cost = self.penalty(self._combinations())
            self._adam_hidden.step(GRADIENT_PENALTY * hidden_cost - hidden)
            self._adam_out.step(GRADIENT_PENALTY * out_cost - out)
            np.clip(
                self.hidden[:, :-1], -WEIGHT_BOUND, WEIGHT_BOUND,
                out=self.hidden[:, :-1],
            )  # fmt: skip
            np.clip(self.out, -WEIGHT_BOUND, WEIGHT_BOUND, out=self.out)

    def loss(self, masses: FloatArray) -> tuple[float, FloatArray]:
        """Return ``D^2`` and its derivative in the masses."""
        activation = self._contrast.with_ones @ self.hidden.T
        values = np.where(activation > 0, activation, LEAK * activation) @ self.out
        D = float(self._contrast.coefficients(masses) @ values)
        return D * D, -2.0 * D * values[: self._contrast.n_source]
