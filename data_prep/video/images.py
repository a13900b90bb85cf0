"""Frames as image files: a list of them, or a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from data_prep.video.base import Frame
from data_prep.video.frames import NUMPY, check_header, read_image
from data_prep.video.opening import DEFAULT_LIMITS, Limits, naming, shown
from data_prep.video.series import choose_series, natural_order
from dmcl_tf.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".pgm", ".ppm", ".pnm", NUMPY)


@dataclass(frozen=True)
class ImageSequence:
    """Image files in temporal order."""

    paths: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The images."""
        return self.paths

    def frames(self, limits: Limits = DEFAULT_LIMITS) -> Iterator[Frame | InputError]:
        """Reads one image after the other."""
        for count, path in enumerate(self.paths, 1):
            with naming(path):
                limits.check_frames(count)
            try:
                yield Frame(shown(path), read_image(path, limits))
            except InputError as error:
                yield error

    def declared_length(self) -> int:
        """The number of files."""
        return len(self.paths)

    def lacking(self, found: int) -> int:
        """Nothing: every file counts."""
        return 0

    def problems(self) -> Iterator[str]:
        """Checks the header of each image."""
        for path in self.paths:
            try:
                check_header(path)
            except InputError as error:
                yield str(error)


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images; numbers in their names are sorted as numbers. It is listed when it is used.

    Attributes:
        path: the folder.
        pattern: of the file names to take; others are ignored.
        modality: whose images are taken where the folder holds those of several.
        root: the folder that no link among the images may leave; None where they may.
    """

    path: Path
    pattern: str = "*"
    modality: str = ""
    root: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The images, or the folder itself where it cannot be listed."""
        try:
            return self.sequence().paths
        except InputError:
            return (self.path,)

    def frames(self, limits: Limits = DEFAULT_LIMITS) -> Iterator[Frame | InputError]:
        """Reads one image after the other."""
        yield from self.sequence().frames(limits)

    def declared_length(self) -> int:
        """The number of images."""
        return len(self.sequence().paths)

    def lacking(self, found: int) -> int:
        """Nothing: every file counts."""
        return 0

    def problems(self) -> Iterator[str]:
        """Checks the header of each image."""
        try:
            yield from self.sequence().problems()
        except InputError as error:
            yield str(error)

    def sequence(self) -> ImageSequence:
        """The images as they are now; hidden files, such as the `._000.jpg` of macOS, are none.

        Raises:
            InputError: there is no such folder, it has no images, or they are of several kinds.
        """
        with naming(self.path, "expected a folder of frames"):
            try:
                with os.scandir(self.path) as entries:
                    names = {entry.name: entry.is_symlink() for entry in entries if not entry.name.startswith(".")}
            except NotADirectoryError:
                raise InputError("it is a file; expected a folder of frames") from None
            images = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES) and fnmatch(name, self.pattern)]
            if not images:
                raise InputError(self._without_images(list(names)))
            chosen = choose_series(images, self.modality) if self.pattern == "*" else sorted(images, key=natural_order)
            paths = tuple(self.path / name for name in chosen)
            for path in paths:
                if self.root and names[path.name] and not inside(path, self.root):
                    raise InputError(f"{path.name} is a link that leaves {self.root}; --allow_outside permits it")
            return ImageSequence(paths)

    def _without_images(self, names: list[str]) -> str:
        if self.pattern != "*":
            return f"no frames ({self.pattern}) in this folder; unpack it again"
        endings = sorted({os.path.splitext(name)[1].lower() for name in names} - {""})
        found = f"; it holds {', '.join(endings[:5])} files: convert them, for example with ffmpeg" if endings else ""
        inner = sorted(name for name in names if (self.path / name).is_dir())
        found = f"; it holds the folder {inner[0]}: name that, if they are there" if inner else found
        return f"no frames ({', '.join(IMAGE_SUFFIXES)}) in this folder{found or '; unpack it again'}"


def inside(path: Path, root: Path) -> bool:
    """Whether a path lies in a folder once all links are followed."""
    with naming(path):
        try:
            return root.resolve() in path.resolve().parents
        except RuntimeError:
            raise InputError("a link that leads to itself; expected a file") from None
