"""One function over many videos, in processes, with a progress bar and bounded memory."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2
from tqdm import tqdm

from dmcl_tf.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

# how one function is run over many items: `run_parallel`, or a function that is called like it
Run = Callable[..., Iterator]

_TASKS_PER_WORKER = 4  # queued ahead: enough to keep workers busy, few enough to bound memory


def default_workers() -> int:
    """The processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> None:
    cv2.setNumThreads(1)  # one process a core: threads inside OpenCV would only compete
    parent = multiprocessing.parent_process()
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()


def _exit_with(parent: multiprocessing.process.BaseProcess) -> None:
    # A worker whose parent was killed would finish what is queued, in the way of the next run, then wait for ever
    parent.join()
    os._exit(1)


def run_parallel(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    description: str,
    unit: str = "video",
) -> Iterator[Result]:
    """Yields `function(item)` for every item, in order of completion, behind a progress bar with ETA.

    Args:
        function: a module-level function (or `functools.partial` of one); it must catch what it can name.
        items: the work; at most a few items per worker are in flight.
        workers: number of processes; 1 runs in this process.
        description: the progress bar's label.
        unit: what one item is called in the progress bar.

    Raises:
        InputError: a process was killed from outside, as systems do when memory runs out.
    """
    total = len(items) if isinstance(items, Sized) else None
    with tqdm(total=total, desc=description, unit=unit, dynamic_ncols=True) as progress:
        if workers <= 1:
            threads = cv2.getNumThreads()
            cv2.setNumThreads(1)
            try:
                for item in items:
                    yield function(item)
                    progress.update()
            finally:
                cv2.setNumThreads(threads)
            return
        # spawn, not fork: the parent may have TensorFlow's threads running
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
            pending = set()
            try:
                for item in items:
                    pending.add(pool.submit(function, item))
                    if len(pending) >= workers * _TASKS_PER_WORKER:
                        done, pending = wait(pending, return_when=FIRST_COMPLETED)
                        for future in done:
                            yield future.result()
                            progress.update()
                while pending:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
                        progress.update()
            except BrokenProcessPool:
                raise InputError(
                    f"{description}: a process was killed, perhaps for lack of memory: run the same command again, "
                    "with fewer --workers"
                ) from None
            finally:
                for future in pending:
                    future.cancel()
