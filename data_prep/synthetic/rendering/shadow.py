"""The shadow of the person: a soft one away from the lamp, and dark spots beneath the feet."""

from __future__ import annotations

import cv2
import numpy as np

from data_prep.synthetic.rendering.body import LEFT_ANKLE, LEFT_FOOT, RIGHT_ANKLE, RIGHT_FOOT, Capsules
from data_prep.synthetic.rendering.camera import Camera
from data_prep.synthetic.rendering.room import Room
from data_prep.synthetic.rendering.scene import Light

_REACH = 0.45  # metres around a foot
_CELL = 0.04  # metres: resolution of the cast shadow
_SIDE = 72  # cells
_PENUMBRA = 2.0  # cells, standard deviation
_DARKEST = 0.75  # share of the lamp's light that the cast shadow takes


def shadow(room: Room, body: Capsules, joints: np.ndarray, light: Light, camera: Camera) -> np.ndarray:
    """How much light (H, W) the room keeps around a person of (20, 3) joints."""
    return _cast_shadow(room, body, light) * _contact_shadow(room, joints, camera)


def _cast_shadow(room: Room, body: Capsules, light: Light) -> np.ndarray:
    """Seen from the lamp, which is far away, capsules are thick lines; what lies behind them is in their shadow."""
    across = np.cross(light.direction, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    axes = np.stack([across, np.cross(light.direction, across), light.direction])
    starts, ends = body.start @ axes.T, (body.start + body.axis) @ axes.T
    middle = (starts + ends).mean(0) / 2
    picture = np.zeros((_SIDE, _SIDE), np.uint8)
    a, b = (np.rint((points - middle)[:, :2] / _CELL * 16 + _SIDE * 8).astype(int) for points in (starts, ends))
    for one, other, radius in zip(a.tolist(), b.tolist(), body.radius):
        cv2.line(picture, one, other, 255, max(1, round(2 * radius / _CELL)), cv2.LINE_8, 4)
    picture = cv2.GaussianBlur(picture, (0, 0), _PENUMBRA)
    places = room.points @ axes.T.astype(np.float32) - middle.astype(np.float32)
    cells = places[..., :2] * np.float32(1 / _CELL) + np.float32(_SIDE / 2 - 0.5)
    dark = cv2.remap(picture, cells[..., 0], cells[..., 1], cv2.INTER_LINEAR, borderValue=0)
    behind = (places[..., 2] < 0.1).astype(np.float32)
    return 1 - np.float32(_DARKEST * (1 - light.ambient) / 255) * behind * dark


def _contact_shadow(room: Room, joints: np.ndarray, camera: Camera) -> np.ndarray:
    """Soft dark spots on the floor under both feet of (20, 3) joints."""
    light = np.ones(room.is_floor.shape, np.float32)
    normal = room.floor_normal
    for ankle, foot in ((LEFT_ANKLE, LEFT_FOOT), (RIGHT_ANKLE, RIGHT_FOOT)):
        middle = (joints[ankle] + joints[foot]) / 2
        height = middle @ normal - room.floor_offset
        spot = middle - height * normal
        x, y = camera.project(spot)
        reach = camera.focal * _REACH / spot[2]
        left, right, top, bottom = (
            int(np.clip(edge, 0, camera.size)) for edge in (x - reach, x + reach, y - reach, y + reach)
        )
        window = np.s_[top:bottom, left:right]
        distance2 = ((room.points[window] - spot.astype(np.float32)) ** 2).sum(-1)
        strength = np.float32(0.4 / (1 + 20 * max(height, 0)))
        light[window] *= 1 - room.is_floor[window] * strength * np.exp(distance2 / np.float32(-0.03))
    return light
