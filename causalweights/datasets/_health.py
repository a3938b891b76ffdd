"""Load health studies: NHEFS, birth weight and smoking, and ACTG 175."""

from __future__ import annotations

from sklearn.utils import Bunch

from causalweights.datasets._files import make_bunch, read_table

NHEFS_FEATURES = [
    *("sex", "race", "age", "education", "smokeintensity", "smokeyrs"),
    *("exercise", "active", "wt71"),
]
BIRTH_FEATURES = [
    *("mmarried", "mage", "medu", "mhisp", "mrace", "fage", "fedu", "fhisp", "frace"),
    *("foreign", "alcohol", "deadkids", "nprenatal", "monthslb", "order", "prenatal"),
    *("prenatal1", "fbaby", "birthmonth"),
]
ACTG_FEATURES = [
    *("age", "wtkg", "hemo", "homo", "drugs", "karnof", "oprior", "z30", "preanti"),
    *("race", "gender", "str2", "strat", "symptom", "cd40", "cd80"),
]

NHEFS_DESCR = """NHEFS: quitting smoking and weight change

1,566 smokers aged 25-74 of the NHANES I Epidemiologic Follow-up Study with a weight at
both visits. No missing values. Read from the PyPI package causaldata 0.1.5 (MIT
licence); the survey is published by the US National Center for Health Statistics.

Columns of X: sex (1 = female), race (1 = other than white), age (years, 1971),
education (1 = 8th grade or less, 2 = high school dropout, 3 = high school, 4 = some
college, 5 = college or more), smokeintensity (cigarettes a day, 1971), smokeyrs (years
of smoking), exercise (recreation: 0 = much, 1 = moderate, 2 = little or none), active
(usual day: 0 = very, 1 = moderately, 2 = inactive), wt71 (weight in kg, 1971). Codes
are integers; the published models treat education, exercise and active as categories.
y: wt82_71, weight change from 1971 to 1982, kg. treatment: 1 = quit (qsmk).

Reference
Hernan, M. and Robins, J. (2020). Causal Inference: What If. Chapman & Hall/CRC.
"""

BIRTH_DESCR = """Birth weight and maternal smoking (Cattaneo)

4,642 singleton births in Pennsylvania, 1989-1991. No missing values. Read from the
PyPI package statsmodels 0.15.0 (BSD-3-Clause licence); text labels turned into 0/1.

Columns of X: mmarried (1 = mother married), mage (mother's age, years), medu (mother's
schooling, years), mhisp (1 = mother Hispanic), mrace (1 = mother white), fage, fedu,
fhisp, frace (the same of the father; zero age means unknown), foreign (1 = mother born
abroad), alcohol (1 = drank during pregnancy), deadkids (1 = earlier newborn died),
nprenatal (prenatal visits), monthslb (months since last birth), order (birth order),
prenatal (trimester of the first visit, 0 = none), prenatal1 (1 = first visit in the
first trimester), fbaby (1 = first baby), birthmonth (1-12). y: bweight, grams.
treatment: 1 = mother smoked. The Bunch also holds msmoke (cigarettes a day: 0 = none,
1 = 1-5, 2 = 6-10, 3 = 11 or more).

Reference
Cattaneo, M. (2010). Efficient semiparametric estimation of multi-valued treatment
effects under ignorability. Journal of Econometrics 155, 138-154.
"""

ACTG_DESCR = """ACTG 175: combination therapy in HIV infection

2,139 adults with CD4 counts of 200-500 cells/mm3, randomised to four arms. No missing
values in X and y. Read from the PyPI package lifelines 0.30.3 (MIT licence).

Columns of X, all at baseline: age (years), wtkg (weight, kg), hemo (haemophilia), homo
(homosexual activity), drugs (intravenous drug use), karnof (Karnofsky score, 0-100),
oprior (other antiretroviral therapy before), z30 (zidovudine in the last 30 days),
preanti (days of earlier antiretroviral therapy), race (1 = other than white), gender
(1 = male), str2 (1 = experienced with antiretrovirals), strat (1 = none, 2 = up to 52
weeks, 3 = more), symptom (1 = symptomatic), cd40, cd80 (CD4 and CD8 counts, cells/mm3).
y: cd420, CD4 count at 20 +/- 5 weeks. treatment: 0 = zidovudine only, 1 = any other
arm. The Bunch also holds arms (0 = zidovudine, 1 = zidovudine and didanosine, 2 =
zidovudine and zalcitabine, 3 = didanosine) and the time-to-event pair days, cens (1 =
CD4 decline of half, AIDS or death).

Reference
Hammer, S. et al. (1996). A trial comparing nucleoside monotherapy with combination
therapy in HIV-infected adults. New England Journal of Medicine 335, 1081-1090.
"""


def load_nhefs() -> Bunch:
    """Load NHEFS: quitting smoking and the change in body weight.

    The running example of *Causal Inference: What If*: 403 quitters and 1,163 who went
    on smoking; the raw difference in weight change is 2.54 kg.

    Returns
    -------
    data : Bunch
        ``X`` (1566, 9) DataFrame, ``y`` (1566,) Series ``wt82_71`` in kg,
        ``treatment`` (1566,) Series 0/1 with the treated first, ``feature_names``,
        ``benchmark`` None (no experiment), ``published`` (``value``, ``se``,
        ``estimand``, ``source``): the book's weighted estimate, 3.4 kg, ``DESCR``.

    References
    ----------
    Hernan and Robins (2020). Causal Inference: What If. Chapman & Hall/CRC, Chapter 12.

    Examples
    --------
    >>> from causalweights.datasets import load_nhefs
    >>> data = load_nhefs()
    >>> data.X.shape, int(data.treatment.sum())
    ((1566, 9), 403)
    """
    return make_bunch(
        read_table("nhefs.csv.gz"),
        NHEFS_FEATURES,
        outcome="wt82_71",
        treatment="qsmk",
        description=NHEFS_DESCR,
        published=Bunch(
            value=3.4,
            se=None,
            estimand="ate",
            source="Hernan and Robins (2020), Section 12.2: inverse probability "
            "weighting, 95 % interval 2.4 to 4.5",
        ),
    )


def load_birthweight() -> Bunch:
    """Load birth weights of smoking and non-smoking mothers (Cattaneo 2010).

    864 smokers and 3,778 non-smokers; the raw difference is -275.25 grams.

    Returns
    -------
    data : Bunch
        ``X`` (4642, 19) DataFrame, ``y`` (4642,) Series ``bweight`` in grams,
        ``treatment`` (4642,) Series 0/1 with the treated first, ``msmoke`` (4642,)
        Series of four smoking levels, ``feature_names``, ``benchmark`` None (no
        experiment), ``published`` (``value``, ``se``, ``estimand``, ``source``):
        regression adjustment with prenatal1, mmarried, mage, fbaby, ``DESCR``.

    References
    ----------
    Cattaneo (2010), Journal of Econometrics 155, 138-154.

    Examples
    --------
    >>> from causalweights.datasets import load_birthweight
    >>> data = load_birthweight()
    >>> data.X.shape, int(data.treatment.sum())
    ((4642, 19), 864)
    """
    frame = read_table("birthweight.csv.gz")
    ordered = frame.sort_values("mbsmoke", ascending=False, kind="stable")
    return make_bunch(
        frame,
        BIRTH_FEATURES,
        outcome="bweight",
        treatment="mbsmoke",
        description=BIRTH_DESCR,
        msmoke=ordered["msmoke"].reset_index(drop=True),
        published=Bunch(
            value=-239.6392,
            se=23.824,
            estimand="ate",
            source="Stata manual, teffects ra (bweight prenatal1 mmarried mage fbaby) "
            "(mbsmoke)",
        ),
    )


def load_actg175() -> Bunch:
    """Load the randomised trial ACTG 175: combination therapy and CD4 counts.

    532 patients on zidovudine alone, 1,607 on one of three other therapies. Treatment
    was randomised, so the difference in means is unbiased and covariates only add
    precision.

    Returns
    -------
    data : Bunch
        ``X`` (2139, 16) DataFrame, ``y`` (2139,) Series ``cd420``, ``treatment``
        (2139,) Series 0/1 with the treated first, ``arms`` (2139,) Series with the
        four arms 0-3, ``days`` and ``cens`` (2139,) Series of the event time,
        ``feature_names``, ``benchmark`` (``value``, ``se``, ``estimand``,
        ``source``): 46.81 with standard error 6.76, ``published`` None, ``DESCR``.

    References
    ----------
    Hammer et al. (1996), New England Journal of Medicine 335, 1081-1090. Tsiatis,
    Davidian, Zhang and Lu (2008), Statistics in Medicine 27, 4658-4677.

    Examples
    --------
    >>> from causalweights.datasets import load_actg175
    >>> data = load_actg175()
    >>> data.X.shape, sorted(data.arms.unique().tolist())
    ((2139, 16), [0, 1, 2, 3])
    """
    frame = read_table("actg175.csv.gz")
    frame = frame.sort_values("treat", ascending=False, kind="stable")
    frame = frame.reset_index(drop=True)
    arms = frame.groupby("treat")["cd420"]
    mean, error = arms.mean(), (arms.var() / arms.size()).sum() ** 0.5
    return make_bunch(
        frame,
        ACTG_FEATURES,
        outcome="cd420",
        treatment="treat",
        description=ACTG_DESCR,
        benchmark=Bunch(
            value=float(mean[1] - mean[0]),
            se=float(error),
            estimand="ate",
            source="randomised comparison: difference in mean cd420 and its two-sample "
            "standard error; Tsiatis et al. (2008), unadjusted estimate",
        ),
        **{name: frame[name].copy() for name in ("arms", "days", "cens")},
    )
