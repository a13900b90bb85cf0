"""One function over many videos, in processes, with a progress bar and bounded memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

import cv2
from tqdm import tqdm

from dmcl_tf.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

_TASKS_PER_WORKER = 4  # queued ahead: enough to keep workers busy, few enough to bound memory


def default_workers() -> int:
    """The processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_parallel(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    description: str,
    unit: str = "video",
    killed: Callable[[Item], Result] | None = None,
) -> Iterator[Result]:
    """Yields `function(item)` for every item, in order of completion, behind a progress bar with ETA.

    Args:
        function: a module-level function (or `functools.partial` of one); it must catch what it can name.
        items: the work; at most a few items per worker are in flight.
        workers: number of processes; 1 runs in this process.
        description: the progress bar's label.
        unit: what one item is called in the progress bar.
        killed: gives the result of an item whose process is killed from outside, as systems do when memory runs out,
            and again when it is tried alone.

    Raises:
        InputError: a process is killed again and again, and there is no `killed`.
    """
    total = len(items) if isinstance(items, Sized) else None
    with tqdm(total=total, desc=description, unit=unit, dynamic_ncols=True) as progress:
        results = _run_here(function, items) if workers <= 1 else _run_in_processes(function, items, workers, killed)
        for result in results:
            yield result
            progress.update()


def _run_here(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield from map(function, items)
    finally:
        cv2.setNumThreads(threads)


def _run_in_processes(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    killed: Callable[[Item], Result] | None,
) -> Iterator[Result]:
    left = iter(items)
    while suspects := (yield from _run_pool(function, left, workers)):
        while suspects:
            rest = iter(suspects)
            unfinished = yield from _run_pool(function, rest, 1)
            if unfinished:  # one process works in order, so that it was killed at the first of them
                if killed is None:
                    raise InputError(
                        "a process was killed twice at the same work, perhaps for lack of memory: run the same command "
                        "again, with fewer --workers"
                    )
                yield killed(unfinished[0])
            suspects = [*unfinished[1:], *rest]


def _run_pool(
    function: Callable[[Item], Result], items: Iterator[Item], workers: int
) -> Generator[Result, None, list[Item]]:
    """Yields the results of all items; returns those that were in work when a process was killed, else none."""
    # spawn, not fork: the parent may have threads running
    context = multiprocessing.get_context("spawn")
    pending: dict[Future, Item] = {}
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        try:
            more = True
            while more or pending:
                while more and len(pending) < workers * _TASKS_PER_WORKER:
                    more = _submit_next(pool, function, items, pending)
                if not pending:
                    break
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    if isinstance(future.exception(), BrokenProcessPool):
                        return (yield from _finish_broken(pending))
                    yield future.result()
                    del pending[future]
        except KeyboardInterrupt:  # the user waits; a cancelled future beside a killed process would be a fault
            for process in multiprocessing.active_children():
                process.kill()
            raise
        except BaseException:
            for future in pending:
                future.cancel()
            raise
    return []


def _submit_next(
    pool: ProcessPoolExecutor, function: Callable, items: Iterator[Item], pending: dict[Future, Item]
) -> bool:
    """Submits the next item; returns whether there was one."""
    for item in items:
        try:
            with _signals_held_back():
                future = pool.submit(function, item)
        except BrokenProcessPool as error:
            future = Future()
            future.set_exception(error)
        pending[future] = item
        return True
    return False


def _finish_broken(pending: dict[Future, Item]) -> Generator[Result, None, list[Item]]:
    suspects = []
    for future, item in pending.items():
        if isinstance(future.exception(), BrokenProcessPool):
            suspects.append(item)
        else:
            yield future.result()
    pending.clear()
    return suspects


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Holds back Ctrl-C, which reaches every process of a terminal: workers that are started in here never see it.

    The parent is told a moment later, and ends them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    cv2.setNumThreads(1)  # one process a core: threads inside OpenCV would only compete
    parent = multiprocessing.parent_process()
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()


def _exit_with(parent: multiprocessing.process.BaseProcess) -> None:
    # A worker whose parent was killed would finish what is queued, in the way of the next run, then wait for ever
    parent.join()
    os._exit(1)
