"""One function over many videos, in processes, with a progress bar and bounded memory."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, TypeVar

import cv2
from tqdm import tqdm

from dmcl_tf.errors import InputError, held_back, send

Item = TypeVar("Item")
Result = TypeVar("Result")

_TERMINATION = {signal.SIGTERM, signal.SIGHUP}


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
        items: the work; one item per worker is in flight.
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
    for lost in (yield from _run_pool(function, iter(items), workers)):
        if not (yield from _run_pool(function, iter([lost]), 1)):  # alone, it has all the memory
            continue
        if killed is None:
            raise InputError(
                "a process was killed twice at the same work, perhaps for lack of memory: run the same command again, "
                "with fewer --workers"
            )
        yield killed(lost)


def _run_pool(
    function: Callable[[Item], Result], items: Iterator[Item], workers: int
) -> Generator[Result, None, list[Item]]:
    """Yields the results of all items; returns those at which a process was killed.

    Each process has a pipe of its own and one item at a time. So it is known which item a process was killed at, and
    a process that is killed cannot take a lock or half a message of the others along, as it can with the pools of the
    standard library.
    """
    pool: list[BaseProcess] = []
    work: dict[Connection, Item] = {}
    lost: list[Item] = []
    try:
        for item in islice(items, workers):
            work[_start_worker(function, item, pool)] = item
        while work:
            ready = wait(list(work))
            for connection in [connection for connection in work if connection in ready]:
                item = work.pop(connection)
                outcome: _Outcome | None = None
                try:
                    outcome = connection.recv()
                except (EOFError, OSError):  # also where it was killed in the middle of its answer
                    lost.append(item)
                for following in islice(items, 1):
                    work[_give(connection, following) or _start_worker(function, following, pool)] = following
                if outcome:
                    yield outcome.result()
    finally:
        for process in pool:
            if process.is_alive():
                process.kill()
                process.join()
    return lost


def _give(connection: Connection, item: object) -> Connection | None:
    """Sends an item to a worker; None if that is gone."""
    try:
        send(connection, item)
    except ConnectionError:
        return None
    return connection


class _Outcome(NamedTuple):
    """What became of an item in a worker: its result, or the exception and its traceback."""

    value: Any = None
    error: Exception | None = None
    traceback: str = ""

    def result(self) -> Any:
        if self.error is not None:
            raise self.error from RuntimeError(f"in a worker:\n{self.traceback}")
        return self.value


def _start_worker(function: Callable, item: object, pool: list[BaseProcess]) -> Connection:
    context = multiprocessing.get_context("spawn")  # not fork: the parent may have threads running
    connection, other_end = context.Pipe()
    process = context.Process(target=_serve, args=(function, other_end), daemon=True)
    # What stops this process would leave the other one over. Ctrl-C, which reaches every process of a terminal, is for
    # this one alone.
    with held_back(signal.SIGINT, *_TERMINATION):
        pool.append(process)
        process.start()
    other_end.close()  # the worker has the only one left: its death ends the connection
    _give(connection, item)  # a worker that is gone already shows when its result is asked for
    return connection


def _serve(function: Callable, connection: Connection) -> None:
    """What a worker does: item by item, until the parent closes the connection or is gone."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _TERMINATION)
    cv2.setNumThreads(1)  # one process a core: threads inside OpenCV would only compete
    threading.Thread(target=_exit_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        try:
            outcome = _Outcome(function(item))
        except Exception as error:
            outcome = _Outcome(error=_portable(error), traceback=traceback.format_exc())
        send(connection, outcome)


def _portable(error: Exception) -> Exception:
    """The exception, or its text where it cannot be sent to another process."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _exit_with(parent: BaseProcess) -> None:
    # A worker whose parent was killed would finish its item, in the way of the next run
    parent.join()
    os._exit(1)
