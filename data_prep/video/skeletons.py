"""Skeletons as pictures of three channels: a person's joints and limbs from the front, the side and above.

They are drawn in the person's own frame of reference, so that they depend neither on where the camera stands nor on how
large the person is: the origin is the hip's median place in the clip, the axis across leads from the left to the right
shoulder and hip as they lie in the mean, the second one upwards, and the unit is the person's height from head to
ankle. It is the frame of the whole clip: who walks, turns or sits down does so in the picture. Upwards is so for
the camera, as no file says how the camera is tilted: before a tilted one people lean in the view from the side.

    channel   across  up
    red       x       y    from the front
    green     z       y    from the side
    blue      x       z    from above

Left and right limbs are drawn alike. A picture that is mirrored then shows what the mirrored person would, but for the
side, where a mirrored person looks the same: `dmcl_tf.data.augmentation.mirror_skeleton` mirrors the others alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data_prep.video.base import Frame, SingleFile
from data_prep.video.opening import DEFAULT_LIMITS, Limits, naming, shown
from data_prep.video.skeleton_files import (
    HEAD,
    HIP_CENTRE,
    LEFT_HIP,
    LEFT_SHOULDER,
    NUM_JOINTS,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    SHOULDER_CENTRE,
    SPINE,
    read_skeletons,
    skeletons_length,
)
from dmcl_tf.errors import InputError

SKELETON = "skeleton"  # the modality
_SIZE = 256  # pixels of a side
_SHARE = 0.8  # of the picture that the motion fills: the centre, which evaluation sees at compact scale
_REACH = 0.75  # from the hip, in heights: feet below and hands over the head; more where somebody walks farther
_MOTION = 99  # percent of the joints' places that the picture holds; beyond are tracking errors
_LIMB, _JOINT = 170, 255  # grey levels
_THICKNESS, _RADIUS = 7, 6  # pixels
_FRACTION = 4  # bits of a pixel's fraction in OpenCV's coordinates
_VIEWS = ((0, 2), (2, 1), (0, 1))  # axes across and up of blue, green, red

_CHAINS = (
    (HIP_CENTRE, SPINE, SHOULDER_CENTRE, HEAD),
    *((SHOULDER_CENTRE, *range(first, first + 4)) for first in (LEFT_SHOULDER, RIGHT_SHOULDER)),
    *((HIP_CENTRE, *range(first, first + 4)) for first in (LEFT_HIP, RIGHT_HIP)),
)
LIMBS = tuple(limb for chain in _CHAINS for limb in zip(chain, chain[1:]))

# what a record of such pictures says of them
DRAWN = {"views": ["front", "side", "above"], "reach": _REACH, "share": _SHARE}


@dataclass(frozen=True)
class SkeletonFile(SingleFile):
    """The pictures of the skeletons in a file, as a `Source`.

    Attributes:
        path: of a kind that `skeleton_files` reads.
    """

    path: Path

    def frames(self, limits: Limits = DEFAULT_LIMITS) -> Iterator[Frame]:
        """Yields a picture (256, 256, 3) uint8 for each frame; black where nobody is seen."""
        skeletons = read_skeletons(self.path, limits)
        with naming(self.path):
            joints = own_frame(skeletons.joints)
        for index, people in enumerate(joints):
            yield Frame(f"{shown(self.path)}, frame {index}", draw(people))

    def declared_length(self) -> int:
        """The number of frames."""
        return skeletons_length(self.path)


def own_frame(joints: np.ndarray) -> np.ndarray:
    """Joints in the first person's frame of reference, scaled so that the motion reaches from -1 to 1.

    Args:
        joints: (T, P, 20, 3) metres, y up; not-a-number where a person is not seen.

    Returns:
        (T, P, 20, 3): across, up, and at right angles to both.

    Raises:
        InputError: the person has no height, or nobody is seen. The message names no file.
    """
    seen = joints[:, 0][np.isfinite(joints[:, 0]).all(axis=(1, 2))]
    if not len(seen):
        raise InputError("nobody is seen whole in any of its frames")
    lengths = {limb: np.median(np.linalg.norm(seen[:, limb[0]] - seen[:, limb[1]], axis=-1)) for limb in LIMBS}
    trunk = sum(lengths[limb] for limb in zip(_CHAINS[0], _CHAINS[0][1:]))
    legs = sum(lengths[limb] for chain in _CHAINS[3:] for limb in list(zip(chain, chain[1:]))[1:3]) / 2
    height = trunk + legs
    if not height > 0:
        raise InputError("all joints are at one place, so that the person has no height")
    lines = seen[:, [RIGHT_SHOULDER, RIGHT_HIP]] - seen[:, [LEFT_SHOULDER, LEFT_HIP]]
    across = lines.sum(axis=1).mean(axis=0) * (1, 0, 1)
    length = np.linalg.norm(across)
    across = across / length if length > 1e-3 * height else np.array([1.0, 0.0, 0.0])  # it turned round and round
    up = np.array([0.0, 1.0, 0.0])
    axes = np.stack([across, up, np.cross(across, up)])
    own = (joints - np.median(seen[:, HIP_CENTRE], axis=0)) @ axes.T / height
    reach = np.percentile(np.abs(own[np.isfinite(own)]), _MOTION)
    return own / max(_REACH, reach)


def draw(people: np.ndarray) -> np.ndarray:
    """Draws people (P, 20, 3), as `own_frame` returns them; a picture (256, 256, 3) uint8, blue, green, red."""
    picture = np.zeros((3, _SIZE, _SIZE), np.uint8)
    for person in people:
        for channel, axes in zip(picture, _VIEWS):
            places = _SIZE / 2 + _SIZE / 2 * _SHARE * person[:, axes] * (1, -1) - 0.5
            there = np.isfinite(places).all(axis=1)
            points = np.rint(np.where(there[:, None], np.clip(places, -_SIZE, 2 * _SIZE), 0) * 2**_FRACTION).astype(int)
            for start, end in LIMBS:
                if there[start] and there[end]:
                    ends = (points[start].tolist(), points[end].tolist())
                    cv2.line(channel, *ends, _LIMB, _THICKNESS, cv2.LINE_AA, _FRACTION)
            for joint in range(NUM_JOINTS):
                if there[joint]:
                    place, radius = points[joint].tolist(), _RADIUS * 2**_FRACTION
                    cv2.circle(channel, place, radius, _JOINT, cv2.FILLED, cv2.LINE_AA, _FRACTION)
    return np.ascontiguousarray(picture.transpose(1, 2, 0))
