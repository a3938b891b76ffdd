"""Data of instrumental variables, fitted by this package and by linearmodels."""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pandas as pd
import pytest
from linearmodels.datasets import mroz
from linearmodels.iv import IV2SLS, IVLIML

from causalweights import LinearIV
from causalweights.datasets import load_card

ORACLES = {"2sls": IV2SLS, "liml": IVLIML, "fuller": IVLIML, "k-class": IVLIML}
NAMES = {"cluster": "clustered", "hac": "kernel"}
LAGS = 3


@dataclass
class Design:
    """A sample; X and Z hold the constant, weights may be None."""

    y: pd.Series
    exogenous: pd.DataFrame
    endogenous: pd.DataFrame
    excluded: pd.DataFrame
    weight: np.ndarray | None = None
    groups: np.ndarray = field(init=False)

    def __post_init__(self):
        self.groups = np.arange(len(self.y)) // 5

    @property
    def X(self):
        return pd.concat([self.endogenous, self.exogenous], axis=1)

    @property
    def Z(self):
        return pd.concat([self.excluded, self.exogenous], axis=1)

    def fit(self, method="2sls", cov_type="robust", **params):
        estimator = LinearIV(method, cov_type=cov_type, hac_bandwidth=LAGS, **params)
        groups = self.groups if cov_type == "cluster" else None
        return estimator.fit(
            self.X, self.y, instruments=self.Z, sample_weight=self.weight, groups=groups
        )

    def oracle(self, method="2sls", cov_type="robust", debiased=False, **params):
        """Return what linearmodels makes of the same."""
        model = ORACLES[method](
            self.y, self.exogenous, self.endogenous, self.excluded,
            weights=self.weight, **params,
        )  # fmt: skip
        options = {
            "cluster": {"clusters": self.groups},
            "hac": {"kernel": "bartlett", "bandwidth": LAGS},
        }.get(cov_type, {})
        name = NAMES.get(cov_type, cov_type)
        return model.fit(cov_type=name, debiased=debiased, **options)

    @property
    def cluster_factor(self):
        n = self.groups.max() + 1
        return n / (n - 1)


def simulated():
    """Two endogenous columns of four instruments, heteroskedastic, weighted."""
    rng = np.random.default_rng(11)
    n = 300
    Z, W = rng.normal(size=(n, 4)), rng.normal(size=(n, 2))
    common = rng.normal(size=n)
    D = Z @ rng.uniform(0.2, 0.6, size=(4, 2)) + W[:, :1] + common[:, None]
    D += rng.normal(size=(n, 2))
    y = D @ [1.0, -0.5] + W @ [0.3, 2.0] + 1 + common
    y += (0.5 + np.abs(Z[:, 0])) * rng.normal(size=n)
    return Design(
        pd.Series(y, name="y"),
        pd.DataFrame(W, columns=["w1", "w2"]).assign(const=1.0),
        pd.DataFrame(D, columns=["d1", "d2"]),
        pd.DataFrame(Z, columns=["z1", "z2", "z3", "z4"]),
        rng.uniform(0.2, 3.0, size=n),
    )


def card_design(excluded, weighted=False):
    data = load_card(instruments=excluded)
    return Design(
        data.y, data.X[data.exogenous].assign(const=1.0), data.X[data.endogenous],
        data.instruments[data.excluded],
        data.sample_weight.to_numpy() if weighted else None,
    )  # fmt: skip


def mroz_design():
    frame = mroz.load().dropna().reset_index(drop=True)
    frame["const"] = 1.0
    return Design(
        frame["lwage"], frame[["const", "exper", "expersq"]], frame[["educ"]],
        frame[["fatheduc", "motheduc"]],
    )  # fmt: skip


DESIGNS = {
    "card": lambda: card_design(["nearc2", "nearc4"]),
    "card-weighted": lambda: card_design(["nearc2", "nearc4"], weighted=True),
    "mroz": mroz_design,
    "simulated": simulated,
}


@cache
def design_named(name):
    return DESIGNS[name]()


@pytest.fixture(params=DESIGNS)
def design(request):
    return design_named(request.param)


@pytest.fixture
def card():
    return design_named("card")


@pytest.fixture
def card_exact():
    return card_design(["nearc4"])


@pytest.fixture
def mroz_sample():
    return design_named("mroz")


@pytest.fixture
def two_endogenous():
    return design_named("simulated")


@pytest.fixture
def one_endogenous():
    """A maker of arrays y, D, Z, W of one endogenous column and q instruments."""

    def make(seed, q=3, strength=0.3, n=120):
        rng = np.random.default_rng(seed)
        Z, W = (
            rng.normal(size=(n, q)),
            np.column_stack([np.ones(n), rng.normal(size=n)]),
        )
        v = rng.normal(size=n)
        D = strength * Z.sum(axis=1) + W[:, 1] + v
        u = 0.8 * v + (0.3 + np.abs(Z[:, 0])) * rng.normal(size=n)
        return 1.0 * D + W @ [0.5, 1.0] + u, D, Z, W

    return make
