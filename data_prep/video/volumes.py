"""Volumes: all frames of a video in one array, in a MATLAB or a NumPy file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.video.base import Frame, SingleFile
from data_prep.video.frames import array_image, open_array
from data_prep.video.matlab import volume_frames, volume_length
from data_prep.video.opening import DEFAULT_LIMITS, Limits, naming, shown
from dmcl_tf.errors import InputError


@dataclass(frozen=True)
class MatVolume(SingleFile):
    """A MATLAB file with a volume H × W × T, T grey frames.

    Attributes:
        path: the file, of format 5 or 7.3.
        variable: the name of the volume; None for the only one.
    """

    path: Path
    variable: str | None = None

    def frames(self, limits: Limits = DEFAULT_LIMITS) -> Iterator[Frame]:
        """Yields one slice after the other; each is read when its turn comes."""
        for index, image in enumerate(volume_frames(self.path, self.variable, limits)):
            yield Frame(f"{shown(self.path)}, frame {index}", array_image(image))

    def declared_length(self) -> int:
        """T."""
        return volume_length(self.path, self.variable)


@dataclass(frozen=True)
class NumpyVolume(SingleFile):
    """A NumPy file with an array T × H × W, or T × H × W × 3 in the order red, green, blue."""

    path: Path

    def frames(self, limits: Limits = DEFAULT_LIMITS) -> Iterator[Frame]:
        """Yields one slice after the other; the file is mapped, not loaded."""
        volume = self._open()
        with naming(self.path):
            limits.check_image(volume.shape[2], volume.shape[1])
            limits.check_frames(len(volume))
            for index, image in enumerate(volume):
                image = image[..., 0] if image.shape[2:] == (1,) else image
                yield Frame(f"{shown(self.path)}, frame {index}", array_image(image))

    def declared_length(self) -> int:
        """T."""
        return len(self._open())

    def _open(self) -> np.ndarray:
        volume = open_array(self.path)
        if volume.ndim not in (3, 4) or volume.shape[3:] not in ((), (1,), (3,)):
            raise InputError(
                f"{shown(self.path)}: an array of the shape {volume.shape}; expected frames × height × width, or × 3"
            )
        return volume
