"""Dask arrays on two worker processes: the numbers of one process, and a kill."""

import os
import signal

import dask.array as da
import joblib
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from causalweights import EntropyBalancer, IPMBalancer, WeightedEffect
from causalweights.balancing import _blocks_low_rank

# Two cuts into blocks differ by rounding, 1e-11 of weights with mean one.
SAME = 1e-8
N = 4000

pytestmark = pytest.mark.filterwarnings(
    "ignore:balancing weights are not optimal:sklearn.exceptions.ConvergenceWarning"
)


@pytest.fixture(scope="module")
def client():
    """Start a cluster of two processes with a limit on their memory."""
    from dask.distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        memory_limit="800MB",
        dashboard_address=":0",
    )
    with cluster, Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(N, 4)) * [1.0, 10.0, 0.1, 1.0] + [0.0, 50.0, 0.0, -3.0]
    a = (X[:, 0] + rng.logistic(size=N) > 0).astype(int)
    s = rng.uniform(0.5, 2.0, size=N)
    s[::17] = 0.0
    return X, a, s


def low_rank(**options):
    return IPMBalancer(**{"solver": "low_rank", "rank": 100, **options})


def assert_same_fit(ours, one):
    np.testing.assert_allclose(ours.weights_, one.weights_, atol=SAME)
    assert isinstance(ours.weights_, np.ndarray)
    np.testing.assert_allclose(ours.masses_, one.masses_, atol=SAME / N)
    assert ours.discrepancy_ == pytest.approx(one.discrepancy_, rel=1e-7)
    assert ours.discrepancy_before_ == pytest.approx(one.discrepancy_before_, rel=1e-9)
    assert ours.gap_ == pytest.approx(one.gap_, rel=1e-6)
    assert ours.pairwise_discrepancy_ == pytest.approx(
        one.pairwise_discrepancy_, rel=1e-7
    )
    assert ours.n_iter_ == one.n_iter_ and ours.solver_ == one.solver_
    assert ours.n_features_in_ == one.n_features_in_


# ------------------------------------------------------------- on two processes
@pytest.mark.parametrize(
    ("options", "chunks"),
    [
        ({"estimand": "att", "discriminator": "gaussian"}, (1000, 4)),
        ({"estimand": "atc", "discriminator": "laplace"}, (N, 4)),
        ({"estimand": "ate", "between_arms": False}, (1700, 1)),
        ({"estimand": "ate", "discriminator": "gaussian"}, (750, 4)),
        ({"estimand": "att", "min_weight": 0.1, "max_weight": 4.0}, (1300, 2)),
    ],
)
def test_a_cluster_gives_the_weights_of_one_process(options, chunks, sample, client):
    X, a, s = sample
    one = low_rank(**options).fit(X, a, sample_weight=s)
    blocks = da.from_array(X, chunks=chunks)
    ours = IPMBalancer(rank=100, **options).fit(
        blocks, da.from_array(a, chunks=900), sample_weight=da.from_array(s)
    )
    assert_same_fit(ours, one)
    assert np.all(ours.weights_[s == 0] == 0)
    rows = slice(0, 50)
    np.testing.assert_allclose(
        ours.predict_weights(X[rows], a[rows]),
        one.predict_weights(X[rows], a[rows]),
        atol=SAME,
    )


def test_repetitions_run_on_the_cluster(sample, client):
    from dask.distributed import get_task_stream

    X, a, _ = sample
    X, a = X[:400], a[:400]
    y = X[:, 0] + a + np.random.default_rng(0).normal(size=400)
    effect = WeightedEffect(
        IPMBalancer(estimand="att"),
        outcome_model=LinearRegression(),
        cv=2,
        n_rep=2,
        random_state=0,
        n_jobs=2,
    )
    here = effect.fit(X, y, treatment=a)
    expected = here.effect_, here.se_, here.influence_
    with get_task_stream(client) as stream, joblib.parallel_config(backend="dask"):
        there = effect.fit(X, y, treatment=a)
    assert len(stream.data) > 0
    np.testing.assert_allclose(there.effect_, expected[0], rtol=1e-12)
    np.testing.assert_allclose(there.se_, expected[1], rtol=1e-12)
    np.testing.assert_allclose(there.influence_, expected[2], atol=1e-10)


def test_a_killed_worker_loses_nothing(sample, client, monkeypatch):
    X, a, s = sample
    options = dict(estimand="att", discriminator="gaussian")
    one = low_rank(**options).fit(X, a, sample_weight=s)
    killed = []

    def solve(total, *args):
        passes = []

        def watched(function, *small):
            passes.append(function)
            if len(passes) == 4:  # features lie in both workers: one of them goes
                holders = client.run(os.getpid)
                held = client.has_what()
                assert all(held[worker] for worker in holders)
                victim = next(iter(holders.values()))
                os.kill(victim, signal.SIGKILL)
                killed.append(victim)
            return total(function, *small)

        dual = original(watched, *args)
        assert len(passes) > 4
        return dual

    original = _blocks_low_rank.solve_dual_blocks
    monkeypatch.setattr(_blocks_low_rank, "solve_dual_blocks", solve)
    ours = low_rank(**options).fit(da.from_array(X, (500, 4)), a, sample_weight=s)
    assert_same_fit(ours, one)
    assert len(killed) == 1
    client.wait_for_workers(2, timeout=60)
    assert killed[0] not in client.run(os.getpid).values()


# ------------------------------------------------------ without a cluster, refusals
@pytest.fixture
def threads():
    """Run dask in threads of this process, whatever clusters there are."""
    import dask

    with dask.config.set(scheduler="threads"):
        yield


def test_dask_needs_no_cluster(sample, threads):
    X, a, s = (part[:500] for part in sample)
    X = np.column_stack([X, np.full(500, 7.0)])
    message = "constant covariates are ignored: column 4"
    with pytest.warns(UserWarning, match=message):
        one = low_rank().fit(X, a, sample_weight=s)
    with pytest.warns(UserWarning, match=message) as caught:
        ours = low_rank().fit(da.from_array(X, (120, 5)), a, sample_weight=s)
    ours_alone = [w for w in caught if message in str(w.message)]  # dask warns too
    assert {w.filename for w in ours_alone} == {__file__}
    assert_same_fit(ours, one)
    np.testing.assert_allclose(ours._scaling.mean, one._scaling.mean, rtol=1e-13)
    np.testing.assert_allclose(ours._scaling.scale, one._scaling.scale, rtol=1e-13)


def test_scale_is_kept_where_it_is_asked_to(sample, threads):
    X, a, _ = (part[:500] for part in sample)
    options = dict(standardize=False, discriminator="gaussian")
    ours = low_rank(**options).fit(da.from_array(X, (99, 4)), a)
    assert_same_fit(ours, low_rank(**options).fit(X, a))


def test_empty_chunks_and_integers_are_fine(sample, threads):
    X, a, _ = (part[:300] for part in sample)
    X = np.round(10 * X).astype(np.int64)
    blocks = da.from_array(X, ((100, 0, 200), (4,)))
    assert_same_fit(low_rank().fit(blocks, a), low_rank().fit(X, a))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_value_is_named_by_column_and_row(bad, sample, threads):
    X, a, _ = (part[:300].copy() for part in sample)
    X[170, 2] = bad
    with pytest.raises(ValueError, match="column 2, first in row 170"):
        low_rank().fit(da.from_array(X, (100, 4)), a)


def test_refusals_by_name(sample, threads):
    X, a, _ = (part[:300] for part in sample)
    blocks = da.from_array(X, (100, 4))
    for solver in ("active_set", "interior_point"):
        with pytest.raises(ValueError, match="solver='auto' or 'low_rank'"):
            IPMBalancer(solver=solver).fit(blocks, a)
    with pytest.raises(ValueError, match="no row with a positive sample_weight"):
        low_rank().fit(blocks, a, sample_weight=a)
    with pytest.raises(ValueError, match="one arm only"):
        low_rank().fit(blocks, np.ones(300))
    with pytest.raises(ValueError, match="treatment has 299 rows, X has 300"):
        low_rank().fit(blocks, a[1:])
    with pytest.raises(ValueError, match="two-dimensional"):
        low_rank().fit(blocks[:, 0], a)
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        low_rank().fit(blocks[blocks[:, 0] > -9], a)
    with pytest.raises(ValueError, match="all columns of X are constant"):
        low_rank().fit(da.ones((300, 2), chunks=100), a)
    with pytest.raises(ValueError, match="EntropyBalancer takes rows"):
        EntropyBalancer().fit(blocks, a)
    fit = low_rank().fit(blocks, a)
    for call in (lambda: fit.witness(blocks), lambda: fit.score(blocks, a)):
        with pytest.raises(ValueError, match="X is a dask array: compute the rows"):
            call()
    with pytest.raises(ValueError, match="predict_weights takes rows"):
        fit.predict_weights(blocks, a)
