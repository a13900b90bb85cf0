"""Frames cut to the person: one square for a whole clip, so that motion stays motion.

Where the person is, is found in one of two ways: in depth without its background every reading is the person, and some
skeletons say where in the pictures their joints are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from data_prep.video.base import Frame, Source
from data_prep.video.depth import find_readings
from data_prep.video.opening import Limits, shown
from data_prep.video.skeleton_files import read_skeletons
from data_prep.video.skeletons import SKELETON, SkeletonFile
from dmcl_tf.errors import InputError

_SPECK = 0.01  # of the readings of a frame: smaller islands are noise
_ROOM = 0.5  # of the frame: where more has readings, the room is among them


@dataclass(frozen=True)
class Crop:
    """How frames are cut; its values are what `dataset.json` records.

    Attributes:
        found_in: the modality that says where the person is, depth or skeleton.
        margin: on every side, as a share of the box around the person. An eighth makes the box four fifths of the
            frame, which is what evaluation sees of it at compact scale.
        to: what frames are cut to.
    """

    found_in: str
    margin: float = 0.125
    to: str = "person"


class Box(NamedTuple):
    """Where the person is in all frames of a clip, in shares of their width and height."""

    left: float
    top: float
    right: float
    bottom: float


def find_boxes(sources: Mapping[str, Source], crop: Crop, limits: Limits) -> dict[str, Box]:
    """The box of each modality that is cut; skeletons are drawn around the person as they are.

    Raises:
        InputError: a modality has none, or nobody is found.
    """
    cut = [modality for modality in sources if modality != SKELETON]
    if not cut:
        return {}
    if crop.found_in not in sources:
        raise InputError(f"the person is found in {crop.found_in}, which is not given")
    source = sources[crop.found_in]
    if isinstance(source, SkeletonFile):
        places = {name: _around(xy) for name, xy in read_skeletons(source.path, limits).pictures.items()}
    else:
        places = {crop.found_in: _around_readings(source, limits)}
    for modality in cut:
        if modality not in places:
            raise InputError(
                f"{shown(source.files[0])}: it does not say where in the frames of {modality} the person is, so that "
                "they cannot be cut: leave --crop or that modality out"
            )
    return {modality: places[modality] for modality in cut}


def _around(places: np.ndarray) -> Box:
    seen = places[np.isfinite(places).all(axis=-1)]
    return Box(*np.clip(seen.min(axis=0), 0, 1).tolist(), *np.clip(seen.max(axis=0), 0, 1).tolist())


def _around_readings(source: Source, limits: Limits) -> Box:
    name, count, share = shown(source.files[0]), 0, 0.0
    union: np.ndarray | None = None
    for frame in _images(source, limits):
        readings = find_readings(frame.image)
        union = np.zeros_like(readings) if union is None else union
        if readings.shape != union.shape:
            raise InputError(f"{frame.where}: the frames differ in size, so that they cannot be cut alike")
        count, share = count + 1, share + readings.mean()
        union |= _without_specks(readings)
    if union is None or not union.any():
        raise InputError(f"{name}: there is no reading in any frame, and so nobody to cut frames to")
    if share / count > _ROOM:
        raise InputError(
            f"{name}: {100 * share / count:.0f} % of depth are readings, so that the room is among them and the person "
            "cannot be told from it: leave --crop out, or give depth without its background"
        )
    rows, columns = np.flatnonzero(union.any(axis=1)), np.flatnonzero(union.any(axis=0))
    height, width = union.shape
    return Box(columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height)


def _images(source: Source, limits: Limits) -> Iterator[Frame]:
    for frame in source.frames(limits):
        if isinstance(frame, Frame):  # the alignment warns of the others
            if frame.image.ndim != 2:
                raise InputError(f"{frame.where}: a colour image, in which readings cannot be told from their lack")
            yield frame


def _without_specks(readings: np.ndarray) -> np.ndarray:
    count, islands, sizes, _ = cv2.connectedComponentsWithStats(readings.astype(np.uint8), connectivity=8)
    large = sizes[:, cv2.CC_STAT_AREA] >= _SPECK * readings.sum()
    large[0] = False  # what is no island
    return large[islands] if count > 1 else readings


def cut(image: np.ndarray, box: Box, margin: float) -> np.ndarray:
    """The square around a box with a margin, the person in its middle; black, in depth no reading, beyond the image.

    Args:
        image: (H, W) or (H, W, 3).
        box: of the person.
        margin: as in `Crop`.
    """
    height, width = image.shape[:2]
    left, right, top, bottom = box.left * width, box.right * width, box.top * height, box.bottom * height
    side = max(2, round((1 + 2 * margin) * max(right - left, bottom - top)))
    x, y = round((left + right - side) / 2), round((top + bottom - side) / 2)
    inside = image[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)]
    square = np.zeros((side, side, *image.shape[2:]), image.dtype)
    row, column = max(-y, 0), max(-x, 0)
    square[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return square
