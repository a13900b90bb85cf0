"""Bad input ends in one clear line, not in a traceback."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from absl import app, logging


class InputError(Exception):
    """The user's input cannot be used.

    The message names the file or value at fault, what was expected, and what to do.
    """


def is_disk_full(error: Exception) -> bool:
    """Whether an exception says that there is no space left, be it Python's or TensorFlow's."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "No space left on device" in str(error)


def run_script(main: Callable[[], None]) -> None:
    """Parses the command line and runs `main()`.

    An `InputError`, a full disk, or a file or folder without permission prints one line: exit status 2.
    """

    def checked_main(arguments: list[str]) -> None:
        try:
            if len(arguments) > 1:
                raise InputError(f"unexpected argument {arguments[1]!r}: every setting is a flag, --name=value")
            main()
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except (PermissionError, NotADirectoryError) as error:
            print(
                f"error: {error.filename}: {error.strerror}; expected a folder that you may read and write",
                file=sys.stderr,
            )
            sys.exit(2)
        except Exception as error:
            if not is_disk_full(error):
                raise
            where = getattr(error, "filename", None) or str(error).split(";")[0]
            print(
                f"error: {where}: the disk is full; free some space and run the same command again, it continues",
                file=sys.stderr,
            )
            sys.exit(2)
        except KeyboardInterrupt:
            print("stopped: the same command continues", file=sys.stderr)
            sys.exit(130)

    logging.set_verbosity(logging.WARNING)
    app.run(checked_main)
