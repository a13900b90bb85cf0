"""From a pose in a few numbers to the 20 Kinect joints: forward kinematics for the trunk, two-bone inverse for limbs.

The world is the camera's kind of frame: metres, y up, floor at y = 0; at yaw 0 a person faces −z with their right
at +x.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Lengths are in leg lengths for pelvis and feet, in arm lengths for hands; angles in degrees.
# Hands are relative to their own shoulder, feet to the point on the floor where the person stands, both as
# (outwards, up, forward) in axes that turn with the person's heading but do not lean.
_GROUPS = {
    "pelvis": (0.0, 0.995, 0.0),  # to the right, height of the hips, forward
    "pelvis_pitch": (0.0,),  # forward
    "yaw": (0.0,),  # heading, to the right
    "lean": (3.0,),  # of the trunk against the pelvis, forward
    "bend": (0.0,),  # of the trunk to the right
    "twist": (0.0,),  # of the shoulders against the pelvis, to the right
    "nod": (0.0,),
    "left_hand": (0.12, -0.95, 0.06),
    "right_hand": (0.12, -0.95, 0.06),
    "left_foot": (0.11, 0.0, 0.0),
    "right_foot": (0.11, 0.0, 0.0),
    "swing": (0.0,),  # how much arms swing with the legs
}
_SLICES: dict[str, slice] = {}
for _name, _values in _GROUPS.items():
    _first = sum(len(_GROUPS[name]) for name in _SLICES)
    _SLICES[_name] = slice(_first, _first + len(_values))
_STANDING = np.concatenate([np.array(values) for values in _GROUPS.values()])

# Joint limits, degrees
_LIMITS = {"pelvis_pitch": (-15, 60), "lean": (-25, 75), "bend": (-30, 30), "twist": (-50, 50), "nod": (-30, 40)}
_ELBOW = (35.0, 170.0)  # inner angle
_KNEE = (50.0, 176.0)

Pose = Mapping[str, Any]  # joints: (x, y, z); angles and the like: one number
Keyframes = Sequence[tuple[float, Pose]]


@dataclass(frozen=True)
class Bones:
    """Lengths of one person's bones in metres."""

    spine: float  # hip centre to spine
    trunk: float  # spine to shoulder centre
    neck: float  # shoulder centre to head
    shoulder: float  # shoulder centre to shoulder, sideways
    upper_arm: float
    forearm: float
    hand: float
    hip: float  # hip centre to hip, sideways
    thigh: float
    shank: float
    ankle: float  # height over the floor
    foot: float

    @property
    def arm(self) -> float:
        """Shoulder to wrist."""
        return self.upper_arm + self.forearm

    @property
    def leg(self) -> float:
        """Hip to ankle."""
        return self.thigh + self.shank


def pose_vector(pose: Pose) -> np.ndarray:
    """A pose as one vector: the given fields, standing upright in all others."""
    vector = _STANDING.copy()
    for name, value in pose.items():
        vector[_SLICES[name]] = value
    return vector


def field(vector: np.ndarray, name: str) -> np.ndarray:
    """A view of one field of pose vectors (…, D)."""
    return vector[..., _SLICES[name]]


def interpolate(keyframes: Keyframes, times: np.ndarray) -> np.ndarray:
    """Pose vectors (L, D) at `times` 0 … 1, easing in and out of every keyframe."""
    at = np.array([time for time, _ in keyframes])
    vectors = np.stack([pose_vector(pose) for _, pose in keyframes])
    after = np.clip(np.searchsorted(at, times, side="right"), 1, len(at) - 1)
    share = np.clip((times - at[after - 1]) / (at[after] - at[after - 1]), 0, 1)
    share = (share * share * (3 - 2 * share))[:, None]
    return vectors[after - 1] * (1 - share) + vectors[after] * share


def _rotation(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """Columns right, up, back of axes turned right by `yaw`, leaned forward by `pitch`, bent right by `roll`."""
    p, y, r = np.radians([-pitch, -yaw, -roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


def _limb(
    root: np.ndarray, target: np.ndarray, lengths: tuple[float, float], pole: np.ndarray, limits: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Middle and end of two bones that reach for `target`, bent towards `pole`, inner angle within `limits`."""
    first, second = lengths
    shortest, longest = np.sqrt(first**2 + second**2 - 2 * first * second * np.cos(np.radians(limits)))
    reach = target - root
    distance = max(float(np.linalg.norm(reach)), 1e-6)
    direction = reach / distance
    distance = float(np.clip(distance, shortest, longest))
    side = pole - (pole @ direction) * direction
    side /= max(float(np.linalg.norm(side)), 1e-6)
    cosine = (first**2 + distance**2 - second**2) / (2 * first * distance)
    middle = root + first * (cosine * direction + np.sqrt(max(0.0, 1 - cosine**2)) * side)
    return middle, root + distance * direction


def joints(vector: np.ndarray, bones: Bones, origin: np.ndarray) -> np.ndarray:
    """The (20, 3) joints of one pose.

    The pelvis is lowered until both feet reach their places, so feet never leave the floor unless lifted.

    Args:
        vector: (D,) pose.
        bones: the person.
        origin: (3,) metres, the point on the floor that feet and pelvis are relative to.
    """
    value = {name: vector[part] for name, part in _SLICES.items()}
    for name, (low, high) in _LIMITS.items():
        value[name] = np.clip(value[name], low, high)
    pitch, yaw, lean, twist = (float(value[name][0]) for name in ("pelvis_pitch", "yaw", "lean", "twist"))
    heading = _rotation(0, yaw, 0)
    right, up, back = heading.T
    pelvis_axes = _rotation(pitch, yaw, 0)
    chest_axes = _rotation(pitch + lean, yaw + twist, float(value["bend"][0]))
    middle_axes = _rotation(pitch + 0.6 * lean, yaw + 0.5 * twist, float(value["bend"][0]) * 0.6)
    head_axes = _rotation(0.6 * (pitch + lean) + float(value["nod"][0]), yaw + twist, 0)

    ankles = [
        origin + bones.leg * (sign * foot[0] * right + foot[1] * up - foot[2] * back) + bones.ankle * up
        for sign, foot in ((-1, value["left_foot"]), (1, value["right_foot"]))
    ]
    sideways, height, forward = value["pelvis"] * bones.leg
    centre = origin + sideways * right + (height + bones.ankle) * up - forward * back
    hips = [centre + pelvis_axes @ (sign * bones.hip, -0.03, 0) for sign in (-1, 1)]
    bent_knee = np.cos(np.radians(_KNEE[1]))
    longest2 = bones.thigh**2 + bones.shank**2 - 2 * bones.thigh * bones.shank * bent_knee
    drop = 0.0
    for hip, ankle in zip(hips, ankles):
        across2 = (hip[0] - ankle[0]) ** 2 + (hip[2] - ankle[2]) ** 2
        drop = max(drop, hip[1] - ankle[1] - np.sqrt(max(longest2 - across2, 0.01)))
    centre = centre - drop * up
    hips = [hip - drop * up for hip in hips]

    spine = centre + bones.spine * pelvis_axes[:, 1]
    neck = spine + bones.trunk * (0.5 * middle_axes[:, 1] + 0.5 * chest_axes[:, 1])
    head = neck + bones.neck * head_axes[:, 1] - 0.03 * head_axes[:, 2]
    result = [centre, spine, neck, head]
    shoulder_axes = _rotation(0, yaw + 0.7 * twist, 0)
    for sign, hand in ((-1, value["left_hand"]), (1, value["right_hand"])):
        shoulder = neck + chest_axes @ (sign * bones.shoulder, -0.07, 0)
        target = shoulder + bones.arm * (shoulder_axes @ (sign * hand[0], hand[1], -hand[2]))
        pole = shoulder_axes @ (0.5 * sign, -0.6, 0.6)
        elbow, wrist = _limb(shoulder, target, (bones.upper_arm, bones.forearm), pole, _ELBOW)
        along = (wrist - elbow) / np.linalg.norm(wrist - elbow)
        result += [shoulder, elbow, wrist, wrist + bones.hand * along]
    for sign, hip, ankle in ((-1, hips[0], ankles[0]), (1, hips[1], ankles[1])):
        knee, end = _limb(hip, ankle, (bones.thigh, bones.shank), 0.15 * sign * right - back, _KNEE)
        lift = max(0.0, ankle[1] - bones.ankle - origin[1])
        toe_down = np.clip(0.35 + 2.0 * lift / bones.leg, 0, 0.9)
        direction = np.sqrt(1 - toe_down**2) * (-back + 0.2 * sign * right) - toe_down * up
        result += [hip, knee, end, end + bones.foot * direction / np.linalg.norm(direction)]
    return np.stack(result)
