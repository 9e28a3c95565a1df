"""Executors by name: threads, processes, loky and Dask. The only file that imports the last two."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from floatemu.errors import UnsupportedError

from .work import ONE_THREAD, initialise

__all__ = ["EXECUTORS", "Here", "open_executor"]

EXECUTORS = ("here", "threads", "processes", "loky", "dask")


class Here(Executor):
    """An executor that computes at once, in the thread that asks.

    Examples
    --------
    >>> Here().submit(max, 1, 2).result()
    2
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Compute, and return a future that is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _missing(library: str, extra: str, error: ImportError) -> UnsupportedError:
    return UnsupportedError(f"the executor needs {library} ({error}): pip install 'floatemu[{extra}]'")


@contextlib.contextmanager
def _loky(workers: int) -> Iterator[Executor]:
    try:
        from loky import ProcessPoolExecutor as Pool
    except ImportError as error:
        raise _missing("loky", "lab", error) from None
    executor = Pool(max_workers=workers, env=ONE_THREAD, initializer=initialise)
    try:
        yield executor
    finally:
        executor.shutdown(wait=True)


@contextlib.contextmanager
def _dask(workers: int, scheduler: str | None) -> Iterator[Executor]:
    try:
        import distributed
    except ImportError as error:
        raise _missing("distributed", "dask", error) from None
    library: Any = distributed  # its annotations are few
    with contextlib.ExitStack() as stack:
        if scheduler is None:
            cluster = library.LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, env=ONE_THREAD
            )
            address = stack.enter_context(cluster)
        else:
            address = scheduler
        try:
            client = stack.enter_context(library.Client(address, timeout=30))
        except (OSError, ValueError) as error:
            raise UnsupportedError(
                f"no Dask scheduler answers at {scheduler!r} ({error}); accepted: an address such as tcp://host:8786"
            ) from None
        yield stack.enter_context(client.get_executor())


@contextlib.contextmanager
def open_executor(
    name: str = "processes", workers: int | None = None, scheduler: str | None = None
) -> Iterator[Executor]:
    """Open an executor whose workers compute on one thread each, and close it after the block.

    Parameters
    ----------
    name : str
        "here" (no workers), "threads", "processes", "loky" (extra ``lab``) or "dask" (extra ``dask``: a cluster of
        processes on this machine, or what ``scheduler`` names).
    workers : int, optional
        Default: one for each core.
    scheduler : str, optional
        Address of a Dask scheduler; its workers need this very version of floatemu.

    Yields
    ------
    concurrent.futures.Executor

    Raises
    ------
    UnsupportedError
        If there is no such executor, its library is missing, or the scheduler does not answer.

    Examples
    --------
    >>> with open_executor("threads", 2) as executor:
    ...     executor.submit(pow, 2, 10).result()
    1024
    """
    count = workers or os.cpu_count() or 1
    if scheduler is not None and name != "dask":
        raise UnsupportedError(f"a scheduler is Dask's; the executor is {name!r}; accepted: dask")
    match name:
        case "here":
            yield Here()
        case "threads":
            with ThreadPoolExecutor(count) as executor:
                yield executor
        case "processes":
            # never a fork: it would copy locks of threads that are gone, numba's among them
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(count, mp_context=context, initializer=initialise) as pool:
                yield pool
        case "loky":
            with _loky(count) as executor:
                yield executor
        case "dask":
            with _dask(count, scheduler) as executor:
                yield executor
        case _:
            raise UnsupportedError(f"executor={name!r}; accepted: {', '.join(EXECUTORS)}")
