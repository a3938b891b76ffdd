"""scikit-learn's own checks of WeightedKernelRidge, counted."""

import warnings

import pytest
import sklearn
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.fixes import parse_version

from causalweights.learners import WeightedKernelRidge

# scikit-learn 1.6 has fewer checks than later releases, none has fewer than this.
FEWEST_CHECKS = 52
# Skipped by scikit-learn itself where SCIPY_ARRAY_API is not set.
SKIPPED_BY_SKLEARN = {"check_array_api_input"}
# The median rule and whole-row leave-one-out see repeated rows differently, as the
# class documents; replication is what weight_type="frequency" is for.
EQUIVALENCE = {
    "check_sample_weight_equivalence",
    "check_sample_weight_equivalence_on_dense_data",
}


def run_checks(estimator):
    """Return the names of the passed, failed and skipped checks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        results = check_estimator(estimator, on_fail=None)
    by_status = {"passed": [], "failed": [], "skipped": []}
    for result in results:
        by_status[result["status"]].append(result["check_name"])
    return by_status


def test_every_check_passes_with_frequency_weights():
    by_status = run_checks(WeightedKernelRidge(weight_type="frequency", bandwidth=1.0))
    assert by_status["failed"] == []
    assert set(by_status["skipped"]) <= SKIPPED_BY_SKLEARN
    assert len(by_status["passed"]) >= FEWEST_CHECKS
    assert EQUIVALENCE & set(by_status["passed"])


@pytest.mark.parametrize(
    "options",
    [{}, {"max_exact": 0, "bandwidth": "median", "ridge": 0.01}],
    ids=["exact", "low_rank"],
)
def test_sampling_weights_fail_replication_only(options):
    by_status = run_checks(WeightedKernelRidge(**options))
    assert set(by_status["failed"]) <= EQUIVALENCE
    assert set(by_status["skipped"]) <= SKIPPED_BY_SKLEARN
    assert len(by_status["passed"]) >= FEWEST_CHECKS - 1


def test_weights_are_requested_by_default():
    with sklearn.config_context(enable_metadata_routing=True):
        request = WeightedKernelRidge().get_metadata_routing()
    assert request.fit.requests == {"sample_weight": True}
    assert request.score.requests == {"sample_weight": True}
    assert parse_version(sklearn.__version__) >= parse_version("1.6")
