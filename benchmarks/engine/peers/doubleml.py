"""DoubleML: the interactive regression model and its best linear predictor."""

import numpy as np
from registry import Peer

PEER = Peer("DoubleML", "doubleml", ("doubleml",))


def best_linear_predictor(data, folds, learners, *, clip):
    """Return coefficients (a constant first), then their HC0 standard errors."""
    import pandas as pd
    from doubleml import DoubleMLData, DoubleMLIRM
    from doubleml.utils import PSProcessorConfig

    outcome, propensity, _ = learners
    model = DoubleMLIRM(
        DoubleMLData.from_arrays(data.X, data.y, data.treatment), outcome, propensity,
        draw_sample_splitting=False,
        ps_processor_config=PSProcessorConfig(clipping_threshold=clip),
    )  # fmt: skip
    model.set_sample_splitting(folds)
    basis = pd.DataFrame(np.column_stack([np.ones(len(data.y)), data.X]))
    found = model.fit().cate(basis)
    return np.concatenate([found.coef, found.se])
