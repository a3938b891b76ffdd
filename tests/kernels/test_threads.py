"""Work over threads: each piece once, errors told, the same bits in any process."""

import multiprocessing
import operator
import threading
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from causalweights._numba._gram import DIRECT_MAX
from causalweights._threads import (
    SERIAL_VALUES,
    piece_rows,
    run_pieces,
    run_rows,
)
from causalweights.kernels import Gaussian


@pytest.mark.parametrize("count", [0, 1, 2, 37])
@pytest.mark.parametrize("n_threads", [None, 1, 2, 5])
@pytest.mark.parametrize("values", [1, SERIAL_VALUES])
def test_each_piece_is_done_once(count, n_threads, values):
    done = []
    run_pieces(count, done.append, values=values, n_threads=n_threads)
    assert sorted(done) == list(range(count))


@pytest.mark.parametrize("n", [0, 1, 64, 65, 4097, 100_000])
def test_rows_are_covered_without_overlap(n):
    rows = []
    width = piece_rows(n)
    run_rows(n, 10, lambda a, b: rows.extend(range(a, b)), width=width, n_threads=2)
    assert sorted(rows) == list(range(n))


@pytest.mark.parametrize("bad", [0, 3, 9])
def test_an_error_in_any_piece_is_raised(bad):
    def call(p):
        if p == bad:
            raise RuntimeError(f"piece {p}")

    with pytest.raises(RuntimeError, match=f"piece {bad}"):
        run_pieces(10, call, values=SERIAL_VALUES, n_threads=3)


def two_at_once():
    # Both pieces wait for each other: one thread alone would never get past.
    barrier, passed = threading.Barrier(2, timeout=20), []

    def call(p):
        barrier.wait()
        passed.append(p)

    run_pieces(2, call, values=SERIAL_VALUES, n_threads=2)
    return passed


def test_several_threads_work_at_once():
    assert sorted(two_at_once()) == [0, 1]


def test_an_error_in_a_helper_is_raised():
    barrier, caller = threading.Barrier(2, timeout=20), threading.get_ident()

    def call(p):
        barrier.wait()
        if threading.get_ident() != caller:
            raise RuntimeError("in a helper")

    with pytest.raises(RuntimeError, match="in a helper"):
        run_pieces(2, call, values=SERIAL_VALUES, n_threads=2)


def test_a_forked_process_starts_its_own_helpers():
    two_at_once()
    child = multiprocessing.get_context("fork").Process(target=two_at_once)
    child.start()
    child.join(60)
    assert child.exitcode == 0


def test_callers_in_many_threads_do_not_wait_for_one_another():
    # More callers than helpers there are: all finish, since each works itself.
    def caller(_):
        done = []
        run_pieces(20, done.append, values=SERIAL_VALUES, n_threads=8)
        return len(done)

    with ThreadPoolExecutor(40) as pool:
        assert list(pool.map(caller, range(200))) == [20] * 200


def test_a_piece_may_run_pieces_itself():
    done = []

    def outer(p):
        run_pieces(4, lambda q: done.append((p, q)), values=SERIAL_VALUES, n_threads=4)

    run_pieces(8, outer, values=SERIAL_VALUES, n_threads=4)
    assert len(set(done)) == len(done) == 32


# ---- other processes and threads -------------------------------------------------


def worker(gram, v):
    return gram.dense(), gram.matvec(v), gram.matvec(v, rows=np.arange(400))


@pytest.fixture
def problem(two_samples):
    """An operator that uses threads, a vector, and the expected results."""
    X, _ = two_samples(500, 1, DIRECT_MAX + 1)
    v = np.random.default_rng(1).normal(size=500)
    gram = Gaussian(4.0).operator(X, n_threads=2)
    assert gram.shape[0] ** 2 > SERIAL_VALUES
    return gram, v, worker(gram, v)


def assert_same(got, expected):
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_works_in_joblib_workers(backend, problem):
    gram, v, expected = problem
    parallel = joblib.Parallel(n_jobs=2, backend=backend)
    for got in parallel(joblib.delayed(worker)(gram, v) for _ in range(2)):
        assert_same(got, expected)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_works_in_new_processes(method, problem):
    # The parent's helpers exist by now: a forked child must not count on them.
    gram, v, expected = problem
    if method not in multiprocessing.get_all_start_methods():
        pytest.fail(f"{method} is expected on the systems we test on")
    with multiprocessing.get_context(method).Pool(2) as pool:
        jobs = [gram] * 3
        dense = pool.map_async(operator.methodcaller("dense"), jobs).get(120)
        product = pool.map_async(operator.methodcaller("matvec", v), jobs).get(120)
    for a, b in zip(dense, product, strict=True):
        assert_same((a, b), expected[:2])


def test_bits_are_those_of_the_main_thread_whatever_blas_does(problem):
    gram, v, expected = problem
    with (
        ThreadpoolController().limit(limits=4, user_api="blas"),
        ThreadPoolExecutor(3) as pool,
    ):
        for got in pool.map(lambda _: worker(gram, v), range(6)):
            assert_same(got, expected)
