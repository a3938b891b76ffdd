"""Effects given covariates: EconML's and DoubleML's numbers, and errors beside them."""

from __future__ import annotations

from functools import partial

import numpy as np
from registry import Case, Contender

from cases.gram import largest_error

SETUPS, TEST_POINTS, FOLDS = "ABCDEF", 10_000, 5
TREES, FOREST = "boosted trees", "random forest"
# Below every propensity: where estimates are to be equal, nobody clips.
NO_CLIP, CLIP = 1e-8, 0.01
SAME_TREES = "ours, same trees"
ECONML_R, ECONML_DR = "EconML, NonParamDML", "EconML, DRLearner"
ECONML_FOREST = "EconML, CausalForestDML"


def same_name(kind: str, n: int, final: str) -> str:
    return f"{kind}-learner, n={n}, {final} last"


def linear_name(n: int) -> str:
    return f"best linear predictor, n={n}"


def errors_name(setup: str, n: int, samples: int) -> str:
    return f"setup {setup}, n={n}, {samples} samples"


def draw(n: int, setup: str, sample: int = 0):
    """Return data, test points and stratified folds; data as in effect_errors.py."""
    from sklearn.model_selection import StratifiedKFold

    from causalweights.datasets import make_nie_wager

    rng = np.random.default_rng([sample, n, SETUPS.index(setup)])
    data = make_nie_wager(n, setup=setup, random_state=rng)
    test = make_nie_wager(TEST_POINTS, setup=setup, random_state=rng)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=sample)
    return data, test, list(folds.split(data.X, data.treatment))


def learners(final: str = TREES):
    """Return an outcome, a propensity and a final model: trees that are not tuned."""
    from sklearn.ensemble import (
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestRegressor,
    )

    trees = {
        "max_iter": 100, "learning_rate": 0.05, "max_leaf_nodes": 8,
        "early_stopping": False, "random_state": 0,
    }  # fmt: skip
    outcome = HistGradientBoostingRegressor(**trees)
    forest = RandomForestRegressor(20, min_samples_leaf=20, random_state=0)
    last = {TREES: outcome, FOREST: forest}[final]
    return outcome, HistGradientBoostingClassifier(**trees), last


def fitted(preset, data, folds, models, **options):
    """Return our estimator, fitted with the learners."""
    outcome, propensity, final = models
    estimator = preset(
        outcome_model=outcome, propensity_model=propensity, final_model=final,
        cv=folds, **options,
    )  # fmt: skip
    return estimator.fit(data.X, data.y, treatment=data.treatment)


def same(bench, kind: str, n: int, final: str) -> None:
    """Fit the same estimator with the same learners and folds; compare predictions."""
    from peers import econml, ours

    from causalweights import DRLearner, RLearner

    data, test, folds = draw(n, "A")
    models = learners(final)
    preset, options, peer, label = {
        "R": (RLearner, {"min_relative_weight": 0.0}, econml.r_learner, ECONML_R),
        "DR": (DRLearner, {}, partial(econml.dr_learner, clip=NO_CLIP), ECONML_DR),
    }[kind]

    def call() -> np.ndarray:
        model = fitted(preset, data, folds, models, clip=NO_CLIP, **options)
        return model.predict(test.X)

    reference = call()
    bench.race(
        [
            Contender(ours.PEER, call),
            Contender(econml.PEER, lambda: peer(data, test.X, folds, models), label),
        ],
        largest_error(reference),
    )


def linear(bench, n: int) -> None:
    """Compare coefficients and HC0 standard errors; say what our own HC3 add."""
    from peers import doubleml, ours
    from sklearn.linear_model import LinearRegression

    from causalweights import DRLearner

    data, _, folds = draw(n, "A")
    models = (*learners()[:2], LinearRegression())

    def fit():
        model = fitted(
            DRLearner, data, folds, models, clip=NO_CLIP, outcome_strategy="separate"
        )
        return model.best_linear_predictor(target="population")

    def numbers(found) -> np.ndarray:
        return np.concatenate(
            [found.effect, np.linalg.norm(found.influence, axis=0) / n]
        )

    found = fit()
    reference = numbers(found)
    theirs = partial(doubleml.best_linear_predictor, data, folds, models, clip=NO_CLIP)
    bench.race(
        [
            Contender(ours.PEER, lambda: numbers(fit())),
            Contender(doubleml.PEER, theirs),
        ],
        largest_error(reference),
    )
    ratio = found.se / reference[len(found.se) :]
    bench.record(ours.PEER, "HC3 over HC0", float(ratio.max()))


def errors(bench, setup: str, n: int, samples: int) -> None:
    """Predict fresh points in every sample; judge by the true effect."""
    from peers import econml, ours

    from causalweights import PseudoOutcomeRegressor

    models, draws = learners(), [draw(n, setup, s) for s in range(samples)]

    def default(data, new, _) -> np.ndarray:
        model = PseudoOutcomeRegressor()
        return model.fit(data.X, data.y, treatment=data.treatment).predict(new)

    def same_trees(data, new, folds) -> np.ndarray:
        return fitted(PseudoOutcomeRegressor, data, folds, models).predict(new)

    def contender(peer, predict, label="", **options) -> Contender:
        def call() -> list[np.ndarray]:
            return [predict(d, test.X, folds, **options) for d, test, folds in draws]

        return Contender(peer, call, label)

    def judge(predictions: list[np.ndarray]) -> dict[str, float]:
        pairs = zip(predictions, draws, strict=True)
        squares = [np.mean((p - test.cate) ** 2) for p, (_, test, _) in pairs]
        return {"RMSE": float(np.mean(np.sqrt(squares)))}

    few, test, folds = draw(200, setup)
    default(few, test.X, folds)  # compiles
    more = {"learners": models}
    bench.race(
        [
            contender(ours.PEER, same_trees, SAME_TREES),
            contender(ours.PEER, default),
            contender(econml.PEER, econml.r_learner, ECONML_R, **more),
            contender(econml.PEER, econml.dr_learner, ECONML_DR, clip=CLIP, **more),
            contender(econml.PEER, econml.causal_forest, ECONML_FOREST, **more),
        ],
        judge,
        repeats=0,
    )


def cases(quick: bool):
    n = 500 if quick else 2000
    for kind in ("R", "DR"):
        for final in (TREES,) if quick else (TREES, FOREST):
            run = partial(same, kind=kind, n=n, final=final)
            yield Case("effects", same_name(kind, n, final), run)
    yield Case("effects", linear_name(n), partial(linear, n=n))
    n, samples = (300, 1) if quick else (1000, 10)
    for setup in "A" if quick else SETUPS:
        run = partial(errors, setup=setup, n=n, samples=samples)
        yield Case("effects", errors_name(setup, n, samples), run)
