"""Files of skeletons → joints in one order, whatever the sensor and the data set call them.

Known are, by what they begin with: MATLAB files of UTD-MHAD (`d_skel`, 20 × 3 × T), JSON files of NW-UCLA's skeletons
(`skeletons`, T × 20 × 3), and the text files `.skeleton` of NTU RGB+D, which have 25 joints of up to six people and
also say where in the colour and depth pictures each joint is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data_prep.video.matlab import volume_frames, volume_length
from data_prep.video.opening import DEFAULT_LIMITS, Limits, naming, open_file, read_file, shown
from dmcl_tf.errors import InputError

# The joints of the first Kinect in its order
NUM_JOINTS = 20
HIP_CENTRE, SPINE, SHOULDER_CENTRE, HEAD = range(4)
LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP = 4, 8, 12, 16  # each followed by the three joints that hang on it

_OF_UTD_MHAD = (3, 2, 1, 0, *range(4, 20))  # Skeleton_joint_order.txt of the data set: from the head down
_OF_SECOND_KINECT = (0, 1, 20, 3, *range(4, 20))  # between the shoulders lies its 21st joint, not the neck
_VARIABLE = "d_skel"
_PICTURES = {"depth": (512, 424), "rgb": (1920, 1080)}  # width and height of NTU's, pixels
_BODY_VALUES, _JOINT_VALUES = 10, 12  # numbers that NTU's files say of a body and of a joint
_MOST_PEOPLE = 2  # NTU's actions are of one or two; more are furniture that was taken for people


@dataclass(frozen=True)
class Skeletons:
    """The skeletons of a video.

    Attributes:
        joints: (T, P, 20, 3) float64, metres: x across, y up, z away from the camera; not-a-number where a person is
            not seen. The first person is the one who is seen longest.
        pictures: where the file says so, the joints' places in the frames of a modality, (T, P, 20, 2) in shares of
            width and height.
    """

    joints: np.ndarray
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)


def read_skeletons(path: Path, limits: Limits = DEFAULT_LIMITS) -> Skeletons:
    """Reads a file of skeletons.

    Raises:
        InputError: it is of no known kind, cannot be read, or nobody is seen in it.
    """
    kind = _kind(path)
    if kind == "matlab":
        found = Skeletons(_read_matlab(path, limits))
    elif kind == "json":
        found = Skeletons(_check(path, load_skeletons(path, limits))[:, None])
    else:
        found = _read_ntu(path, limits)
    with naming(path):
        limits.check_frames(len(found.joints))
        if not np.isfinite(found.joints[:, 0, HIP_CENTRE]).any():
            raise InputError("nobody is seen in any of its frames; leave the video or the modality skeleton out")
    return found


def skeletons_length(path: Path) -> int:
    """The number of frames T; raises `InputError` as `read_skeletons`."""
    return volume_length(path, _VARIABLE) if _kind(path) == "matlab" else len(read_skeletons(path).joints)


def load_skeletons(path: Path, limits: Limits = DEFAULT_LIMITS) -> np.ndarray:
    """The array `skeletons` of a JSON file, float64 of any shape.

    Raises:
        InputError: it cannot be read, or has no such array.
    """
    text = read_file(path, limits)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error}); copy it again") from None
    if not isinstance(content, dict) or "skeletons" not in content:
        raise InputError(f"{path}: has no key 'skeletons'; expected a skeleton file of NW-UCLA")
    try:
        return np.asarray(content["skeletons"], dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{path}: 'skeletons' are not numbers of shape (frames, 20, 3)") from None


def _kind(path: Path) -> str:
    with open_file(path) as file, naming(path):
        start = file.read(128)
    if start[126:] in (b"IM", b"MI") or start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "matlab"
    if start.lstrip()[:1] == b"{":
        return "json"
    if start.split()[:1] and start.split()[0].isdigit():
        return "ntu"
    raise InputError(
        f"{shown(path)}: no file of skeletons; expected one of UTD-MHAD (.mat), NW-UCLA (.json) or NTU RGB+D "
        "(.skeleton)"
    )


def _check(path: Path, joints: np.ndarray) -> np.ndarray:
    """Skeletons (T, 20, 3), of which a joint that is no number is not seen."""
    if joints.ndim != 3 or joints.shape[1:] != (NUM_JOINTS, 3) or not len(joints):
        raise InputError(f"{shown(path)}: skeletons of the shape {joints.shape}; expected (frames, {NUM_JOINTS}, 3)")
    return np.where(np.isfinite(joints).all(axis=-1, keepdims=True), joints, np.nan)


def _read_matlab(path: Path, limits: Limits) -> np.ndarray:
    slices = [np.asarray(joints, np.float64) for joints in volume_frames(path, _VARIABLE, limits)]
    return _check(path, np.stack(slices))[:, None][:, :, _OF_UTD_MHAD]


def _read_ntu(path: Path, limits: Limits) -> Skeletons:
    """Every frame: the number of bodies; of each its id and nine more values, the number of joints, and twelve each."""
    words = read_file(path, limits).split()
    with naming(path, problem="not a readable file of NTU's skeletons"):
        numbers = np.array(words, np.float64)
        position = 1
        frames: list[dict[bytes, np.ndarray]] = []
        for _ in range(int(words[0])):
            bodies: dict[bytes, np.ndarray] = {}
            count, position = int(words[position]), position + 1
            for _ in range(count):
                start = position + _BODY_VALUES + 1
                joints = int(words[start - 1])
                end = start + joints * _JOINT_VALUES
                if end > len(words):
                    raise ValueError("it is cut off")
                bodies[words[position]] = numbers[start:end].reshape(joints, _JOINT_VALUES)[list(_OF_SECOND_KINECT)]
                position = end
            frames.append(bodies)
        if position != len(words):
            raise ValueError(f"{len(words) - position} numbers more than its frames have")
        seen = Counter(body for bodies in frames for body in bodies)
        people = [body for body, _ in seen.most_common(_MOST_PEOPLE)] or [b""]
        missing = np.full((NUM_JOINTS, _JOINT_VALUES), np.nan)
        values = np.array([[bodies.get(body, missing) for body in people] for bodies in frames])
        places = {"depth": values[..., 3:5], "rgb": values[..., 5:7]}
        return Skeletons(values[..., :3], {name: xy / _PICTURES[name] for name, xy in places.items()})
