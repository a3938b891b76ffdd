"""Inner problem of the kernel method of moments: a concave program for fixed theta.

Kremer, Nemmour, Schoelkopf & Zhu (2023), in the dimensionless form with kappa = rho eps
and lam = lambda eps: V = max over (a, eta, b) of

    phibar'a + eta - kappa |a|^2 / 2 - lam b'Rb / 2 - sum_j w_j phi*(u_j),
    u_j = phi_j'a + eta - m_j'b,

less its value at zero. Where the paper trains it by stochastic steps, Newton's method
solves it here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from causalweights._typing import FloatArray
from causalweights.moments._divergences import DIVERGENCES, DivergenceName, Tilt
from causalweights.moments._hull import hull_depth, separates

EPS = float(np.finfo(np.float64).eps)
_MOST_HALVINGS = 60


@dataclass(frozen=True, slots=True, eq=False)
class InnerDual:
    """Solution of the inner problem.

    Attributes
    ----------
    value : float
        V; inf where no weights satisfy the moments.
    a : ndarray of shape (D,)
        Coefficients of f on the features; zeros where kappa is inf.
    b : ndarray of shape (q,)
        Multipliers of the moments.
    eta : float
        Multiplier of "weights sum to one".
    p : ndarray of shape (N,)
        Implied weights, sum one.
    gradient : float
        Largest entry of the gradient.
    decrement : float
        Newton's decrement, about the root of twice the value still to be gained.
    gap : float
        Certified bound on that value: that of weights which satisfy the constraints
        exactly, in the primal problem, less V.
    n_iter : int
    converged, feasible : bool
    x : ndarray
        (a, eta, b) with centred features and moments: a start for a neighbour.
    curvature : ndarray of shape (N,)
        Derivative of each weight with respect to its u.
    factor : Factor
        Of the negative Hessian in x.
    """

    value: float
    a: FloatArray
    b: FloatArray
    eta: float
    p: FloatArray
    gradient: float
    decrement: float
    gap: float
    n_iter: int
    converged: bool
    feasible: bool
    x: FloatArray
    curvature: FloatArray
    factor: Factor


class Factor:
    """Cholesky factor of a positive semi-definite matrix, scaled to unit diagonal.

    A jitter of rounding size stands in for directions without curvature, in which the
    gradient vanishes as well.
    """

    def __init__(self, H: FloatArray) -> None:
        diagonal = np.diagonal(H)
        varies = diagonal > 0
        self._scale = np.where(varies, 1.0 / np.sqrt(np.where(varies, diagonal, 1)), 1)
        unit = H * self._scale[:, None] * self._scale
        jitter = 4 * EPS
        while True:
            try:
                np.fill_diagonal(unit, np.where(varies, 1.0, 0.0) + jitter)
                self._cholesky = cho_factor(unit, lower=True, check_finite=False)
                return
            except LinAlgError:
                jitter *= 100
                if not jitter < 1.0:
                    raise

    def solve(self, rhs: FloatArray) -> FloatArray:
        """Return the solution for a vector (k,) or for columns (k, m)."""
        scale = self._scale if rhs.ndim == 1 else self._scale[:, None]
        return scale * cho_solve(self._cholesky, scale * rhs, check_finite=False)


class DualProblem:
    """The inner problem of given features and regularisers, for any moments.

    Parameters are those of `inner_dual`.
    """

    def __init__(
        self,
        Phi: FloatArray,
        phibar: FloatArray,
        w: FloatArray,
        kappa: float,
        lam: float,
        R: FloatArray | None = None,
        divergence: DivergenceName = "kl",
    ) -> None:
        self.divergence = DIVERGENCES[divergence]
        self.w, self.kappa, self.lam, self.R = w, kappa, lam, R
        self._n_features = Phi.shape[1]
        if np.isinf(kappa):  # f = 0
            Phi, phibar = Phi[:, :0], phibar[:0]
        self._center = w @ Phi
        self._Phi = Phi - self._center
        self._shift = phibar - self._center
        self._D = Phi.shape[1]
        self._first = self._D + (not self.divergence.profiled)

    def _design(self, M: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return A with u = A x, (N, k), and the slope of the linear part, (k,)."""
        mbar = self.w @ M
        ones = np.ones((len(M), self._first - self._D))
        A = np.hstack([self._Phi, ones, mbar - M])
        return A, np.concatenate([self._shift, np.zeros(ones.shape[1]), mbar])

    def _penalty(self, x: FloatArray) -> FloatArray:
        """Return the gradient of the two penalties."""
        out, b = np.zeros_like(x), x[self._first :]
        if self._D:
            out[: self._D] = self.kappa * x[: self._D]
        out[self._first :] = self.lam * (b if self.R is None else self.R @ b)
        return out

    def _hessian(self, A: FloatArray, tilt: Tilt) -> Factor:
        """Return the factor of the negative Hessian."""
        if self.divergence.profiled:
            # Centred before the product: where few rows have all the weight, the
            # difference of products is noise.
            A = A - A.T @ tilt.excess
        rooted = np.sqrt(tilt.curvature)[:, None] * A
        H = rooted.T.copy() @ rooted
        k = np.arange(len(H))
        if self._D:
            H[k[: self._D], k[: self._D]] += self.kappa
        if self.R is None:
            H[k[self._first :], k[self._first :]] += self.lam
        else:
            H[self._first :, self._first :] += self.lam * self.R
        return Factor(H)

    def solve(
        self,
        M: FloatArray,
        start: FloatArray | None = None,
        tol: float = 1e-9,
        max_iter: int = 200,
    ) -> InnerDual:
        """Return the solution for moments M (N, q), from a neighbour's ``x``."""
        A, slope = self._design(M)
        # What rounding leaves of each entry of the gradient.
        noise = 4 * EPS * np.sqrt(np.einsum("n,nk,nk->k", self.w, A, A) + slope**2)
        x: FloatArray = np.zeros(len(slope))
        value, tilt = self._evaluate(A, slope, x)
        if start is not None:
            other = self._evaluate(A, slope, start)
            if other[0] > value:
                (value, tilt), x = other, start
        hard = self.lam == 0.0 and not self.divergence.signed
        for n_iter in range(max_iter + 1):
            gradient = slope - self._penalty(x) - A.T @ tilt.excess
            factor = self._hessian(A, tilt)
            step = factor.solve(gradient)
            decrement = float(np.sqrt(max(float(gradient @ step), 0.0)))
            size = float(np.sqrt(2.0 * abs(value)))
            done = decrement <= tol * size or bool(np.all(np.abs(gradient) <= noise))
            apart = hard and separates(M @ x[self._first :])
            if done or apart or n_iter == max_iter:
                break
            found = self._line_search(A, slope, x, value, step, decrement**2)
            if found is None:
                # Rounding hides what is still to be gained.
                done = decrement <= 1e-4 * size
                break
            value, tilt, x = found
        feasible = not apart
        if hard and feasible and not done:
            feasible = hull_depth(M, self.w) > 1e-12
        solution = InnerDual(
            value if feasible else np.inf, *self._unpack(x, M), self.w + tilt.excess,
            float(np.max(np.abs(gradient), initial=0.0)), decrement, np.inf, n_iter,
            done and feasible, feasible, x, tilt.curvature, factor,
        )  # fmt: skip
        return replace(solution, gap=self._gap(M, solution)) if feasible else solution

    def _evaluate(
        self, A: FloatArray, slope: FloatArray, x: FloatArray
    ) -> tuple[float, Tilt]:
        tilt = self.divergence.tilt(A @ x, self.w)
        return float((slope - 0.5 * self._penalty(x)) @ x) - tilt.value, tilt

    def _line_search(
        self,
        A: FloatArray,
        slope: FloatArray,
        x: FloatArray,
        value: float,
        step: FloatArray,
        gain: float,
    ) -> tuple[float, Tilt, FloatArray] | None:
        """Return value, tilt and point of the first halving that gains enough."""
        size = 1.0
        for _ in range(_MOST_HALVINGS):
            new = x + size * step
            found, tilt = self._evaluate(A, slope, new)
            slack = 16 * EPS * (abs(slope @ new) + tilt.value)
            if found > -np.inf and found >= value + 1e-4 * size * gain - slack:
                return found, tilt, new
            size *= 0.5
        return None

    def _unpack(
        self, x: FloatArray, M: FloatArray
    ) -> tuple[FloatArray, FloatArray, float]:
        """Return a, b and eta of features and moments as they were given."""
        a, b = np.zeros(self._n_features), x[self._first :].copy()
        a[: self._D] = x[: self._D]
        shift = float((self.w @ M) @ b - self._center @ x[: self._D])
        if not self.divergence.profiled:
            return a, b, float(x[self._D]) + shift
        u = self._Phi @ x[: self._D] - (M - self.w @ M) @ b
        top = float(np.max(u))
        return a, b, shift - top - float(np.log(self.w @ np.exp(u - top)))

    def _gap(self, M: FloatArray, at: InnerDual) -> float:
        """Return the primal value of feasible weights less the dual value.

        By Fenchel's equality it is a sum of non-negative terms, so that nothing
        cancels. The weights are p after one Newton step towards the constraints.
        """
        C = np.ones((len(M), 1))
        if self.lam == 0.0:
            C = np.hstack([C, M - self.w @ M])
        target = np.zeros(C.shape[1])
        target[0] = 1.0
        if self.lam == 0.0:
            target[1:] = -(self.w @ M)
        weighted = at.curvature[:, None] * C
        off = target - C.T @ at.p
        change = weighted @ Factor(C.T @ weighted).solve(off)
        gap = self.divergence.excess_cost(change, at.p, self.w)
        q = at.p - self.w + change
        if self._D:
            a = at.x[: self._D]
            rest = self._shift - self._Phi.T @ q - self.kappa * a
            gap += float(rest @ rest) / (2.0 * self.kappa)
        if self.lam > 0.0:
            rest = self.w @ M + (M - self.w @ M).T @ q
            rest = rest - self._penalty(at.x)[self._first :]
            scaled = rest if self.R is None else Factor(self.R).solve(rest)
            gap += float(rest @ scaled) / (2.0 * self.lam)
        return float(gap)

    def theta_hessians(
        self, at: InnerDual, M: FloatArray, C: FloatArray, G: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the Hessian of V in theta, and its Gauss-Newton part G'WG.

        Exact where moments are linear in theta; else without their second derivatives.

        Parameters
        ----------
        at : InnerDual
        M : ndarray of shape (N, q)
        C : ndarray of shape (N, p)
            ``b'dm_j/dtheta`` of each row.
        G : ndarray of shape (q, p)
            ``sum_j p_j dm_j/dtheta``.
        """
        A, _ = self._design(M)
        C = C - self.w @ C
        weighted = at.curvature[:, None] * C
        cross, own = A.T @ weighted, C.T @ weighted
        if self.divergence.profiled:
            excess = at.p - self.w
            mean = C.T @ excess
            cross -= np.outer(A.T @ excess, mean)
            own -= np.outer(mean, mean)
        plain = np.zeros_like(cross)
        plain[self._first :] = G
        cross += plain
        return cross.T @ at.factor.solve(cross) - own, plain.T @ at.factor.solve(plain)

    def weight_matrix(self, at: InnerDual) -> FloatArray:
        """Return W, the b-block of the inverse Hessian: V is about mbar'W mbar / 2."""
        k = len(at.x)
        return at.factor.solve(np.eye(k)[:, self._first :])[self._first :]


def inner_dual(
    M: FloatArray,
    Phi: FloatArray,
    phibar: FloatArray,
    w: FloatArray,
    kappa: float,
    lam: float,
    R: FloatArray | None = None,
    divergence: DivergenceName = "kl",
    start: FloatArray | None = None,
    tol: float = 1e-9,
    max_iter: int = 200,
) -> InnerDual:
    """Return the closest weights that satisfy the moments, by the dual.

    Time O(N (D + q)^2 + (D + q)^3) a step of Newton's method, 3 to 8 steps; memory
    O(N (D + q)).

    Parameters
    ----------
    M : ndarray of shape (N, q)
        Moments of each reference row at theta.
    Phi : ndarray of shape (N, D)
        Features of the reference rows: ``Phi Phi'`` is the kernel of f.
    phibar : ndarray of shape (D,)
        Mean features of the data.
    w : ndarray of shape (N,)
        Positive reference weights, sum one.
    kappa : float
        Positive; inf removes f: generalised empirical likelihood.
    lam : float
        Not negative and finite; 0 makes the moments hold exactly.
    R : ndarray of shape (q, q) or None, default=None
        Penalty matrix of b, positive definite; None is the identity.
    divergence : {"kl", "log", "chi2"}, default="kl"
        ``"log"`` is Burg's (empirical likelihood at kappa=inf), ``"chi2"`` may give
        negative weights.
    start : ndarray or None, default=None
        ``x`` of a neighbouring solution.
    tol : float, default=1e-9
        Stops where Newton's step is so small a share of the solution, in the norm of
        the Hessian: independent of the scale of moments, kappa and lam.
    max_iter : int, default=200

    Returns
    -------
    InnerDual

    References
    ----------
    Kremer, Nemmour, Schoelkopf & Zhu (2023), ICML, arXiv:2305.10898.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.moments._dual import inner_dual
    >>> M, w = np.array([[-1.0], [1.0], [3.0]]), np.full(3, 1 / 3)
    >>> none = np.empty((3, 0))
    >>> found = inner_dual(M, none, none[0], w, np.inf, 0.0)
    >>> found.converged, bool(abs(found.p @ M) < 1e-8)
    (True, True)
    """
    problem = DualProblem(Phi, phibar, w, kappa, lam, R, divergence)
    return problem.solve(M, start, tol, max_iter)
