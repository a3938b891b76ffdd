"""Option sets and array aliases shared by all rooms."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.floating[Any]]
IntArray: TypeAlias = NDArray[np.integer[Any]]

Estimand = Literal["ate", "att", "atc", "ato"]
WeightType = Literal["sampling", "frequency"]
Inference = Literal["population", "sample"]
Contrast = Literal["difference", "ratio", "odds_ratio"]

ESTIMANDS: tuple[str, ...] = ("ate", "att", "atc", "ato")
WEIGHT_TYPES: tuple[str, ...] = ("sampling", "frequency")
