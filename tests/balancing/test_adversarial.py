"""Adversarial training: derivatives, a plain second writing, reference figures."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import approx_fprime
from scipy.special import expit
from sklearn.metrics.pairwise import rbf_kernel

from causalweights.balancing import _critic
from causalweights.balancing._adversarial import (
    LogLinearMasses,
    NonparametricMasses,
    train_adversarial,
)
from causalweights.balancing._critic import (
    Adam,
    SigmoidDiscriminator,
    WassersteinDiscriminator,
)
from causalweights.balancing._log_linear import fit_log_linear
from causalweights.datasets import make_kang_schafer
from causalweights.discrepancy import squared_mmd
from causalweights.kernels import Gaussian
from causalweights.optimize import simplex_qp

OPPONENTS = ["mmd", "sigmoid", "wasserstein"]
MODELS = ["nonparametric", "log_linear"]


def samples(d=3, n=40, m=30, seed=0):
    rng = np.random.default_rng(seed)
    q = rng.uniform(0.5, 2.0, size=m)
    m = rng.uniform(0.5, 2.0, size=n)
    S, T = rng.normal(size=(n, d)), 0.8 * rng.normal(size=(len(q), d)) + 0.4
    return S, T, q / q.sum(), m / m.sum()


def opponent(kind, d=3):
    S, T, q, m = samples(d)
    made = kind(S, T, q, 7, 5, 0.3, np.random.default_rng(1))
    return made, S, T, q, m


def numeric(f, at, step=1e-6):
    """Return central differences of f in every entry of an array changed in place."""
    out = np.empty_like(at)
    for index in np.ndindex(at.shape):
        old = at[index]
        at[index] = old + step
        up = f()
        at[index] = old - step
        out[index] = (up - f()) / (2 * step)
        at[index] = old
    return out


# ---- parts ---------------------------------------------------------------------


def test_adam_is_the_published_algorithm(rng):
    gradients, x, y = rng.normal(size=(20, 3)), np.ones(3), np.ones(3)
    adam, first, second = Adam(x, 0.1), np.zeros(3), np.zeros(3)
    for t, g in enumerate(gradients, start=1):
        adam.step(g)
        first = 0.9 * first + 0.1 * g
        second = 0.999 * second + 0.001 * g**2
        mean, size = first / (1 - 0.9**t), np.sqrt(second / (1 - 0.999**t))
        y = y - 0.1 * mean / (size + 1e-8)
    assert_allclose(x, y, rtol=1e-12)


@pytest.mark.parametrize("mixture", [0.0, 0.35])
def test_weight_models_pull_slopes_back(mixture, rng):
    S, _, _, base = samples()
    slope = rng.normal(size=len(S))
    models = [LogLinearMasses(S, base, mixture, rng)]
    models += [NonparametricMasses(base)] if mixture == 0 else []
    for model in models:
        at = model.parameters
        expected = numeric(lambda model=model: slope @ model.masses(), at)
        assert_allclose(model.masses().sum(), 1.0)
        assert_allclose(model.pull_back(slope), expected, atol=1e-9)


def test_first_weights_are_the_base_weights():
    S, T, q, base = samples()
    assert_allclose(NonparametricMasses(base).masses(), base, rtol=1e-12)
    fit = train_adversarial(S, T, q, base=base, epochs=1)
    start = squared_mmd(Gaussian(10.0), S, T, x_weights=base, y_weights=q)
    assert_allclose(fit.losses[0], start, rtol=1e-8)


def test_first_parameters_are_those_of_a_linear_layer():
    rng, S = np.random.default_rng(0), np.zeros((2, 4))
    q = np.ones(2) / 2
    theta = SigmoidDiscriminator(S, S, q, 5000, 5, 0.3, rng).parameters
    critic = WassersteinDiscriminator(S, S, q, 10000, 5, 0.3, rng)
    beta = LogLinearMasses(np.zeros((2, 10000)), q, 0.0, rng).parameters
    drawn = [(theta, 0.5), (critic.hidden, 0.5), (critic.out, 0.01), (beta, 0.01)]
    for values, bound in drawn:
        assert np.abs(values).max() <= bound
        assert_allclose(values.std(), bound / np.sqrt(3), rtol=0.03)


@pytest.mark.parametrize("kind", [SigmoidDiscriminator, WassersteinDiscriminator])
def test_losses_have_their_derivatives_in_the_masses(kind):
    made, _, _, _, m = opponent(kind)
    slope = made.loss(m)[1]
    # The masses are free here: no division by their sum.
    expected = approx_fprime(m, lambda v: made.loss(v)[0], 1e-7)
    assert_allclose(slope, expected, atol=1e-5 * np.abs(expected).max() + 1e-9)


def test_sigmoids_follow_their_definition():
    made, S, T, q, m = opponent(SigmoidDiscriminator)
    theta, b = made.parameters[:, :-1], made.parameters[:, -1]
    D = q @ expit(T @ theta.T + b) - m @ expit(S @ theta.T + b)
    assert_allclose(made.loss(m)[0], np.max(D**2), rtol=1e-10)
    value, gradient = made.power(m)
    assert_allclose(value, np.sum(D**2), rtol=1e-10)
    expected = numeric(lambda: made.power(m)[0], made.parameters)
    assert_allclose(gradient, expected, atol=1e-9)
    for _ in range(20):
        made.ascend(m)
    assert made.power(m)[0] > 2 * value


def test_the_critic_follows_its_definition():
    made, S, T, q, m = opponent(WassersteinDiscriminator)
    W, b, out = made.hidden[:, :-1], made.hidden[:, -1], made.out

    def f(X):
        h = X @ W.T + b
        return np.maximum(h, 0.1 * h) @ out

    D = q @ f(T) - m @ f(S)
    value, hidden, last = made.power(m)
    assert_allclose([value, made.loss(m)[0]], D**2, rtol=1e-10)
    assert_allclose(hidden, numeric(lambda: made.power(m)[0], made.hidden), atol=1e-9)
    assert_allclose(last, numeric(lambda: made.power(m)[0], made.out), atol=1e-9)
    points = np.random.default_rng(5).normal(size=(20, 3))
    value, hidden, last = made.penalty(points)
    steps = [approx_fprime(x, lambda x: f(x[None])[0], 1e-7) for x in points]
    norms = np.linalg.norm(steps, axis=1)
    assert_allclose(value, np.mean((norms - 1) ** 2), rtol=1e-5)
    # A difference that crosses a kink would be no derivative: none does at this step.
    bend = numeric(lambda: made.penalty(points)[0], made.hidden, 1e-7)
    assert_allclose(hidden, bend, atol=1e-7)
    assert_allclose(last, numeric(lambda: made.penalty(points)[0], made.out), atol=1e-7)


def test_the_critic_is_cut_but_not_its_intercepts():
    made, *_, m = opponent(WassersteinDiscriminator)
    for _ in range(30):
        made.ascend(m)
    assert np.abs(made.hidden[:, :-1]).max() <= 0.1 and np.abs(made.out).max() <= 0.1
    assert np.abs(made.hidden[:, -1]).max() > 0.1


def test_penalty_points_lie_between_source_and_target():
    S, T = np.zeros((4, 1)), np.array([[1.0], [2.0], [9.0]])
    rng = np.random.default_rng(0)
    made = WassersteinDiscriminator(S, T, np.array([0.5, 0.5, 0]), 7, 5, 0.3, rng)
    points = np.concatenate([made._combinations() for _ in range(40)])
    assert points.shape == (40 * _critic.N_COMBINATIONS, 1)
    assert points.min() >= 0 and points.max() <= 2
    assert_allclose(points.mean(), 0.75, atol=0.05)


# ---- training ------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_mmd_training_is_a_plain_second_writing(model):
    S, T, q, base = samples()
    gammas, rate, epochs = (1.0, 3.0, 10.0), 0.03, 30
    bound = 1 / np.sqrt(S.shape[1])
    beta = np.random.default_rng(4).uniform(-bound, bound, S.shape[1])
    x = np.ones(len(S)) if model == "nonparametric" else beta

    def masses(x):
        e = base * np.exp(x if model == "nonparametric" else S @ x)
        return e / e.sum()

    def gram(A, B):
        return np.mean([rbf_kernel(A, B, 0.5 / g**2) for g in gammas], axis=0)

    K, cross, own = gram(S, S), gram(S, T) @ q, q @ gram(T, T) @ q

    def loss(x):
        m = masses(x)
        return m @ K @ m - 2 * m @ cross + own

    losses, first, second = [], 0.0, 0.0
    for t in range(1, epochs + 1):
        losses.append(loss(x))
        g = numeric(lambda x=x: loss(x), x, 1e-5)
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
        size = np.sqrt(second / (1 - 0.999**t)) + 1e-8
        x = x - rate * first / (1 - 0.9**t) / size
    fit = train_adversarial(
        S, T, q, weight_model=model, base=base, gamma=gammas, epochs=epochs,
        random_state=4,
    )  # fmt: skip
    assert_allclose(fit.losses, losses, rtol=1e-4)
    assert_allclose(fit.masses, masses(x), rtol=1e-3)
    assert_allclose(fit.loss, loss(x), rtol=1e-4)
    assert (fit.coef is None) == (model == "nonparametric")


def test_training_goes_towards_the_exact_optimum():
    S, T, q, base = samples(n=60)
    kernel = Gaussian(1.0)
    exact = simplex_qp(kernel.operator(S), kernel.operator(S, T).row_mean(q))
    least = squared_mmd(kernel, S, T, x_weights=exact.weights, y_weights=q)
    fit = train_adversarial(S, T, q, gamma=1.0, epochs=3000)
    assert least * (1 - 1e-9) <= fit.loss <= 1.02 * least
    ours = squared_mmd(kernel, S, T, x_weights=fit.masses, y_weights=q)
    assert_allclose(fit.loss, ours, rtol=1e-8)
    for mixture in (0.0, 0.4):
        best = fit_log_linear(kernel, S, T, q, base, 0.0, mixture=mixture)
        fit = train_adversarial(
            S, T, q, weight_model="log_linear", gamma=1.0, epochs=3000, base=base,
            mixture=mixture,
        )  # fmt: skip
        assert_allclose(fit.coef, best.coef, atol=1e-3)
        assert_allclose(fit.masses, best.masses, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", OPPONENTS)
def test_training_lowers_the_imbalance_and_repeats(kind, model):
    S, T, q, _ = samples(n=80)
    options = {"discriminator": kind, "weight_model": model}
    fit = train_adversarial(S, T, q, random_state=3, epochs=250, **options)
    assert_allclose(fit.masses.sum(), 1.0)
    assert fit.masses.shape == (80,) and np.all(fit.masses >= 0)
    assert fit.losses.shape == (250,) and fit.n_iter == 250
    assert np.all(np.isfinite(fit.losses)) and np.isfinite(fit.loss)
    kernel = Gaussian(2.0)
    before = squared_mmd(kernel, S, T, y_weights=q)
    after = squared_mmd(kernel, S, T, x_weights=fit.masses, y_weights=q)
    assert after < 0.6 * before
    first, again, other = (
        train_adversarial(S, T, q, random_state=seed, epochs=20, **options).masses
        for seed in (3, 3, 4)
    )
    assert np.array_equal(first, again)
    certain = kind == "mmd" and model == "nonparametric"
    assert np.array_equal(first, other) == certain


def test_one_epoch_takes_the_steps_in_the_authors_order():
    S, T, q, base = samples()
    fit = train_adversarial(
        S, T, q, discriminator="sigmoid", n_functions=7, epochs=2, base=base,
        random_state=1,
    )  # fmt: skip
    made = SigmoidDiscriminator(S, T, q, 7, 5, 0.3, np.random.default_rng(1))
    model = NonparametricMasses(base)
    adam, losses = Adam(model.parameters, 0.03), []
    for _ in range(2):
        m = model.masses()
        for _ in range(5):
            made._adam.step(-made.power(m)[1])
        losses.append(made.loss(m)[0])
        adam.step(model.pull_back(made.loss(m)[1]))
    assert_allclose(fit.losses, losses, rtol=1e-12)
    assert_allclose(fit.masses, model.masses(), rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"discriminator": "gan"}, "discriminator='gan'"),
        ({"weight_model": "loglinear"}, "weight_model='loglinear'"),
        ({"epochs": 0}, "epochs=0"),
        ({"adversary_steps": 0}, "adversary_steps=0"),
        ({"n_functions": 0}, "n_functions=0"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"adversary_learning_rate": np.nan}, "learning_rate"),
        ({"gamma": -1.0}, "bandwidth must be positive"),
        ({"mixture": 0.3}, "mixture=0.3 is of the log-linear"),
        ({"mixture": -0.1, "weight_model": "log_linear"}, "mixture=-0.1"),
        ({"base": np.zeros(40)}, "base must be"),
    ],
)
def test_bad_input_is_refused(change, message):
    S, T, q, _ = samples()
    with pytest.raises(ValueError, match=message):
        train_adversarial(S, T, q, **change)


# ---- the reference's figures -----------------------------------------------------

# Bias, its Monte-Carlo standard error and effective sample size of an independent
# implementation, ATT, n = 200: 300 (design Z), 240 (X) and, of sigmoids, 40 replicates.
ROWS = {
    ("Z", "nonparametric", 10.0): (-3.02, 0.16, 22.7),
    ("Z", "log_linear", 10.0): (-5.10, 0.14, 40.6),
    ("Z", "nonparametric", 1.0): (-9.09, 0.19, 26.9),
    ("Z", "log_linear", 1.0): (-8.72, 0.26, 54.1),
    ("X", "nonparametric", 10.0): (0.22, 0.17, 30.7),
    ("X", "log_linear", 10.0): (-0.87, 0.20, 49.2),
    ("X", "nonparametric", 1.0): (1.97, 0.21, 31.5),
    ("X", "log_linear", 1.0): (2.38, 0.29, 65.2),
}
SIGMOID_ROWS = {
    ("Z", "nonparametric", None): (-2.9, 1.0, 19.4),
    ("Z", "log_linear", None): (-3.0, 1.4, 32.5),
    ("X", "nonparametric", None): (0.5, 1.1, 25.3),
    ("X", "log_linear", None): (2.1, 1.2, 42.7),
}
LIMIT = 3.0


def replicate(design, model, gamma, reps, seed):
    """Return estimates of the ATT, which is zero, and effective sample sizes."""
    options = {"discriminator": "sigmoid"} if gamma is None else {"gamma": gamma}
    effects, sizes = np.empty(reps), np.empty(reps)
    for r in range(reps):
        rng = np.random.default_rng([seed, r])
        data = make_kang_schafer(200, design=design, random_state=rng)
        Z = (data.X - data.X.mean(axis=0)) / data.X.std(axis=0)
        a, y = data.treatment == 1, data.y
        fit = train_adversarial(
            Z[~a], Z[a], np.ones(a.sum()), weight_model=model, random_state=rng,
            **options,
        )  # fmt: skip
        effects[r] = y[a].mean() - fit.masses @ y[~a]
        sizes[r] = 1 / np.sum(fit.masses**2)
    return effects, sizes


def errors_apart(effects, bias, error):
    """Return the distance of a bias from the reference's, in standard errors."""
    both = np.hypot(error, effects.std(ddof=1) / np.sqrt(len(effects)))
    return abs(effects.mean() - bias) / both


@pytest.mark.parametrize("model", MODELS)
def test_miniature_matches_the_reference(model):
    effects, sizes = replicate("Z", model, 10.0, reps=20, seed=1)
    bias, error, size = ROWS["Z", model, 10.0]
    assert errors_apart(effects, bias, error) <= LIMIT
    assert_allclose(sizes.mean(), size, rtol=0.2)
    # What another kernel gives is told apart.
    assert errors_apart(effects, *ROWS["Z", model, 1.0][:2]) > LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_mmd_rows_match_the_reference(row):
    effects, sizes = replicate(*row, reps=60, seed=2)
    bias, error, size = ROWS[row]
    assert errors_apart(effects, bias, error) <= LIMIT
    assert_allclose(sizes.mean(), size, rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("row", SIGMOID_ROWS)
def test_sigmoid_rows_match_the_reference(row):
    effects, sizes = replicate(*row, reps=40, seed=2)
    bias, error, size = SIGMOID_ROWS[row]
    assert errors_apart(effects, bias, error) <= LIMIT
    assert_allclose(sizes.mean(), size, rtol=0.25)
