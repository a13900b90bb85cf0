"""The empty room of a clip, as the camera and its depth sensor see it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from data_prep.synthetic.clip_id import ClipId, generator
from data_prep.synthetic.rendering.body import HEAD, LEFT_ANKLE, LEFT_FOOT, RIGHT_ANKLE, RIGHT_FOOT
from data_prep.synthetic.rendering.boxes import Boxes, Surfaces, blocked, cast_boxes
from data_prep.synthetic.rendering.camera import Camera
from data_prep.synthetic.rendering.furniture import Piece
from data_prep.synthetic.rendering.layout import SHELL, Frame, lay_out
from data_prep.synthetic.rendering.scene import EXPOSURE, Light
from data_prep.synthetic.rendering.sensor import reflected
from data_prep.synthetic.rendering.surfaces import sample, textures

SAMPLES = 2  # rays per pixel and direction: antialiasing
_PAINT = 1.1  # how much brighter a room is than a person of the same colour
_UNEVEN = 0.5  # standard deviation of the logarithm of what surfaces send back in infrared
_LOWEST_CAMERA = 0.2  # metres over the floor
_STEEPEST_CAMERA = np.tan(np.radians(20))
_LAMP_WIDTH = 0.25  # tangent: soft edges of shadows
_SHADOW = 0.35  # share of the lamp's light that furniture takes; rooms have more lamps than one
_UNDER = 0.5  # share of the light from everywhere that is lost beneath a table


@dataclass(frozen=True)
class Room:
    """The empty room as the camera sees it.

    Attributes:
        colour: (S, S, 3) float32 RGB, 0 … 255, a value for each of the S = `SAMPLES`·H rays of a row and column.
        depth: (S, S) float32 metres.
        echo: (H, W) float32, the light of the depth sensor that comes back, see `sensor.reflected`.
        points: (H, W, 3) float32 metres, where each pixel's ray ends.
        is_floor: (H, W) float32, 1 on the floor.
        floor_normal: (3,) unit vector.
        floor_offset: metres; floor points p have `floor_normal @ p == floor_offset`.
    """

    colour: np.ndarray
    depth: np.ndarray
    echo: np.ndarray
    points: np.ndarray
    is_floor: np.ndarray
    floor_normal: np.ndarray
    floor_offset: float


def furnish(clip_id: ClipId, skeletons: np.ndarray, camera: Camera, light: Light) -> Room:
    """The room of a clip; its look and furniture are a function of view and subject.

    The floor lies under the feet of these (L, 20, 3) skeletons and is tilted as the upright person is, because the
    camera looks down or up; walls and furniture keep out of the person's way (`layout.lay_out`).
    """
    random = generator("room", clip_id.view, clip_id.subject)
    floor_normal, floor_offset = _floor(skeletons)
    floor_offset = min(floor_offset, -_LOWEST_CAMERA)
    turn = np.radians(random.uniform(-25, 25))
    inwards = np.array([np.sin(turn), 0.0, np.cos(turn)])
    inwards -= (inwards @ floor_normal) * floor_normal
    inwards /= np.linalg.norm(inwards)
    frame = Frame(np.stack([np.cross(floor_normal, inwards), floor_normal, inwards]), floor_offset)
    blocks = lay_out(random, frame.inside(skeletons), -floor_offset)
    boxes = frame.boxes(blocks)
    seen = cast_boxes(boxes, camera, samples=SAMPLES)

    side, size = camera.size * SAMPLES, camera.size
    middle = np.arange(side * side).reshape(side, side)[SAMPLES // 2 :: SAMPLES, SAMPLES // 2 :: SAMPLES].ravel()
    points = seen.points[middle]
    lit = _lit(points, seen.normals[middle], boxes, light) * _pools(frame.inside(points), random)
    albedo = _albedo(blocks, seen, random)
    lit = np.repeat(np.repeat(lit.reshape(size, size), SAMPLES, axis=0), SAMPLES, axis=1).reshape(-1, 1)
    colour = (albedo * lit * (_PAINT * EXPOSURE * light.colour).astype(np.float32)).clip(0, 255).reshape(side, side, 3)
    infrared = np.array([block.infrared for block in blocks], np.float32)
    echo = reflected(albedo[middle], points, seen.normals[middle], infrared[seen.box[middle]])
    uneven = cv2.GaussianBlur(random.standard_normal((size, size), np.float32), (0, 0), 0.02 * size)
    uneven /= uneven.std()
    return Room(
        colour,
        np.ascontiguousarray(seen.points[:, 2].reshape(side, side)),
        echo.reshape(size, size) * np.exp(_UNEVEN * uneven),
        points.reshape(size, size, 3),
        (seen.box[middle] == 0).astype(np.float32).reshape(size, size),
        floor_normal,
        floor_offset,
    )


def _floor(skeletons: np.ndarray) -> tuple[np.ndarray, float]:
    """Normal and offset of the plane the person stands on, tilted with the most upright quarter of the frames."""
    feet = skeletons[:, [LEFT_ANKLE, RIGHT_ANKLE]].mean(1)
    upright = skeletons[:, HEAD] - feet
    height = np.linalg.norm(upright, axis=1)
    upright = np.median(upright[height >= np.quantile(height, 0.75)], axis=0)
    tilt = np.clip(upright[2] / max(upright[1], 1e-6), -_STEEPEST_CAMERA, _STEEPEST_CAMERA) if upright[1] > 0 else 0.0
    normal = np.array([0.0, 1.0, tilt]) / np.hypot(1, tilt)
    lowest = skeletons[:, [LEFT_ANKLE, LEFT_FOOT, RIGHT_ANKLE, RIGHT_FOOT]] @ normal
    return normal, float(np.quantile(lowest.min(1), 0.2) - 0.05)


def _albedo(blocks: Piece, seen: Surfaces, random: np.random.Generator) -> np.ndarray:
    """The colour (N, 3) of each place under white light: the block's, times its texture."""
    colours = np.array([block.colour for block in blocks], np.float32)
    shifts = random.uniform(0, 4, (len(blocks), 2)).astype(np.float32)
    albedo = colours[seen.box]
    names = np.array([block.texture for block in blocks])
    for name, texture in textures().items():
        if name == "outdoors":
            shifts[names == name] = texture.metres / 2
        here = np.flatnonzero((names == name)[seen.box])
        if len(here):
            albedo[here] *= sample(texture, seen.texel[here] + shifts[seen.box[here]])
    return albedo


def _lit(points: np.ndarray, normals: np.ndarray, boxes: Boxes, light: Light) -> np.ndarray:
    """The light (N,) that falls on each place: the lamp's with soft shadows of furniture, and its glow."""
    furniture = boxes.subset(np.arange(SHELL, len(boxes.centre)))
    start = points + 0.004 * normals
    across = np.cross(light.direction, [0.0, 0.0, 1.0])
    along = np.cross(light.direction, across)
    towards = [light.direction + _LAMP_WIDTH * (a * across + b * along) for a, b in ((1, 0), (-0.5, 0.9), (-0.5, -0.9))]
    shadow = np.mean([blocked(start, direction, furniture) for direction in towards], axis=0, dtype=np.float32)
    up = boxes.axes[0, 1]
    beneath = np.mean(
        [blocked(start, up + shift, furniture) for shift in 0.4 * boxes.axes[0, [0, 2]]], axis=0, dtype=np.float32
    )
    facing = 0.5 + 0.5 * (normals @ light.direction.astype(np.float32))
    lamp = np.float32(1 - light.ambient) * facing * facing * (1 - np.float32(_SHADOW) * shadow)
    return lamp + np.float32(light.ambient) * (1 - np.float32(_UNDER) * beneath)


def _pools(places: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Gains (N,) at room coordinates: brighter near a ceiling lamp, darker where floor and walls meet."""
    lamp = np.array([random.uniform(-2, 2), random.uniform(1.8, 2.6), random.uniform(2.5, 4.5)])
    reach, strength = random.uniform(1.0, 2.0), random.uniform(0.05, 0.35)
    glow = 1 - strength / 2 + strength * np.exp(-((places - lamp) ** 2).sum(1) / (2 * reach**2))
    corner = 1 - 0.18 * np.exp(-np.abs(places[:, 1]) / 0.12) * (places[:, 1] > 0.004)
    return (glow * corner).astype(np.float32)
