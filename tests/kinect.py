"""People before a Kinect, in miniature: their joints, their depth, and the files that data sets keep them in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from raw import HEIGHT, WIDTH, depth_frame, write_volume

UTD_ORDER = (3, 2, 1, 0, *range(4, 20))  # of the file, in the first Kinect's numbers: head, neck, spine, hip, limbs

# Joints in the first Kinect's order, metres over the floor, the camera in front: the person's left is at -x
_STANDING = [(0, 0.95, 0), (0, 1.05, 0.02), (0, 1.4, 0.02), (0, 1.6, 0)]
for side in (-1, 1):
    _STANDING += [(0.2 * side, 1.35, 0), (0.25 * side, 1.1, 0), (0.26 * side, 0.85, 0), (0.26 * side, 0.78, 0)]
for side in (-1, 1):
    _STANDING += [(0.1 * side, 0.9, 0), (0.11 * side, 0.5, 0), (0.11 * side, 0.1, 0), (0.12 * side, 0.03, -0.15)]
_ELBOW, _WRIST, _HAND = 9, 10, 11  # of the right arm


def person(frames: int, speed: float = 0.3) -> np.ndarray:
    """A person who lifts the right arm forwards, (T, 20, 3) metres before a camera 2.5 m away at 1 m height."""
    joints = np.repeat(np.array(_STANDING)[None], frames, axis=0)
    for index in range(frames):
        angle = min(speed * index, 3.0)
        direction = np.array([0.2, -np.cos(angle), -np.sin(angle)])
        for joint, reach in ((_ELBOW, 0.25), (_WRIST, 0.5), (_HAND, 0.57)):
            joints[index, joint] = joints[index, 8] + reach * direction
    return joints + np.array([0, -1.0, 2.5])


def mirrored(joints: np.ndarray) -> np.ndarray:
    """The person (…, 20, 3) whom a mirror shows: left is right, and the left arm is the right one."""
    order = [*range(4), *range(8, 12), *range(4, 8), *range(16, 20), *range(12, 16)]
    return (joints * (-1, 1, 1))[..., order, :]


def write_utd_clip(
    root: Path, name: str, frames: int = 12, *, seed: int = 0, speed: float = 0.3, skeleton: bool = True
) -> None:
    """Writes depth and skeleton of one clip as UTD-MHAD has them, the folders as its archives unpack."""
    volume = np.stack([depth_frame(index, seed) for index in range(frames)], axis=2)
    write_volume(root / "Depth" / f"{name}_depth.mat", volume, version="5", variable="d_depth")
    if skeleton:
        joints = person(frames, speed)[:, UTD_ORDER].transpose(1, 2, 0)
        write_volume(root / "Skeleton" / f"{name}_skeleton.mat", joints, version="5", variable="d_skel")


def write_json(path: Path, joints: np.ndarray) -> Path:
    """Writes a skeleton file (T, 20, 3) of NW-UCLA."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"skeletons": joints.tolist()}))
    return path


def write_ntu(path: Path, frames: Sequence[dict[str, np.ndarray]]) -> Path:
    """Writes a skeleton file of NTU RGB+D: of each frame the people by their id, joints (20, 3).

    Where joint j of a person is in the pictures is given by a camera that sees 2 × 2 metres at 2.5 metres.
    """
    order = {kinect: place for place, kinect in zip((0, 1, 20, 3, *range(4, 20)), range(20))}
    lines = [str(len(frames))]
    for people in frames:
        lines.append(str(len(people)))
        for body, joints in people.items():
            lines += [f"{body} 0 1 1 1 1 0 0.01 -0.02 2", "25"]
            values = np.full((25, 3), 9.0)  # joints that the first Kinect lacks
            for kinect, place in order.items():
                values[place] = joints[kinect]
            for x, y, z in values:
                across, down = 0.5 + x / z * 2.5 / 2, 0.5 - y / z * 2.5 / 2
                places = [512 * across, 424 * down, 1920 * across, 1080 * down]
                lines.append(" ".join(f"{value:.6f}" for value in (x, y, z, *places, 0, 0, 0, 0)) + " 2")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def silhouette(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Depth (24, 32) uint16 of a person in a box of pixels, without readings around."""
    depth = np.zeros((HEIGHT, WIDTH), np.uint16)
    depth[top:bottom, left:right] = 2000
    return depth
