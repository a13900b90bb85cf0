"""The camera of a clip: a window of the Kinect's picture that holds the whole motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_BODY_MARGIN = 0.13  # metres of body around the joints
_LARGEST_SHIFT = 0.03  # of the picture: how far the person is off its centre
_FREE = 1.10  # side of the picture, relative to the person's path in it


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at the origin, looking along z, with a square picture.

    Attributes:
        size: pixels per side.
        focal: focal length in pixels.
        centre: (x, y) of the optical axis, pixels from the upper left corner; it may be outside of the picture.
    """

    size: int
    focal: float
    centre: tuple[float, float]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixel coordinates (…, 2) of points (…, 3); the upper left pixel covers [0, 1) × [0, 1)."""
        x, y, z = np.moveaxis(points, -1, 0)
        return np.stack([self.centre[0] + self.focal * x / z, self.centre[1] - self.focal * y / z], axis=-1)

    def rays(self, samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """x/z of the columns and y/z of the rows, (size·samples,) each, for `samples`² rays per pixel."""
        positions = (np.arange(self.size * samples) + 0.5) / samples
        columns = (positions - self.centre[0]) / self.focal
        rows = (self.centre[1] - positions) / self.focal
        return columns.astype(np.float32), rows.astype(np.float32)


def frame_motion(skeletons: np.ndarray, size: int, random: np.random.Generator) -> Camera:
    """The static camera whose picture holds all joints of (L, 20, 3) skeletons with a margin for the body."""
    x, y, z = np.moveaxis(skeletons, -1, 0)
    margin = _BODY_MARGIN / z
    left, right = (x / z - margin).min(), (x / z + margin).max()
    low, high = (y / z - margin).min(), (y / z + 1.2 * margin).max()  # the head's top is above its joint
    side = _FREE * max(right - left, high - low)
    focal = size / side
    shift = random.uniform(-_LARGEST_SHIFT, _LARGEST_SHIFT, 2) * size
    centre = (size / 2 - focal * (left + right) / 2 + shift[0], size / 2 + focal * (low + high) / 2 + shift[1])
    return Camera(size, float(focal), (float(centre[0]), float(centre[1])))
