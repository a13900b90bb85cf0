"""Depth images → the 8 bits that JPEG records hold.

Sensors give millimetres in 16 bits, with 0 where there was no reading. How the authors brought them to 8 bits is not
released, so the ways to do it have names:

    as_is     8-bit images stay as they are (NW-UCLA's `depth_vis.jpg`); 16-bit images are refused.
    clip_mm   near … far, in millimetres, become 16 … 255; what lies outside is clipped. 0 stays no reading.
    per_clip  the same, with the nearest and the farthest reading of the clip as near and far: no flag to choose, but
              distances of different clips cannot be compared.
    jet       the levels of clip_mm (of 8-bit images: their own) in OpenCV's jet colours; no reading is black.

The gap between 0 and 16 is wider than the noise of JPEG at quality 95, so that no reading is told from near after
decoding too. For the same end frames are shrunk by averaging the readings alone: an average with 0 would be a distance
that nothing has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import cv2
import numpy as np

from data_prep.video.frames import resize
from dmcl_tf.errors import InputError

WIDE_COLOR = "colour of more than 8 bits per channel: convert the frames to 8 bits, 0 to 255 (uint8)"
MODES = ("as_is", "clip_mm", "per_clip", "jet")
NEAREST = 16  # the level of a reading at `near`
_NO_READING = 0


@dataclass(frozen=True)
class DepthSettings:
    """How depth becomes 8 bits.

    Attributes:
        mode: a name in `MODES`.
        near: in millimetres, for clip_mm and jet.
        far: in millimetres.
    """

    mode: str = "as_is"
    near: float = 500.0  # the Kinect v2 sees no nearer
    far: float = 5000.0  # where the display code of NTU RGB+D (show_skeleton_on_depthmaps.m) clips

    def to_json(self) -> dict[str, object]:
        """The mode, and its range where it has one."""
        return asdict(self) if self.mode in ("clip_mm", "jet") else {"mode": self.mode}


def encode_depth(
    image: np.ndarray, size: int, settings: DepthSettings, clip_range: tuple[float, float] | None = None
) -> np.ndarray:
    """Brings one depth image to 8 bits and `size`; the only place where depth is converted.

    Args:
        image: `(H, W)` of any number type, 0 or not-a-number where there is no reading; `as_is` also `(H, W, 3)`.
        size: height and width in pixels.
        settings: the mode and its range.
        clip_range: nearest and farthest reading of the clip, from `reading_range`; for `per_clip` alone.

    Returns:
        `(size, size)` uint8, or `(size, size, 3)` (blue, green, red) from `jet` and from colour images as they are.

    Raises:
        InputError: the image does not fit the mode. The message names no file, which the caller does.
    """
    is_bytes = image.dtype == np.uint8
    if settings.mode == "as_is":
        if not is_bytes and image.ndim == 3:
            raise InputError(WIDE_COLOR)
        if not is_bytes:
            raise InputError(
                f"an image of {8 * image.dtype.itemsize} bits per pixel, but as_is takes 8: choose "
                f"--depth_mode={'|'.join(MODES[1:])} when the records are made, or convert it"
            )
        return resize(image, size)
    if image.ndim != 2 and not is_bytes:
        raise InputError(WIDE_COLOR)
    if image.ndim != 2:
        raise InputError(f"a colour image, but --depth_mode={settings.mode} takes grey ones: choose --depth_mode=as_is")
    if is_bytes and settings.mode == "clip_mm":
        raise InputError(
            "an image of 8 bits per pixel holds no millimetres: choose --depth_mode=as_is, per_clip or jet"
        )
    readings = _readings(image)
    if settings.mode == "per_clip":
        levels = _levels(readings, *(clip_range or (0.0, 0.0)))
    elif is_bytes:
        levels = readings
    else:
        levels = _levels(readings, settings.near, settings.far)
    levels = _shrink_readings(levels, size)
    if settings.mode != "jet":
        return levels
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_JET)
    colours[levels == _NO_READING] = 0
    return colours


def reading_range(images: Iterable[np.ndarray]) -> tuple[float, float]:
    """The smallest and the largest reading of a clip; (0, 0) where there is none."""
    near, far = np.inf, 0.0
    for image in images:
        readings = _readings(image)
        readings = readings[readings > 0]
        if readings.size:
            near, far = min(near, float(readings.min())), max(far, float(readings.max()))
    return (near, far) if far else (0.0, 0.0)


def find_readings(image: np.ndarray) -> np.ndarray:
    """Where an image `(H, W)` has readings, bool; in 8 bits the lowest levels are the noise of decoding."""
    return _readings(image) > (NEAREST // 2 if image.dtype == np.uint8 else _NO_READING)


def _readings(image: np.ndarray) -> np.ndarray:
    """The image with 0 for everything that is no reading."""
    if np.issubdtype(image.dtype, np.floating):
        image = np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
    return np.maximum(image, 0)


def _levels(readings: np.ndarray, near: float, far: float) -> np.ndarray:
    share = (np.clip(readings, near, far).astype(np.float32) - near) / max(far - near, 1e-6)
    levels = np.rint(NEAREST + share * (255 - NEAREST)).astype(np.uint8)
    return np.where(readings > 0, levels, np.uint8(_NO_READING))


def _shrink_readings(levels: np.ndarray, size: int) -> np.ndarray:
    """Resizes by averaging the readings under each pixel; a pixel that is for the most part without one has none."""
    there = resize((levels > 0).astype(np.float32), size)
    average = resize(levels.astype(np.float32), size) / np.maximum(there, 1e-6)
    return np.where(there >= 0.5, np.rint(np.minimum(average, 255)), _NO_READING).astype(np.uint8)
