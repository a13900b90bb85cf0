"""A stage as a process of its own: its memory is its own, and it ends with the process that started it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from dmcl_tf.errors import Stopped, explain, held_back, raise_on_termination, send

Argument = TypeVar("Argument")

_PATIENCE = 30  # seconds that a process gets to stop by itself


class Failure(NamedTuple):
    """How a process ended that did not end well.

    Attributes:
        reason: its error in a line, for lists of failures.
        status: its exit status, as shells report it.
    """

    reason: str
    status: int


def call(function: Callable[[Argument], object], argument: Argument) -> Failure | None:
    """Runs `function(argument)` in a process of its own to its end; returns how it failed, None for success.

    The process says itself what is wrong. When this one is told to stop, the other is stopped first.

    Raises:
        Stopped: the process was told to stop, by this one or by others, and did so in good order.

    Args:
        function: of a module, so that the other process finds it.
        argument: that can be pickled, such as a dataclass of settings.
    """
    context = multiprocessing.get_context("spawn")  # TensorFlow's threads do not survive a fork
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(function, argument, sender))
    # Ctrl-C reaches both processes of a terminal; the new one hears of it once its modules are imported
    with held_back(signal.SIGINT):
        process.start()
    sender.close()
    try:
        while not receiver.poll(1) and process.is_alive():  # a long message is sent only as it is read
            pass
        said = _said(receiver)
        process.join()
    except KeyboardInterrupt:
        _stop(process)
        _hear(_said(receiver))
        raise
    if said:
        return _hear(said)
    status = process.exitcode or 1  # it was ended before it could say anything
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    failure = Failure(f"ended by {how}, perhaps for lack of memory", 128 - status if status < 0 else status)
    print(f"error: {failure.reason}; the same command continues", file=sys.stderr)
    return failure


def _said(receiver) -> list[Failure | None]:
    """How the process says that it ended; empty where it could not."""
    with contextlib.suppress(EOFError, OSError):  # it may have been killed in the middle of it
        return [receiver.recv()] if receiver.poll() else []
    return []


def _hear(said: list[Failure | None]) -> Failure | None:
    """What the process said, if anything; raises `Stopped`."""
    failure = said[0] if said else None
    if failure and not failure.status:
        raise Stopped(failure.reason)
    return failure


def _work(function: Callable, argument: object, sender) -> None:
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    raise_on_termination()
    failure = None
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        function(argument)
    except SystemExit as error:
        if error.code:
            failure = Failure(f"exit status {error.code}", int(error.code) if str(error.code).isdigit() else 1)
    except KeyboardInterrupt as error:  # whoever stopped it says so
        failure = Failure(*(explain(error) or ("", 1)))
    except Exception as error:
        explained = explain(error)
        if explained:
            if explained[1]:
                print(explained[0], file=sys.stderr, flush=True)
            failure = Failure(explained[0].removeprefix("error: "), explained[1])
        else:
            traceback.print_exc()
            failure = Failure(traceback.format_exception_only(type(error), error)[-1].strip(), 1)
    with contextlib.suppress(BrokenPipeError):  # nobody is left to hear it
        send(sender, failure)
    sys.exit(failure.status if failure else 0)


def _end_with(parent) -> None:
    """Stops this process when its parent is gone, even where that was killed; by force where it does not stop."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_PATIENCE)
    os._exit(1)


def _stop(process) -> None:
    process.join(1)  # a terminal's Ctrl-C has reached it already
    for end in (process.terminate, process.kill):
        if process.is_alive():
            end()
            process.join(_PATIENCE)
