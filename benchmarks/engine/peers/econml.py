"""EconML: R-learner, DR-learner and causal forest, on given folds."""

from registry import Peer

PEER = Peer("EconML", "econml", ("econml.dml", "econml.dr"))


def r_learner(data, new, folds, learners):
    """Return effects at new rows; EconML clips no propensity here."""
    from econml.dml import NonParamDML

    outcome, propensity, final = learners
    model = NonParamDML(
        model_y=outcome, model_t=propensity, model_final=final,
        discrete_treatment=True, cv=folds,
    )  # fmt: skip
    return model.fit(data.y, data.treatment, X=data.X).effect(new)


def dr_learner(data, new, folds, learners, *, clip):
    from econml.dr import DRLearner

    outcome, propensity, final = learners
    model = DRLearner(
        model_regression=outcome, model_propensity=propensity, model_final=final,
        min_propensity=clip, cv=folds,
    )  # fmt: skip
    return model.fit(data.y, data.treatment, X=data.X).effect(new)


def causal_forest(data, new, folds, learners):
    """Return effects by a forest of EconML's defaults, nuisances by the learners."""
    from econml.dml import CausalForestDML

    outcome, propensity, _ = learners
    model = CausalForestDML(
        model_y=outcome, model_t=propensity, discrete_treatment=True, cv=folds,
        n_jobs=1, random_state=0,
    )  # fmt: skip
    return model.fit(data.y, data.treatment, X=data.X).effect(new)
