"""What one modality of one raw video is made of: image files, a folder of them, a video file or a MATLAB volume.

Every kind has the interface of `Source` and decodes one frame after the other, so that memory is bounded by a few
frames however long the video is.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from data_prep.video.frames import check_header, read_image
from data_prep.video.matlab import volume_frames, volume_length
from dmcl_tf.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_LOG_ERRORS = 2  # OpenCV's number for errors without warnings
_VIDEO_THREADS = 1  # videos are decoded in parallel processes

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # a damaged video gets one line, not the decoder's many


class Frame(NamedTuple):
    """One decoded image, `(H, W)` or `(H, W, 3)` (blue, green, red) of any number type, and where it is from."""

    where: str
    image: np.ndarray


class Source(Protocol):
    """The frames of one modality of one video, in temporal order."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The raw files; they may be missing."""

    def frames(self) -> Iterator[Frame | InputError]:
        """Yields every frame, or in its place why that one cannot be read.

        Raises:
            InputError: nothing can be read.
        """

    def declared_length(self) -> int | None:
        """The number of frames that there should be, known without decoding any; None where nothing says so.

        Raises:
            InputError: the file cannot be opened.
        """

    def problems(self) -> Iterator[str]:
        """Yields a line for each file that is unusable by its size and first bytes alone; decodes nothing."""


@dataclass(frozen=True)
class ImageSequence:
    """Image files in temporal order."""

    paths: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The images."""
        return self.paths

    def frames(self) -> Iterator[Frame | InputError]:
        """Reads one image after the other."""
        for path in self.paths:
            try:
                yield Frame(str(path), read_image(path))
            except InputError as error:
                yield error

    def declared_length(self) -> int:
        """The number of files."""
        return len(self.paths)

    def problems(self) -> Iterator[str]:
        """Checks the header of each image."""
        for path in self.paths:
            try:
                check_header(path)
            except InputError as error:
                yield str(error)


@dataclass(frozen=True)
class ImageFolder:
    """A folder of JPEG or PNG images; numbers in their names are sorted as numbers. It is listed when it is used.

    Attributes:
        path: the folder.
        pattern: of the file names to take; others are ignored.
    """

    path: Path
    pattern: str = "*"

    @property
    def files(self) -> tuple[Path, ...]:
        """The images, or the folder itself where it cannot be listed."""
        try:
            return self._sequence().paths
        except InputError:
            return (self.path,)

    def frames(self) -> Iterator[Frame | InputError]:
        """Reads one image after the other."""
        yield from self._sequence().frames()

    def declared_length(self) -> int:
        """The number of images."""
        return len(self._sequence().paths)

    def problems(self) -> Iterator[str]:
        """Checks the header of each image."""
        try:
            yield from self._sequence().problems()
        except InputError as error:
            yield str(error)

    def _sequence(self) -> ImageSequence:
        try:
            names = os.listdir(self.path)
        except NotADirectoryError:
            raise InputError(f"{self.path}: it is a file; expected a folder of frames") from None
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror}; expected a folder of frames") from error
        images = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES) and fnmatch(name, self.pattern)]
        if not images:
            kind = ", ".join(IMAGE_SUFFIXES) if self.pattern == "*" else self.pattern
            raise InputError(f"{self.path}: no frames ({kind}) in this folder; unpack it again")
        return ImageSequence(tuple(self.path / name for name in sorted(images, key=natural_order)))


def natural_order(name: str) -> tuple[tuple[int, str] | tuple[int, int, str], ...]:
    """A sorting key by which frame 9 comes before frame 10."""
    parts = re.split(r"(\d+)", name)
    return tuple((1, int(part), part) if position % 2 else (0, part) for position, part in enumerate(parts))


@dataclass(frozen=True)
class VideoFile:
    """A video that OpenCV can decode."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The video."""
        return (self.path,)

    def frames(self) -> Iterator[Frame]:
        """Decodes one frame after the other until the decoder gives no more."""
        capture = self._open()
        try:
            count = 0
            while True:
                decoded, image = capture.read()
                if not decoded:
                    break
                yield Frame(f"{self.path}, frame {count}", image)
                count += 1
        finally:
            capture.release()
        if not count:
            raise InputError(f"{self.path}: no frame can be decoded; copy or download it again")

    def declared_length(self) -> int | None:
        """The container's number of frames."""
        capture = self._open()
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        return count if count > 0 else None

    def problems(self) -> Iterator[str]:
        """Opens the container."""
        try:
            self._open().release()
        except InputError as error:
            yield str(error)

    def _open(self) -> cv2.VideoCapture:
        check_file(self.path)
        # an absolute path, as "a:b.avi" would be taken for a protocol; named, as other backends read "%d" in names
        location = str(self.path.absolute())
        level = cv2.setLogLevel(_LOG_ERRORS)  # it would warn of what is named below
        try:
            capture = cv2.VideoCapture(location, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, _VIDEO_THREADS])
        finally:
            cv2.setLogLevel(level)
        if not capture.isOpened():
            capture.release()
            raise InputError(f"{self.path}: not a video that can be decoded; copy or download it again")
        return capture


@dataclass(frozen=True)
class MatVolume:
    """A MATLAB file with a volume H × W × T, T grey frames.

    Attributes:
        path: the file, of format 5 or 7.3.
        variable: the name of the volume.
    """

    path: Path
    variable: str = "curFrame"

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    def frames(self) -> Iterator[Frame]:
        """Yields one slice after the other; format 7.3 is read slice by slice, format 5 only as a whole."""
        check_file(self.path)
        for index, image in enumerate(volume_frames(self.path, self.variable)):
            yield Frame(f"{self.path}, frame {index}", image)

    def declared_length(self) -> int:
        """T."""
        check_file(self.path)
        return volume_length(self.path, self.variable)

    def problems(self) -> Iterator[str]:
        """Reads the header."""
        try:
            self.declared_length()
        except InputError as error:
            yield str(error)


def check_file(path: Path) -> None:
    """Checks that there is a file with something in it that may be read.

    Raises:
        InputError: there is not.
    """
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except IsADirectoryError:
        raise InputError(f"{path}: it is a folder; expected a file") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; copy or download it again") from error
    if empty:
        raise InputError(f"{path}: the file is empty; copy or download it again")


def open_source(path: Path) -> Source:
    """The source that fits a path: a folder of frames, a MATLAB volume (`.mat`), or else a video file.

    Raises:
        InputError: the path does not exist, may not be seen, or is a single image.
    """
    try:
        kind = path.stat().st_mode
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a video file or a folder of frames") from error
    if stat.S_ISDIR(kind):
        return ImageFolder(path)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(f"{path}: a single image; expected a video file or a folder of frames")
    return MatVolume(path) if path.suffix.lower() == ".mat" else VideoFile(path)
