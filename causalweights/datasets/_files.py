"""Read the CSV files of ``data/`` and put them into the shape every loader returns."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn.utils import Bunch

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    import pandas as pd

EXPERIMENT = (
    "National Supported Work demonstration, Dehejia-Wahba subset: difference in mean "
    "re78 between 185 randomised trainees and 260 randomised controls, with its "
    "two-sample (unequal variances) standard error; Dehejia and Wahba (1999), Table 2."
)


def _open(name: str) -> Traversable | Path:
    """Return the file ``name`` of ``data/``, installed or in a source checkout."""
    try:
        found = resources.files("causalweights._data") / name
        if found.is_file():
            return found
    except ModuleNotFoundError:
        # an editable install may not map the folder into the package
        pass
    return Path(__file__).parents[2] / "data" / name


def read_table(name: str) -> pd.DataFrame:
    """Read one CSV into a new frame."""
    import pandas as pd

    packed = "gzip" if name.endswith(".gz") else None
    with _open(name).open("rb") as handle:
        return pd.read_csv(handle, compression=packed)


def make_bunch(
    frame: pd.DataFrame,
    features: list[str],
    *,
    outcome: str | None,
    treatment: str | None,
    description: str,
    **extra: Any,
) -> Bunch:
    """Split a table into ``X``, ``y`` and ``treatment``, treated rows first."""
    if treatment is not None:
        frame = frame.sort_values(treatment, ascending=False, kind="stable")
    frame = frame.reset_index(drop=True)
    parts: dict[str, Any] = {"X": frame[features].copy()}
    parts["y"] = None if outcome is None else frame[outcome].copy()
    if treatment is not None:
        parts["treatment"] = frame[treatment].astype("int64").rename("treatment")
    return Bunch(
        **parts,
        feature_names=list(features),
        **{"benchmark": None, "published": None, **extra},
        DESCR=description,
    )


def experimental_benchmark() -> Bunch:
    """Compute the effect the NSW experiment found, from the shipped file itself."""
    frame = read_table("nsw.csv")
    arms = frame.groupby("treat")["re78"]
    mean, variance, size = arms.mean(), arms.var(), arms.size()
    return Bunch(
        value=float(mean[1] - mean[0]),
        se=float((variance / size).sum() ** 0.5),
        estimand="att",
        source=EXPERIMENT,
    )
