"""The uniform transformer of Yu & Wang: covariates mapped to the unit cube."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import (
    _check_feature_names_in,
    check_array,
    check_is_fitted,
)

from causalweights._base import unchanged_on_error
from causalweights._typing import WEIGHT_TYPES, FloatArray, IntArray, WeightType
from causalweights._validation import (
    check_covariates,
    check_same_rows,
    check_sample_weight,
    covariate_names,
    warn_constant,
)
from causalweights.ustatistics._cell_cdf import CELL_CDFS
from causalweights.ustatistics._joint_map import JointMap
from causalweights.ustatistics._marginal_map import MarginalMap, RankMap

KINDS = ("rank", "marginal", "joint")


def outer_bounds(X: FloatArray, bounds: ArrayLike | None) -> FloatArray:
    """Return the columns' limits (2, p): those given, widened to hold the rows X."""
    limits = np.stack([X.min(axis=0), X.max(axis=0)])
    if bounds is None:
        return limits
    given = check_array(bounds, dtype=np.float64, input_name="bounds")
    if given.shape != limits.shape:
        raise ValueError(
            f"bounds has shape {given.shape}: pass a lower and an upper limit for each "
            f"of the {X.shape[1]} columns, shape {limits.shape}."
        )
    if np.any(given[0] > given[1]):
        column = int(np.argmax(given[0] > given[1]))
        raise ValueError(
            f"bounds of column {column}: the lower limit {given[0, column]:g} is above "
            f"the upper one, {given[1, column]:g}; pass lower limits first."
        )
    return np.stack([np.minimum(limits[0], given[0]), np.maximum(limits[1], given[1])])


def padded_ends(
    bounds: FloatArray, n: int, rng: np.random.RandomState | None
) -> FloatArray:
    """Return the outer edges (2, d) of the cells, somewhat beyond the bounds.

    By 1/(2 n) of the range; with a generator, by one uniform draw over n for all
    columns, whatever their units.
    """
    if rng is None:
        padding = bounds[1] / (2 * n) - bounds[0] / (2 * n)
    else:
        padding = np.full(bounds.shape[1], rng.random_sample() / n)
    return np.stack([bounds[0] - padding, bounds[1] + padding])


class UniformTransformer(TransformerMixin, BaseEstimator):
    """Map covariates so that a reference sample becomes uniform on the unit cube.

    Where the reference rows are uniform, the density of other rows *is* their density
    ratio to the reference, so one density estimate makes balancing weights. Fit it on
    the reference (for an ATT the controls), then transform all rows.

    Parameters
    ----------
    kind : {"rank", "marginal", "joint"}, default="rank"
        ``"rank"``: mid-ranks of each coordinate among the reference rows. Unchanged,
        to the bit, by increasing functions of a coordinate; the choice for ties.
        ``"marginal"``: each coordinate by itself, piecewise smooth. ``"joint"``: the
        coordinates one after the other, each given those before it, so that their
        dependence goes too; it depends on their order. The first two leave
        dependence in.
    within_cell : {"constant", "linear", "quadratic"}, default="constant"
        Density that a cell of ``"marginal"`` and ``"joint"`` is filled with.
    bounds : array-like of shape (2, p) or None, default=None
        Lower and upper limit of each column that the map may be asked for (of a frame
        with categories: of their indicators), widened to hold the rows of fit. None
        is the range of these. Values beyond are taken to the edge.
    coordinate_order : array-like of shape (p,) or None, default=None
        Order in which ``"joint"`` takes the columns, a permutation of their positions.
    random_cuts : bool, default=False
        Cut ``"marginal"`` and ``"joint"`` as the authors' package does: at a uniform
        draw within each gap instead of its middle, the range padded by one draw over n
        in the columns' own units, the numbers of groups and the larger groups drawn
        too. It adds noise and ties the map to the units.
    weight_type : {"sampling", "frequency"}, default="sampling"
        Meaning of ``sample_weight``; a frequency, a whole number, stands for that many
        equal rows.
    random_state : int, RandomState instance or None, default=None
        Draws the random cuts. None is seed 0: a refit is identical.

    Attributes
    ----------
    kept_ : ndarray of shape (d,)
        Positions of the mapped columns; constant ones are left out.
    bounds_ : ndarray of shape (2, d)
        Limits of the mapped columns, before they are padded.
    n_reference_ : int
        Number of reference rows of positive weight, copies counted.
    sizes_ : ndarray of shape (d,) or None
        Into how many groups ``"joint"`` splits each mapped column; None for the others.
    map_ : RankMap, MarginalMap or JointMap
        The map as arrays: ``coordinates``, with the distinct ``values`` of each column
        and the weight ``below`` them for ``"rank"``, or the ``edges`` of its cells and
        their images ``heights``; ``levels`` of such cells for ``"joint"``.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    causalweights.diagnostics.uniformity_table : How uniform the images are.
    sklearn.preprocessing.QuantileTransformer : Interpolated marginal quantiles.

    Notes
    -----
    With n reference rows and W the weight below or up to a value, the rank map is
    {W(< x) + W(<= x)} / (2 W). The marginal map cuts a column between neighboring
    reference values; cell r of n has image ((r - 1)/n, r/n] and is filled by the
    distribution function H of ``within_cell``. The joint map splits the first column
    into s_1 groups of nearly equal count, each of these by the second column into s_2,
    and so on, with s_1 s_2 ... s_d <= n cells and n >= max(5, 2^d). Outer edges are
    the bounds, padded by 1/(2 n) of their range.

    The map is a function of a row's values, whatever the order of the rows: a value
    tied with a cut belongs to the lower cell, and rows tied in the column that splits
    them are counted in the order of their other columns. A cell's image is in
    proportion to its rows' weight, in ``"joint"`` too, where counts differ by one:
    images of equal size there, as the authors' package has them, would leave more rows
    at one end of the cube. With ``random_cuts`` the larger groups are drawn and images
    equal, but for the mean weight.

    Time O(d n log n), memory O(d n); transforming m rows, O(d m log n).

    References
    ----------
    .. [1] Yu & Wang (2020), Covariate balancing by uniform transformer,
       arXiv:2008.03738, and the authors' R package WUNT. Midpoints, ranks, weights,
       ties and a padding free of units are ours.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights import UniformTransformer
    >>> controls = np.array([[1.0], [2.0], [2.0], [7.0]])
    >>> UniformTransformer().fit(controls).transform([[0.5], [2.0], [3.0]]).ravel()
    array([0.  , 0.5 , 0.75])
    >>> UniformTransformer("marginal").fit_transform(controls).ravel().round(3)
    array([0.15 , 0.5  , 0.5  , 0.942])
    """

    __metadata_request__fit = {"sample_weight": True}

    _parameter_constraints: dict = {
        "kind": [StrOptions(set(KINDS))],
        "within_cell": [StrOptions(set(CELL_CDFS))],
        "bounds": ["array-like", None],
        "coordinate_order": ["array-like", None],
        "random_cuts": ["boolean"],
        "weight_type": [StrOptions(set(WEIGHT_TYPES))],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        kind: str = "rank",
        *,
        within_cell: str = "constant",
        bounds: ArrayLike | None = None,
        coordinate_order: ArrayLike | None = None,
        random_cuts: bool = False,
        weight_type: WeightType = "sampling",
        random_state: Any = None,
    ):
        self.kind = kind
        self.within_cell = within_cell
        self.bounds = bounds
        self.coordinate_order = coordinate_order
        self.random_cuts = random_cuts
        self.weight_type = weight_type
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Self:
        """Learn the map from the reference sample.

        Parameters
        ----------
        X : array-like or frame of shape (n, p)
            Covariates of the reference rows; finite numbers. Columns of strings or
            categories of a pandas or polars frame become one indicator a level.
        y : None
            Not used; here for scikit-learn's calls.
        sample_weight : array-like of shape (n,) or None, default=None
            Non-negative weights; rows of weight zero are removed first.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For NaN or infinity, all columns constant, bounds or an order that do not
            fit X, frequencies with fractions, or too few rows for ``"joint"``.
        """
        with unchanged_on_error(self):
            check_same_rows(X=X, sample_weight=sample_weight)
            X = check_covariates(self, X)
            weight = check_sample_weight(sample_weight, len(X))
            X, weight = reference_rows(X, weight, self.weight_type == "frequency")
            bounds = outer_bounds(X, self.bounds)
            kept = self._kept(bounds)
            order = self._order(kept, X.shape[1])
            self.kept_, self.bounds_ = kept, bounds[:, kept]
            self.n_reference_ = len(X)
            self._fit_map(X[:, kept], weight, order)
        return self

    def _kept(self, bounds: FloatArray) -> IntArray:
        """Return the positions of the columns that vary; name the others."""
        constant = bounds[0] == bounds[1]
        if np.all(constant):
            raise ValueError(
                "all columns of X are constant: there is nothing to map. Check that X "
                "holds covariates."
            )
        if np.any(constant):
            names = covariate_names(self)
            warn_constant([names[j] for j in np.flatnonzero(constant)])
        return np.flatnonzero(~constant)

    def _order(self, kept: IntArray, n_columns: int) -> IntArray:
        """Return the positions among the kept columns, in the order of splitting."""
        if self.coordinate_order is None:
            return np.arange(len(kept))
        order = np.asarray(self.coordinate_order)
        if not np.array_equal(np.sort(order, axis=None), np.arange(n_columns)):
            raise ValueError(
                f"coordinate_order must hold each of 0, ..., {n_columns - 1} once, one "
                f"position a column; got {order.tolist()}."
            )
        return np.searchsorted(kept, order[np.isin(order, kept)])

    def _fit_map(self, X: FloatArray, weight: FloatArray, order: IntArray) -> None:
        (n, d), rng = X.shape, None
        self.sizes_ = None
        self.map_: RankMap | MarginalMap | JointMap
        if self.kind == "rank":
            self.map_ = RankMap.of(X, weight)
            return
        if self.random_cuts:
            rng = check_random_state(
                0 if self.random_state is None else self.random_state
            )
        ends = padded_ends(self.bounds_, n, rng)
        if self.kind == "marginal":
            self.map_ = MarginalMap.of(X, weight, ends, self.within_cell, rng)
            return
        if n < max(5, 2**d):
            raise ValueError(
                f"kind='joint' needs {max(5, 2**d)} reference rows of positive weight "
                f"for {d} columns that vary, got {n}: use kind='rank', or fewer "
                "columns."
            )
        self.map_ = JointMap.of(X, weight, ends, order, self.within_cell, rng)
        self.sizes_ = self.map_.sizes

    def transform(self, X: Any) -> FloatArray:
        """Return the images of rows.

        Parameters
        ----------
        X : array-like or frame of shape (m, p)
            Covariates, of reference or other rows.

        Returns
        -------
        ndarray of shape (m, d)
            Between 0 and 1, a column for each that varied in fit.
        """
        check_is_fitted(self, "map_")
        X = check_covariates(self, X, reset=False, min_rows=1)
        return self.map_.image(X[:, self.kept_])

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the mapped columns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            As in scikit-learn: None, or the names that fit has seen.

        Returns
        -------
        ndarray of shape (d,)
        """
        check_is_fitted(self, "map_")
        names = _check_feature_names_in(self, input_features)
        if self._categories is not None:
            names = np.array(self._categories.names, dtype=object)
        return names[self.kept_]


def reference_rows(
    X: FloatArray, weight: FloatArray, frequency: bool
) -> tuple[FloatArray, FloatArray]:
    """Return the rows of positive weight, and weights of which equal ones are one.

    A row of frequency s becomes s rows of weight one.
    """
    if frequency:
        if np.any(weight != np.floor(weight)):
            row = int(np.argmax(weight != np.floor(weight)))
            raise ValueError(
                f"sample_weight holds a fraction (first in row {row}): with "
                "weight_type='frequency' a weight is a number of rows; use 'sampling'."
            )
        X = np.repeat(X, weight.astype(np.intp), axis=0)
        return X, np.ones(len(X))
    rows = weight > 0
    return X[rows], weight[rows] / weight.max()
