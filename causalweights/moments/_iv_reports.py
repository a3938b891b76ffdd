"""What a fitted linear instrumental-variables estimator says about its instruments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from sklearn.utils.validation import check_is_fitted

from causalweights._typing import FloatArray
from causalweights.moments import _iv_tests as tests
from causalweights.moments._anderson_rubin import (
    ConfidenceSet,
    anderson_rubin_set,
    s_statistic_set,
    weak_iv_test,
)
from causalweights.moments._data import check_identified
from causalweights.moments._first_stage import FirstStage, first_stage
from causalweights.moments._iv_state import LinearIVState
from causalweights.moments._moment_inference import MomentInferenceMixin
from causalweights.moments._moment_result import TestResult


class IVReportsMixin(MomentInferenceMixin):
    """Tests and confidence sets of an estimator that keeps a `LinearIVState`."""

    _state: LinearIVState

    def _fitted_state(self) -> LinearIVState:
        check_is_fitted(self)
        return self._state

    def first_stage(self) -> FirstStage:
        """Return how far the excluded instruments explain the endogenous columns.

        Statistics with the fit's ``cov_type`` beside those for homoskedastic errors.

        Returns
        -------
        FirstStage
            With ``to_frame()``; prints as a report.

        Raises
        ------
        ValueError
            Where no column is endogenous.

        Warns
        -----
        UserWarning
            Where there are no more clusters than excluded instruments: the robust F
            and the statistics of Kleibergen and Paap are then NaN.
        """
        state = self._fitted_state()
        state.tested(None)
        return first_stage(
            state.equation, state.smooth(), n_groups=state.n_groups,
            names=state.endogenous, constant=np.sqrt(state.weight),
        )  # fmt: skip

    def sargan(self) -> TestResult:
        """Return Sargan's test of the overidentifying restrictions, chi2(q - m).

        For homoskedastic errors: n R-squared of the residuals on the instruments.
        """
        state = self._fitted_state()
        return tests.sargan(state.equation, state.residuals)

    def basmann(self) -> TestResult:
        """Return Basmann's test of the overidentifying restrictions, chi2(q - m)."""
        state = self._fitted_state()
        return tests.basmann(state.equation, state.residuals)

    def anderson_rubin_overid(self) -> TestResult:
        """Return LIML's likelihood-ratio test of the same, n log k, chi2(q - m)."""
        return tests.anderson_rubin_overid(self._fitted_state().equation)

    def j_test(self) -> TestResult:
        """Return the test of the overidentifying restrictions that fits ``cov_type``.

        Sargan's for ``"unadjusted"``, else Hansen's J, which is `wooldridge_overid`.
        The p-value is NaN where there are none to test.
        """
        return self._fitted_state().overidentification()

    def wooldridge_overid(self) -> TestResult:
        """Return Wooldridge's robust test of the same, chi2(q - m).

        Robust as ``cov_type`` is, at least to heteroskedasticity (linearmodels: only to
        that). Equal to Hansen's J of two-step GMM that starts from these residuals.
        """
        state = self._fitted_state()
        return tests.score_overid(
            state.equation, state.residuals, state.robust_smooth()
        )

    def wooldridge_score(self) -> TestResult:
        """Return Wooldridge's score test of exogenous endogenous columns, chi2(m).

        Robust as ``cov_type`` is, at least to heteroskedasticity.
        """
        state = self._fitted_state()
        state.tested(None)
        return tests.wooldridge_score(state.equation, state.robust_smooth())

    def wooldridge_regression(self) -> TestResult:
        """Return the test of the same by added first-stage residuals, chi2(m).

        With the fit's ``cov_type``, without small-sample factor.
        """
        state = self._fitted_state()
        state.tested(None)
        return tests.wooldridge_regression(state.equation, state.smooth())

    def durbin(self, columns: str | Sequence[str] | None = None) -> TestResult:
        """Return Durbin's test that columns are exogenous, for homoskedastic errors.

        Parameters
        ----------
        columns : str, sequence of str or None, default=None
            Endogenous columns; None tests all together.
        """
        state = self._fitted_state()
        return tests.durbin(state.equation, state.tested(columns))

    def wu_hausman(self, columns: str | Sequence[str] | None = None) -> TestResult:
        """Return the F test of the same by Wu and Hausman, for homoskedastic errors.

        Parameters
        ----------
        columns : str, sequence of str or None, default=None
            Endogenous columns; None tests all together.
        """
        state = self._fitted_state()
        return tests.wu_hausman(state.equation, state.tested(columns))

    def c_test(self, columns: str | Sequence[str] | None = None) -> TestResult:
        """Return the C statistic: J with moments that are in doubt less J without.

        Parameters
        ----------
        columns : str, sequence of str or None, default=None
            Endogenous columns, whose exogeneity is tested (None: of all of them), or
            excluded instruments, whose validity is.

        Raises
        ------
        ValueError
            For other names, and where the other instruments do not identify the model.
        """
        state = self._fitted_state()
        names = [columns] if isinstance(columns, str) else columns
        if names is None or not set(names) <= set(state.excluded):
            tested = state.tested(names)
            shown = ", ".join(np.array(state.x_names)[tested])
            return tests.c_statistic(
                tests.as_exogenous(state.equation, tested), state.Z, state.smooth(),
                f"{shown} exogenous",
            )  # fmt: skip
        kept = ~np.isin(state.z_names, list(names))
        fewer = state.Z[:, kept]
        check_identified(state.equation.X, fewer, state.x_names)
        return tests.c_statistic(
            state.equation, fewer, state.smooth(), f"{', '.join(names)} valid"
        )

    def anderson_rubin_test(self, values: Any = 0.0) -> TestResult:
        """Test values of the endogenous coefficients, however weak the instruments.

        Anderson and Rubin's F test for ``cov_type="unadjusted"``, else the S statistic.

        Parameters
        ----------
        values : float or array-like of shape (m,), default=0.0
            In the order of ``endogenous_``; one number is that of each.
        """
        state = self._fitted_state()
        state.tested(None)
        m = state.equation.n_endogenous
        given = np.asarray(values, dtype=np.float64)
        if given.ndim > 1 or (given.ndim and len(given) != m):
            raise ValueError(
                f"values has shape {given.shape}: pass one number, or one each of the "
                f"{m} endogenous columns."
            )
        return weak_iv_test(
            state.equation, np.broadcast_to(given, (m,)), state.smooth()
        )

    def anderson_rubin_set(self, level: float = 0.95) -> ConfidenceSet:
        """Return the values of the endogenous coefficient that the test keeps.

        It covers with its level however weak the instruments are. It may be an
        interval, two rays or the line (weak instruments), or empty (no value fits).

        Parameters
        ----------
        level : float, default=0.95

        Raises
        ------
        ValueError
            Where not exactly one column is endogenous.
        """
        state = self._fitted_state()
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, got {level!r}.")
        if len(state.endogenous) != 1:
            raise ValueError(
                f"the set is of one endogenous coefficient; here are "
                f"{len(state.endogenous)}. Test values by anderson_rubin_test."
            )
        smooth = state.smooth()
        if smooth is None:
            intervals = anderson_rubin_set(state.equation, level)
        else:
            intervals = s_statistic_set(state.equation, level, smooth)
        return ConfidenceSet(intervals, level, state.endogenous[0])

    def conf_int(  # type: ignore[override]
        self,
        level: float = 0.95,
        method: Literal["wald", "bootstrap", "ar"] = "wald",
        *,
        n_boot: int = 999,
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> FloatArray:
        """Return confidence intervals.

        Parameters
        ----------
        level : float, default=0.95
        method : {"wald", "bootstrap", "ar"}, default="wald"
            ``"wald"``: one normal interval a coefficient, (p, 2). ``"bootstrap"``:
            percentile-t, as in `GMM.conf_int`. ``"ar"``: the pieces of
            `anderson_rubin_set` of the endogenous coefficient, (k, 2), k = 0 where it
            is empty; ends may be infinite.
        n_boot : int, default=999
        random_state : int, RandomState instance or None, default=None
        n_jobs : int or None, default=None
            Of the bootstrap.
        """
        if method == "ar":
            return self.anderson_rubin_set(level).intervals
        if method not in ("wald", "bootstrap"):
            raise ValueError(
                f"method={method!r} is unknown: choose 'wald', 'bootstrap' or 'ar'."
            )
        return super().conf_int(
            level, method, n_boot=n_boot, random_state=random_state, n_jobs=n_jobs
        )
