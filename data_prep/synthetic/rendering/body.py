"""A person made of capsules, hung on the 20 Kinect joints.

Coordinates are those of the skeletons: metres in the camera's frame, x to the right of the picture, y up, z into it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmcl_tf.errors import InputError

NUM_JOINTS = 20
HIP_CENTRE, SPINE, SHOULDER_CENTRE, HEAD = range(4)
LEFT_SHOULDER, LEFT_ELBOW, LEFT_WRIST, LEFT_HAND = range(4, 8)
RIGHT_SHOULDER, RIGHT_ELBOW, RIGHT_WRIST, RIGHT_HAND = range(8, 12)
LEFT_HIP, LEFT_KNEE, LEFT_ANKLE, LEFT_FOOT = range(12, 16)
RIGHT_HIP, RIGHT_KNEE, RIGHT_ANKLE, RIGHT_FOOT = range(16, 20)

MATERIALS = ("skin", "hair", "shirt", "trousers", "shoes")

# Joint → (parent, longest bone believed, metres). Longer bones are tracking errors and are shortened.
_BONES = {
    SPINE: (HIP_CENTRE, 0.20),
    SHOULDER_CENTRE: (SPINE, 0.50),
    HEAD: (SHOULDER_CENTRE, 0.28),
    LEFT_SHOULDER: (SHOULDER_CENTRE, 0.28),
    LEFT_ELBOW: (LEFT_SHOULDER, 0.40),
    LEFT_WRIST: (LEFT_ELBOW, 0.38),
    LEFT_HAND: (LEFT_WRIST, 0.15),
    RIGHT_SHOULDER: (SHOULDER_CENTRE, 0.28),
    RIGHT_ELBOW: (RIGHT_SHOULDER, 0.40),
    RIGHT_WRIST: (RIGHT_ELBOW, 0.38),
    RIGHT_HAND: (RIGHT_WRIST, 0.15),
    LEFT_HIP: (HIP_CENTRE, 0.16),
    LEFT_KNEE: (LEFT_HIP, 0.62),
    LEFT_ANKLE: (LEFT_KNEE, 0.52),
    LEFT_FOOT: (LEFT_ANKLE, 0.16),
    RIGHT_HIP: (HIP_CENTRE, 0.16),
    RIGHT_KNEE: (RIGHT_HIP, 0.62),
    RIGHT_ANKLE: (RIGHT_KNEE, 0.52),
    RIGHT_FOOT: (RIGHT_ANKLE, 0.16),
}
_NEAREST, _FARTHEST = 0.5, 10.0  # metres: where a joint can be


@dataclass(frozen=True)
class _Part:
    """One capsule: its ends as weighted joints plus an offset (right, up, back) in metres, and its radius."""

    name: str
    start: dict[int, float]
    end: dict[int, float]
    radius: float
    material: str
    rest: tuple[float, float, float]  # direction of the axis in the body's frame at rest; never its opposite
    start_offset: tuple[float, float, float] = (0, 0, 0)
    end_offset: tuple[float, float, float] = (0, 0, 0)


def _limbs() -> list[_Part]:
    parts = []
    for side, sign, first_arm, first_leg in (
        ("left", -1, LEFT_SHOULDER, LEFT_HIP),
        ("right", 1, RIGHT_SHOULDER, RIGHT_HIP),
    ):
        shoulder, elbow, wrist, hand = range(first_arm, first_arm + 4)
        hip, knee, ankle, foot = range(first_leg, first_leg + 4)
        arm, leg = (0.6 * sign, -0.6, -0.5), (0.0, -1.0, -0.3)
        parts += [
            _Part(
                f"{side} flank",
                {shoulder: 0.62, SHOULDER_CENTRE: 0.38},
                {hip: 1},
                0.098,
                "shirt",
                (0, -1, 0),
                (0, -0.06, 0),
                (0.025 * sign, 0.09, 0),
            ),
            _Part(f"{side} upper arm", {shoulder: 1}, {elbow: 1}, 0.056, "shirt", arm),
            _Part(f"{side} forearm", {elbow: 1}, {wrist: 1}, 0.044, "skin", arm),
            _Part(f"{side} hand", {wrist: 1}, {hand: 1}, 0.042, "skin", arm),
            _Part(f"{side} thigh", {hip: 1}, {knee: 1}, 0.083, "trousers", leg),
            _Part(f"{side} shank", {knee: 1}, {ankle: 1}, 0.059, "trousers", leg),
            _Part(
                f"{side} foot",
                {ankle: 1},
                {foot: 1},
                0.048,
                "shoes",
                (0, -0.6, -0.8),
                (0, -0.03, 0.02),
                (0, -0.02, -0.05),
            ),
        ]
    return parts


_PARTS = [
    _Part("head", {HEAD: 0.95, SHOULDER_CENTRE: 0.05}, {HEAD: 1}, 0.098, "skin", (0, 1, 0), end_offset=(0, 0.05, 0)),
    _Part("hair", {HEAD: 1}, {HEAD: 1}, 0.098, "hair", (0, 1, 0), (0, 0.015, 0.035), (0, 0.068, 0.018)),
    _Part("neck", {SHOULDER_CENTRE: 1}, {HEAD: 1}, 0.055, "skin", (0, 1, 0)),
    _Part("shoulders", {LEFT_SHOULDER: 0.9, SHOULDER_CENTRE: 0.1}, {RIGHT_SHOULDER: 0.9, SHOULDER_CENTRE: 0.1}, 0.078,
          "shirt", (1, 0, 0), (0, -0.03, 0), (0, -0.03, 0)),
    _Part("trunk", {SHOULDER_CENTRE: 1}, {HIP_CENTRE: 1}, 0.118, "shirt", (0, -1, 0), (0, -0.11, 0), (0, 0.05, 0)),
    _Part("pelvis", {LEFT_HIP: 1}, {RIGHT_HIP: 1}, 0.105, "trousers", (1, 0, 0), (-0.015, 0.02, 0), (0.015, 0.02, 0)),
    *_limbs(),
]  # fmt: skip

PART_MATERIALS = np.array([MATERIALS.index(part.material) for part in _PARTS])
_RADII = np.array([part.radius for part in _PARTS])
_REST = np.array([part.rest for part in _PARTS], float)
_REST /= np.linalg.norm(_REST, axis=1, keepdims=True)


def _weights(ends: list[dict[int, float]]) -> np.ndarray:
    weights = np.zeros((len(ends), NUM_JOINTS))
    for row, end in zip(weights, ends):
        for joint, weight in end.items():
            row[joint] = weight
    return weights


_START_WEIGHTS, _END_WEIGHTS = _weights([part.start for part in _PARTS]), _weights([part.end for part in _PARTS])
_START_OFFSETS = np.array([part.start_offset for part in _PARTS], float)
_END_OFFSETS = np.array([part.end_offset for part in _PARTS], float)


@dataclass(frozen=True)
class Capsules:
    """The K capsules of one person at one moment.

    Attributes:
        start: (K, 3) metres, one end of each axis.
        axis: (K, 3) metres, from there to the other end; never zero.
        radius: (K,) metres.
        frame: (K, 3, 3) rotations from each capsule's own coordinates to the camera's; they follow the body, so a
            point fixed in them is a point fixed on the surface.
    """

    start: np.ndarray
    axis: np.ndarray
    radius: np.ndarray
    frame: np.ndarray


def clean_skeletons(skeletons: object) -> np.ndarray:
    """Checks skeletons and mends tracking errors.

    Frames with a joint that is not finite, or not between half a metre and ten metres in front of the camera, or
    with all joints in one place, are replaced by the nearest good frame; bones that are too long are shortened.

    Args:
        skeletons: (L, 20, 3) metres, anything `np.asarray` takes.

    Returns:
        (L, 20, 3) float64.

    Raises:
        InputError: not of that shape, or no good frame.
    """
    try:
        joints = np.asarray(skeletons, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("skeletons are not numbers of shape (frames, 20, 3)") from None
    if joints.ndim != 3 or joints.shape[1:] != (NUM_JOINTS, 3) or not len(joints):
        raise InputError(f"skeletons have shape {joints.shape}, expected (frames, 20, 3) with at least one frame")
    finite = np.isfinite(joints).all((1, 2))
    with np.errstate(invalid="ignore"):
        in_front = (joints[..., 2].min(1) > _NEAREST) & (np.abs(joints).max((1, 2)) < _FARTHEST)
        extended = np.ptp(joints, axis=1).max(1) > 0.3
    good = np.flatnonzero(finite & in_front & extended)
    if not len(good):
        raise InputError(f"none of the {len(joints)} skeletons shows a person in front of the camera")
    nearest = good[np.abs(np.arange(len(joints))[:, None] - good[None]).argmin(1)]
    joints = joints[nearest]
    mended = joints.copy()
    for joint, (parent, longest) in _BONES.items():
        bone = joints[:, joint] - joints[:, parent]
        length = np.linalg.norm(bone, axis=1, keepdims=True)
        mended[:, joint] = mended[:, parent] + bone * np.minimum(1, longest / np.maximum(length, 1e-9))
    mended[..., 2] = np.maximum(mended[..., 2], _NEAREST)
    return mended


def body_size(skeletons: np.ndarray) -> float:
    """Size of a person relative to an average adult, from the median length of both legs of (L, 20, 3) skeletons."""
    bones = [(LEFT_HIP, LEFT_KNEE), (LEFT_KNEE, LEFT_ANKLE), (RIGHT_HIP, RIGHT_KNEE), (RIGHT_KNEE, RIGHT_ANKLE)]
    lengths = [np.median(np.linalg.norm(skeletons[:, a] - skeletons[:, b], axis=1)) for a, b in bones]
    return float(np.clip(sum(lengths) / 2 / 0.86, 0.85, 1.15))


def _unit(vectors: np.ndarray, fallback: tuple[float, float, float]) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length > 1e-6, vectors / np.maximum(length, 1e-6), np.asarray(fallback, float))


def _body_frame(joints: np.ndarray) -> np.ndarray:
    """The rotation whose columns are the person's right, up and back, from (20, 3) joints."""
    up = _unit(joints[SHOULDER_CENTRE] - joints[HIP_CENTRE], (0, 1, 0))
    across = joints[RIGHT_SHOULDER] - joints[LEFT_SHOULDER] + joints[RIGHT_HIP] - joints[LEFT_HIP]
    right = _unit(across - (across @ up) * up, (1, 0, 0))
    back = _unit(np.cross(right, up), (0, 0, 1))
    return np.stack([np.cross(up, back), up, back], axis=1)


def _shortest_rotations(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(K, 3, 3) rotations that take unit vectors `source` (K, 3) to `target` (K, 3) the short way."""
    cross = np.cross(source, target)
    cosine = np.einsum("ki,ki->k", source, target)
    skew = np.zeros((len(source), 3, 3))
    skew[:, 0, 1], skew[:, 0, 2], skew[:, 1, 2] = -cross[:, 2], cross[:, 1], -cross[:, 0]
    skew -= skew.transpose(0, 2, 1)
    return np.eye(3) + skew + skew @ skew / np.maximum(1 + cosine, 1e-3)[:, None, None]


def capsules(joints: np.ndarray, *, scale: float = 1.0) -> Capsules:
    """The body of one skeleton.

    Args:
        joints: (20, 3) metres.
        scale: how much thicker than the average adult.
    """
    body = _body_frame(joints)
    start = _START_WEIGHTS @ joints + scale * _START_OFFSETS @ body.T
    axis = _END_WEIGHTS @ joints + scale * _END_OFFSETS @ body.T - start
    short = np.einsum("ki,ki->k", axis, axis) < 1e-6
    axis[short] = 1e-3 * (_REST[short] @ body.T)
    direction = axis / np.linalg.norm(axis, axis=1, keepdims=True)
    frame = _shortest_rotations(_REST @ body.T, direction) @ body
    return Capsules(start, axis, scale * _RADII, frame)
