"""Bad input ends in one clear line, not in a traceback."""

from __future__ import annotations

import contextlib
import errno
import signal
import sys
from collections.abc import Callable, Iterator

from absl import app, flags, logging


class InputError(Exception):
    """The user's input cannot be used.

    The message names the file or value at fault, what was expected, and what to do.
    """


class Terminated(BaseException):
    """The process was asked to end (SIGTERM): like `KeyboardInterrupt`, no failure that a handler takes for its own."""


def raise_terminated(*_) -> None:
    """Handles SIGTERM as Python handles Ctrl-C: by an exception, so that what was begun is cleaned up."""
    raise Terminated


def is_disk_full(error: Exception) -> bool:
    """Whether an exception says that there is no space left, be it Python's or TensorFlow's."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "No space left on device" in str(error)


def is_wrong_place(error: Exception) -> bool:
    """Whether a named file or folder cannot be used: something is in its place, or it is protected."""
    kinds = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS)
    return isinstance(error, OSError) and error.errno in kinds and error.filename is not None


@contextlib.contextmanager
def ending_in_one_line() -> Iterator[None]:
    """Ends the process with one line for an `InputError`, a full disk, or a file or folder that is in the way.

    The exit status is 2; after Ctrl-C it is 130, after SIGTERM 143.
    """
    try:
        yield
    except InputError as error:
        _end(f"error: {error}")
    except KeyboardInterrupt:
        _end("stopped: the same command continues", 130)
    except Terminated:
        _end("stopped: the same command continues", 143)
    except Exception as error:
        if is_wrong_place(error):
            _end(f"error: {error.filename}: {error.strerror}; give another place, or make way")
        if not is_disk_full(error):
            raise
        where = getattr(error, "filename", None) or str(error).split(";")[0]
        _end(f"error: {where}: the disk is full; free some space and run the same command again, it continues")


def _end(line: str, status: int = 2) -> None:
    print(line, file=sys.stderr)
    sys.exit(status)


def run_script(main: Callable[[], None]) -> None:
    """Parses the command line and runs `main()`; what the user can mend ends it as `ending_in_one_line` says."""

    def checked_main(arguments: list[str]) -> None:
        with ending_in_one_line():
            if len(arguments) > 1:
                raise InputError(f"unexpected argument {arguments[1]!r}: every setting is a flag, --name=value")
            main()

    signal.signal(signal.SIGTERM, raise_terminated)
    logging.set_verbosity(logging.WARNING)
    app.run(checked_main, flags_parser=_parse_flags)


def _parse_flags(arguments: list[str]) -> list[str]:
    """Parses the command line as absl does, but says in one line what is wrong with it."""
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        _end(f"error: {' '.join(str(error).split())}; --help lists the flags")
