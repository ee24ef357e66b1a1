"""Where long work runs: processes of this machine, or the workers of a Dask cluster.

    with worker_pool() as pool:                          # as many processes as cores
    with worker_pool(cluster="tcp://10.0.0.5:8786") as pool:
        dataset = pool.share(dataset)                    # crosses to each worker once
        future = pool.submit(function, dataset, 3)       # a concurrent.futures.Future

A worker does one task at a time. Where a cluster's worker is lost, the scheduler gives what it had
to another one.
"""

from __future__ import annotations

import os
import pickle
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, Protocol

from ebnn.sim.errors import UserError

_CONNECT_SECONDS = 10
# PyTorch's settings, and an emulated machine, belong to one task: a Dask worker may have threads.
_ONE_AT_A_TIME = threading.Lock()


class WorkerPool(Protocol):
    """`shares_files`: the workers see the files that this process writes, under the same paths."""

    shares_files: bool

    @property
    def count(self) -> int:
        """Tasks that can run at the same time; a cluster may grow and shrink."""

    def share(self, value: Any) -> Any:
        """Something to give to `submit` in the place of a large `value`."""

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run `function(*args)`, which a worker must be able to import, on one of them."""


@contextmanager
def worker_pool(workers: int | None = None, cluster: str | None = None) -> Iterator[WorkerPool]:
    """Processes, as many as this machine has cores unless told, or the workers of a `cluster`.

    What still waits when the block is left by an exception is dropped; when it is left by Ctrl-C,
    what runs in local processes is ended too. Raises `UserError` where the cluster cannot be had.
    """
    if cluster is None:
        with _local(workers or os.cpu_count() or 1) as pool:
            yield pool
    else:
        with _dask(cluster) as pool:
            yield pool


def result_of(future: Future[Any]) -> Any:
    """What a task gave or raised; `UserError` where every worker that took it was lost."""
    error = future.exception()
    # Dask's own, which this module need not import, is raised after the fourth worker.
    if isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker":
        raise UserError(
            f"a worker was ended from outside ({type(error).__name__}), perhaps for want of"
            " memory: use fewer at a time, and start again"
        ) from error
    return future.result()


@dataclass(frozen=True)
class _Shared:
    path: Path


class _LocalPool:
    shares_files = True

    def __init__(self, executor: ProcessPoolExecutor, count: int, folder: Path) -> None:
        self._executor, self.count, self._folder = executor, count, folder
        self._values = 0

    def share(self, value: Any) -> _Shared:
        path = self._folder / str(self._values)
        self._values += 1
        path.write_bytes(pickle.dumps(value))
        return _Shared(path)

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        return self._executor.submit(_run_local, function, args)


def _run_local(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    return function(*[_read(one.path) if isinstance(one, _Shared) else one for one in args])


@lru_cache(maxsize=4)
def _read(path: Path) -> Any:
    return pickle.loads(path.read_bytes())


@contextmanager
def _local(count: int) -> Iterator[_LocalPool]:
    # Spawned, not forked: torch's and the emulator's threads do not survive a fork. Ctrl-C reaches
    # a terminal's whole process group: this process alone decides what it means.
    with (
        tempfile.TemporaryDirectory(prefix="ebnn-workers-") as folder,
        ProcessPoolExecutor(count, get_context("spawn"), _start_worker) as executor,
    ):
        try:
            yield _LocalPool(executor, count, Path(folder))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                # `executor.terminate_workers()` from Python 3.14 on.
                for process in list((executor._processes or {}).values()):
                    process.terminate()
            executor.shutdown(cancel_futures=True)
            raise


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Else a worker of a process that was killed waits for work for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


class _DaskPool:
    shares_files = False

    def __init__(self, client: Any, executor: Executor) -> None:
        self._client, self._executor = client, executor

    @property
    def count(self) -> int:
        return max(1, len(self._client.nthreads()))

    def share(self, value: Any) -> Any:
        # As a task's result rather than scattered: the scheduler makes it anew where the worker
        # that had it is lost.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
            return self._client.submit(_same, value, pure=False)

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        return self._executor.submit(_run_one, function, *args)


def _same(value: Any) -> Any:
    return value


def _run_one(function: Callable[..., Any], *args: Any) -> Any:
    with _ONE_AT_A_TIME:
        return function(*args)


@contextmanager
def _dask(address: str) -> Iterator[_DaskPool]:
    try:
        import distributed
    except ModuleNotFoundError as error:
        if error.name != "distributed":
            raise
        raise UserError("--cluster needs Dask: pip install 'ebnn[cluster]'") from None
    make_client: Any = distributed.Client  # not typed
    try:
        client: Any = make_client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(
            f"--cluster {address}: no scheduler answers there ({type(error).__name__}); start one"
            " with `dask scheduler`, and `dask worker ADDRESS --nthreads 1` on each machine"
        ) from error
    with client:
        if not client.nthreads():
            raise UserError(
                f"--cluster {address}: the scheduler has no worker; start"
                f" `dask worker {address} --nthreads 1` on each machine, once for each core"
            )
        executor = client.get_executor(pure=False)
        try:
            yield _DaskPool(client, executor)
        finally:
            executor.shutdown(wait=False)
