"""Covariate shift: weights beside skada's and adapt's, paths over D, classifiers."""

from __future__ import annotations

from functools import partial

import numpy as np
from problems import warm_up
from registry import Case, Contender

from cases.end_to_end import KMM_UPPER

SIZES = (200, 1000)
MANY = 5000
# Huang et al.'s and the paper's programs have no ridge.
PLAIN = "ours, kappa=0"
# Seconds that MRCpy 3.0.0's DWGCS spent in the solver of its weights, D = 4, by n = t.
MRCPY_QUOTED = {200: 0.17, 500: 5.1, 1000: 22.0}


def matching_name(n: int) -> str:
    return f"kernel mean matching, n=t={n}"


def double_name(n: int) -> str:
    return f"double weighting, D=4, n=t={n}"


def path_name(n: int) -> str:
    return f"ten values of D, n=t={n}"


def classifier_name(n: int, loss: str) -> str:
    return f"DoubleWeightingClassifier, {loss} loss, n=t={n}"


def draw(n: int):
    """Return source, labels and target: design A of vignettes/double_weighting.py."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2))
    X_target = np.array([1.0, 0.5]) + 0.8 * rng.normal(size=(n, 2))
    score = 3.0 * (X[:, 0] + 0.5 * X[:, 1] ** 2 - 0.7)
    y = (rng.random(n) < 1.0 / (1.0 + np.exp(-score))).astype(int)
    return X, y, X_target


def compile_all() -> None:
    """Load what the package compiles, dense and of low rank."""
    from causalweights import DoubleKernelMeanMatching
    from causalweights.shift import TargetSample

    warm_up()
    X, _, X_target = draw(100)
    for solver in ("dense", "low_rank"):
        weighter = DoubleKernelMeanMatching(solver=solver)
        weighter.fit(X, X_target=TargetSample(X_target))


def bandwidth_of(X: np.ndarray, X_target: np.ndarray) -> float:
    """Return the default bandwidth, which peers are given."""
    from causalweights.shift._bandwidth import neighbor_distance

    return neighbor_distance(np.vstack([X, X_target]))


def judge_weights(X: np.ndarray, X_target: np.ndarray):
    """Return a judge of source weights, or of our weighters: MMD^2 and ESS."""
    n, t = len(X), len(X_target)

    def judge(output) -> dict[str, float]:
        from peers import sklearn

        ours = hasattr(output, "beta_")
        beta = output.beta_ if ours else output
        alpha = output.alpha_ if ours else np.ones(t)
        v = np.concatenate([beta / n, -alpha / t])
        K = sklearn.gaussian(np.vstack([X, X_target]), bandwidth_of(X, X_target))
        found = {
            "MMD²": float(v @ K @ v),
            "ESS": float(beta.sum() ** 2 / (beta @ beta)),
        }
        return found | ({"gap": output.relative_gap_} if ours else {})

    return judge


def fitted(weighter, X: np.ndarray, X_target: np.ndarray):
    """Return our weighter, fitted."""
    from causalweights.shift import TargetSample

    return weighter.fit(X, X_target=TargetSample(X_target))


def matching(bench, n: int) -> None:
    from peers import adapt, ours, skada

    from causalweights import KernelMeanMatching

    compile_all()
    X, _, X_target = draw(n)
    h, slack = bandwidth_of(X, X_target), 1 - 1 / np.sqrt(n)
    options = {"B": KMM_UPPER, "bandwidth": h}
    plain = KernelMeanMatching(kappa=0.0, **options)
    default = KernelMeanMatching(**options)
    contenders = [
        Contender(ours.PEER, partial(fitted, plain, X, X_target), PLAIN),
        Contender(ours.PEER, partial(fitted, default, X, X_target)),
    ]
    for peer in (skada, adapt):
        theirs = partial(peer.kernel_mean_matching, X, X_target, h, KMM_UPPER, slack)
        contenders.append(Contender(peer.PEER, theirs))
    # Once each where a run takes minutes.
    repeats = {"repeats": 0} if n == MANY else {}
    bench.race(contenders, judge_weights(X, X_target), **repeats)


def double(bench, n: int) -> None:
    from peers import ours

    from causalweights import DoubleKernelMeanMatching

    compile_all()
    X, _, X_target = draw(n)
    plain = partial(fitted, DoubleKernelMeanMatching(kappa=0.0), X, X_target)
    default = partial(fitted, DoubleKernelMeanMatching(), X, X_target)
    contenders = [Contender(ours.PEER, default)]
    if n < MANY:
        contenders.insert(0, Contender(ours.PEER, plain, PLAIN))
    bench.race(contenders, judge_weights(X, X_target))


def path(bench, n: int) -> None:
    from peers import ours

    from causalweights import DoubleKernelMeanMatching
    from causalweights.shift import TargetSample, weight_path

    compile_all()
    X, _, X_target = draw(n)
    target = TargetSample(X_target)

    def call():
        return weight_path(DoubleKernelMeanMatching(), X, X_target=target)

    bench.race([Contender(ours.PEER, call)])
    found = call()
    bench.record(ours.PEER, "solved", found.n_solved)
    bench.record(ours.PEER, "gap", float(found.values("relative_gap").max()))


def classifier(bench, n: int, loss: str) -> None:
    from peers import ours

    from causalweights import DoubleWeightingClassifier
    from causalweights.shift import TargetSample

    compile_all()
    X, y, X_target = draw(n)
    model = DoubleWeightingClassifier(loss=loss)

    def call():
        return model.fit(X, y, X_target=TargetSample(X_target))

    bench.race([Contender(ours.PEER, call)])
    bench.record(ours.PEER, "gap", max(model.relative_gap_, model.minimax_gap_))


def cases(quick: bool):
    for n in SIZES[:1] if quick else (*SIZES, MANY):
        run = partial(matching, n=n)
        yield Case("shift", matching_name(n), run, limit=3600)
    for n in SIZES[:1] if quick else (*MRCPY_QUOTED, MANY):
        yield Case("shift", double_name(n), partial(double, n=n))
    n = SIZES[0] if quick else SIZES[-1]
    yield Case("shift", path_name(n), partial(path, n=n))
    for loss in ("log", "0-1"):
        run = partial(classifier, n=n, loss=loss)
        yield Case("shift", classifier_name(n, loss), run)
    if not quick:
        yield Case("memory", double_name(MANY), partial(double, n=MANY), alone=0)
