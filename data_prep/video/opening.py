"""The one way in which raw files are opened: regular files only, without waiting, within limits.

Whatever a library says of a file that it cannot read becomes one `InputError` that names the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dmcl_tf.errors import InputError, printable
from dmcl_tf.files import open_regular

AGAIN = "copy or download it again"


@dataclass(frozen=True)
class Limits:
    """What one raw file may ask for; more is refused before memory is taken.

    Attributes:
        pixels: of one image.
        frames: of one video.
        bytes: that are read at once: an image file, a table, a MATLAB volume of format 5, a part of an HDF5 volume.
    """

    pixels: int = 64_000_000
    frames: int = 100_000
    bytes: int = 2**30

    def check_image(self, width: int, height: int) -> None:
        """Raises `InputError` for an image that is too large; the message names no file."""
        if width * height > self.pixels:
            limit = f"{self.pixels / 1e6:g} megapixels"
            raise InputError(f"it is of {width}×{height} pixels; expected at most {limit}, which --max_pixels raises")

    def check_frames(self, count: int) -> None:
        """Raises `InputError` for a video that is too long; the message names no file."""
        if count > self.frames:
            raise InputError(f"more than {self.frames:,} frames: cut it into several videos, or raise --max_frames")

    def check_bytes(self, count: int, what: str = "it") -> None:
        """Raises `InputError` for what is too large to be read at once; the message names no file."""
        if count > self.bytes:
            raise InputError(f"{what} takes {count / 2**20:,.0f} MiB; expected at most {self.bytes / 2**20:,.0f}")


DEFAULT_LIMITS = Limits()


def shown(path: Path | str) -> str:
    """A path as one line of text that can be printed, whatever its name consists of."""
    return printable(os.fspath(path))


@contextmanager
def naming(path: Path, remedy: str = AGAIN, problem: str = "") -> Iterator[None]:
    """Turns whatever is raised inside into an `InputError` about `path`: libraries raise all kinds of errors.

    Args:
        path: the file that is being read.
        remedy: what to do about it.
        problem: says what the file is not; the library's own words follow in brackets.
    """
    try:
        yield
    except InputError as error:
        text = shown(str(error))
        raise InputError(text if text.startswith(shown(path)) else f"{shown(path)}: {text}") from None
    except MemoryError:
        raise InputError(f"{shown(path)}: there is not enough memory for it; give it a smaller size") from None
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"{shown(path)}: {error.strerror}; {remedy}") from error
        reason = shown(first_line(error))
        raise InputError(f"{shown(path)}: {f'{problem} ({reason})' if problem else reason}; {remedy}") from error


def first_line(error: Exception) -> str:
    """The first line of what an exception says, or else its kind."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def open_file(path: Path, remedy: str = AGAIN) -> BinaryIO:
    """Opens a regular file for reading.

    Raises:
        InputError: there is none that may be read; a named pipe or a device is never waited for.
    """
    with naming(path, remedy):
        return open_regular(path)


def check_file(path: Path, head: int) -> bytes:
    """Returns the first bytes of a file, for libraries that open it by its name.

    Raises:
        InputError: there is no regular file that may be read, or nothing in it.
    """
    with open_file(path) as file, naming(path):
        content = file.read(head)
        if not content:
            raise InputError(f"the file is empty; {AGAIN}")
        return content


def read_file(path: Path, limits: Limits = DEFAULT_LIMITS, remedy: str = AGAIN) -> bytes:
    """Returns the content of a file.

    Raises:
        InputError: there is no regular file that may be read, or it is larger than the limit.
    """
    with open_file(path, remedy) as file, naming(path, remedy):
        size = os.fstat(file.fileno()).st_size
        limits.check_bytes(size, "the file")
        return file.read(size)  # not the limit, as so much memory would be set aside for any small file
