"""Bad input, a full disk and a stop end a command in one clear line, not in a traceback."""

from __future__ import annotations

import contextlib
import difflib
import errno
import pickle
import re
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection

from absl import app, flags, logging

from dmcl_tf import STOPPED, end_at_once


def printable(text: str) -> str:
    """A text as one line that can be printed, with the codes of characters that cannot."""
    # surrogates are bytes of a file's name that are not UTF-8
    return re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", lambda match: f"\\x{ord(match[0]) & 0xFF:02x}", text)


class InputError(Exception):
    """The user's input cannot be used.

    The message names the file or value at fault, what was expected, and what to do. It is one line of text that can be
    printed, whatever names and values it quotes.
    """

    def __init__(self, message: str):
        super().__init__(printable(message))


def meant(value: object, choices: Iterable[str]) -> str:
    """The end of a message about a value that is none of the choices: the nearest one, where one is near."""
    close = difflib.get_close_matches(str(value), list(choices), n=1)
    return f"; did you mean {close[0]}?" if close else ""


class Stopped(Exception):
    """The work was told to stop, and has kept what it did: it ends well, and the same command continues it."""


class Terminated(KeyboardInterrupt):
    """The process was told to stop by a signal, which ends it as Ctrl-C does."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number


def raise_on_termination() -> None:
    """Lets SIGTERM and SIGHUP end this process as Ctrl-C does, so that it can end what it started."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    if signal.getsignal(signal.SIGINT) in (end_at_once, signal.default_int_handler):
        signal.signal(signal.SIGINT, _terminate)


_holding = 0  # `held_back` that the main thread is within
_late: list[int] = []  # signals that came meanwhile


@contextlib.contextmanager
def held_back(*numbers: signal.Signals) -> Iterator[None]:
    """Holds back signals in this thread, and in the processes that it starts within, which inherit that.

    The system gives a signal to any thread that does not block it, and Python runs its handler in the main thread all
    the same: so `_terminate` waits for the end of this as well.
    """
    global _holding
    resource_tracker.ensure_running()  # else the first process started within starts it, which lets the signals through
    main = threading.current_thread() is threading.main_thread()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    _holding += main
    try:
        yield
    finally:
        _holding -= main
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if main and _late and not _holding:
            _terminate(_late.pop(), None)


def send(connection: Connection, value: object) -> None:
    """Sends an object to another process.

    What a signal raises in the middle of `Connection.send()` keeps a view of that method's buffer, and where both are
    collected together Python 3.12 crashes at its end.
    """
    connection.send_bytes(pickle.dumps(value))


def _terminate(number, frame):
    if _holding:
        _late.append(number)
    else:
        _late.clear()
        raise Terminated(number)


def is_disk_full(error: BaseException) -> bool:
    """Whether an exception says that there is no space left, be it Python's or TensorFlow's."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "No space left on device" in str(error)


_OUT_OF_MEMORY = (
    "OOM when alloc",
    "bad_alloc",
    "could not create a primitive",  # oneDNN
    "failed to map segment",  # of a shared library
    "error return without exception set",  # Python, where there was no memory for the exception
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, be it Python's, OpenCV's or TensorFlow's."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    names = {kind.__name__ for kind in type(error).__mro__}
    return "ResourceExhaustedError" in names or any(text in str(error) for text in _OUT_OF_MEMORY)


_TENSORFLOW = 2 * 2**30  # bytes of addresses that TensorFlow with its libraries and first threads wants


def check_address_space() -> None:
    """Checks, before TensorFlow is loaded, that the limit on this process leaves room for it.

    With less, its libraries end in ways of their own, and OpenBLAS never: it asks again for what it is denied.

    Raises:
        InputError: it does not.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < _TENSORFLOW:
        raise InputError(
            f"memory is limited to {limit / 2**30:.1f} GiB, but TensorFlow takes {_TENSORFLOW / 2**30:.0f} GiB of "
            "addresses before any work: raise the limit (ulimit -v, or the scheduler's)"
        )


def is_wrong_place(error: BaseException) -> bool:
    """Whether a named file or folder cannot be used: something is in its place, or it is protected."""
    in_the_way = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS)
    kinds = (*in_the_way, errno.ENOENT, errno.ENAMETOOLONG)
    return isinstance(error, OSError) and error.errno in kinds and error.filename is not None


def explain(error: BaseException) -> tuple[str, int] | None:
    """What a user should see of an exception, and the exit status that goes with it.

    Returns:
        The line and 0 for work that stopped in good order, 2 for bad input, a full disk, too little memory, or a file
        or folder that is in the way; 130 after Ctrl-C, and 128 plus its number after a signal. None for a fault of the
        program, whose traceback is of use.
    """
    if isinstance(error, Stopped):
        return str(error), 0
    if isinstance(error, InputError):
        return f"error: {error}", 2
    if isinstance(error, KeyboardInterrupt):
        return STOPPED, 128 + getattr(error, "number", signal.SIGINT)
    if isinstance(error, OSError) and is_wrong_place(error):
        return f"error: {printable(str(error.filename))}: {error.strerror}; give another place, or make way", 2
    if is_disk_full(error):  # before memory: TensorFlow calls both an exhausted resource
        # TensorFlow says it as "{{function_node …}} path; No space left on device"
        said = re.sub(r"^\{\{.*?\}\} ", "", str(error).split(";")[0])
        where = printable(str(getattr(error, "filename", None) or said))
        return f"error: {where}: the disk is full; free some space and run the same command again, it continues", 2
    if is_out_of_memory(error):
        return (
            "error: there is not enough memory; use a smaller --batch_size, fewer --workers or --clips, or --recompute",
            2,
        )
    return None


@contextlib.contextmanager
def ending_in_one_line() -> Iterator[None]:
    """Ends the process with one line for what `explain` has a line for."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        explained = explain(error)
        if not explained:
            raise
        print(explained[0], file=sys.stderr)
        sys.exit(explained[1])


def run_script(main: Callable[[], None]) -> None:
    """Parses the command line and runs `main()`; what the user can mend ends it as `ending_in_one_line` says."""

    def checked_main(arguments: list[str]) -> None:
        raise_on_termination()
        with ending_in_one_line():
            if len(arguments) > 1:
                raise InputError(f"unexpected argument {arguments[1]!r}: every setting is a flag, --name=value")
            main()

    logging.set_verbosity(logging.WARNING)
    app.run(checked_main, flags_parser=_parse_flags)


def _parse_flags(arguments: list[str]) -> list[str]:
    """Parses the command line as absl does, but says in one line what is wrong with it."""
    with ending_in_one_line():
        try:
            return flags.FLAGS(arguments)
        except flags.Error as error:
            raise InputError(f"{' '.join(str(error).split())}; --help lists the flags") from None
