"""What happens in a worker: one case, computed on one thread; whatever it raises becomes part of its record.

Nothing here imports numpy: a worker sets the number of threads before numpy and numba are loaded.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .identity import Specified, source_hash

__all__ = ["ONE_THREAD", "attempt", "deaf", "initialise"]

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
    ),
    "1",
)
"""Environment in which no library starts threads of its own."""


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """Keep Ctrl-C waiting while workers may start: they inherit what is blocked, and until they have been initialised
    they would answer it with a traceback."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def initialise() -> None:
    """Prepare a new worker process: one thread, and an end when its parent ends, be it killed."""
    os.environ.update(ONE_THREAD)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent calls the work off
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    if parent.sentinel is not None:
        parent.join()
    else:  # loky's workers know of their parent its number alone: an orphan has another
        while os.getppid() == parent.pid:
            time.sleep(0.5)
    os._exit(1)


def attempt(run: Callable[[Any], Mapping[str, Any]], case: Specified) -> dict[str, Any]:
    """Compute a case.

    Parameters
    ----------
    run : callable
        Takes the case and gives its result, JSON values; the same for the same case.
    case : Specified

    Returns
    -------
    dict
        status ("done" or "failed"), error (None, or the traceback as text), seconds, result, and the hash of the
        source that this worker has.

    Examples
    --------
    >>> attempt(lambda case: {"half": case / 2}, 3)["result"]
    {'half': 1.5}
    >>> found = attempt(lambda case: {"ratio": 1 / case}, 0)
    >>> found["status"], found["error"].splitlines()[-1]
    ('failed', 'ZeroDivisionError: division by zero')
    """
    began = time.perf_counter()
    numba = sys.modules.get("numba")
    if numba is not None:
        numba.set_num_threads(1)  # of this thread alone
    try:
        status, error, result = "done", None, dict(run(case))
    except Exception:
        status, error, result = "failed", traceback.format_exc(), {}
    seconds = time.perf_counter() - began
    return {"status": status, "error": error, "seconds": seconds, "source_hash": source_hash(), "result": result}
