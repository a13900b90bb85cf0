"""What surrounds and clothes a person: colours per subject; room and light per (view, subject)."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

from data_prep.synthetic.clip_id import ClipId, generator
from data_prep.synthetic.rendering.body import (
    HEAD,
    LEFT_ANKLE,
    LEFT_FOOT,
    MATERIALS,
    PART_MATERIALS,
    RIGHT_ANKLE,
    RIGHT_FOOT,
    Capsules,
)
from data_prep.synthetic.rendering.camera import Camera
from data_prep.synthetic.rendering.raycast import Hits

_SAMPLES = 2  # rays per pixel and direction, for the room
_TEXTURE_SIDE = 256  # texels
_TEXTURE_METRES = 4.0
_SHADOW_REACH = 0.45  # metres
_STEEPEST_CAMERA = np.tan(np.radians(20))


@dataclass(frozen=True)
class Clothing:
    """Colours and patterns of one subject, per material.

    Attributes:
        colours: (5, 3) RGB, 0 … 255.
        contrast: (5,) strength of the pattern, 0 … 1.
        waves: (5, 2, 3) two wave vectors per material in a capsule's own coordinates, radians per metre.
        thickness: of the body, relative to the average.
    """

    colours: np.ndarray
    contrast: np.ndarray
    waves: np.ndarray
    thickness: float


@dataclass(frozen=True)
class Light:
    """A lamp far away and its glow.

    Attributes:
        direction: (3,) unit vector towards the lamp.
        colour: (3,) RGB gains of the lamp.
        ambient: share of the light that comes from everywhere.
    """

    direction: np.ndarray
    colour: np.ndarray
    ambient: float


@dataclass(frozen=True)
class Room:
    """The empty room as the camera sees it.

    Attributes:
        colour: (H, W, 3) float32 RGB, 0 … 255.
        depth: (H, W) float32 metres.
        points: (H, W, 3) float32 metres, where each pixel's ray ends.
        is_floor: (H, W) float32, 1 on the floor.
        floor_normal: (3,) unit vector.
        floor_offset: metres; floor points p have `floor_normal @ p == floor_offset`.
    """

    colour: np.ndarray
    depth: np.ndarray
    points: np.ndarray
    is_floor: np.ndarray
    floor_normal: np.ndarray
    floor_offset: float


def _colour(random: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> np.ndarray:
    return 255 * np.array(colorsys.hsv_to_rgb(random.uniform(), random.uniform(*saturation), random.uniform(*value)))


def dress(clip_id: ClipId) -> Clothing:
    """The clothing of a clip's subject, a function of the subject alone."""
    random = generator("clothing", clip_id.subject)
    shirt = _colour(random, (0.15, 0.85), (0.3, 0.95))
    trousers = _colour(random, (0.1, 0.6), (0.2, 0.6))
    skin = np.array([226, 178, 148]) * random.uniform(0.45, 1.05) ** np.array([0.8, 1.0, 1.15])
    hair = np.array([70, 50, 35]) * random.uniform(0.3, 2.2)
    shoes = _colour(random, (0.0, 0.4), (0.1, 0.6))
    by_name = {"skin": skin, "hair": hair, "shirt": shirt, "trousers": trousers, "shoes": shoes}
    contrast = {"skin": 0.06, "hair": 0.2, "shirt": random.uniform(0.1, 0.4), "trousers": 0.15, "shoes": 0.2}
    waves = random.normal(0, 40, (len(MATERIALS), 2, 3))
    return Clothing(
        np.array([by_name[name] for name in MATERIALS]).clip(0, 255),
        np.array([contrast[name] for name in MATERIALS]),
        waves,
        float(random.uniform(0.9, 1.14)),
    )


def illuminate(clip_id: ClipId) -> Light:
    """The light of a clip, a function of view and subject."""
    random = generator("light", clip_id.view, clip_id.subject)
    direction = np.array([random.uniform(-0.8, 0.8), random.uniform(0.5, 1.2), random.uniform(-1.0, -0.4)])
    warmth = random.uniform(-0.08, 0.08)
    colour = random.uniform(0.8, 1.1) * np.array([1 + warmth, 1, 1 - warmth])
    return Light(direction / np.linalg.norm(direction), colour, float(random.uniform(0.35, 0.55)))


def furnish(clip_id: ClipId, skeletons: np.ndarray, camera: Camera) -> Room:
    """The room of a clip: a wall and a floor, their look and the wall's place a function of view and subject.

    The floor lies under the feet of these (L, 20, 3) skeletons and is tilted as the upright person is, because the
    camera looks down or up; the wall is moved back where the person would walk through it.
    """
    random = generator("room", clip_id.view, clip_id.subject)
    floor_normal, floor_offset = _floor(skeletons)
    turn = np.radians(random.uniform(-25, 25))
    wall_normal = np.array([np.sin(turn), 0.0, np.cos(turn)])
    wall_normal -= (wall_normal @ floor_normal) * floor_normal
    wall_normal /= np.linalg.norm(wall_normal)
    farthest = (skeletons @ wall_normal).max()
    wall_offset = max(random.uniform(4.2, 5.2), farthest + 0.5)

    columns, rows = camera.rays(_SAMPLES)
    rays = np.stack(np.broadcast_arrays(columns[None], rows[:, None], np.float32(1)), axis=-1)
    to_wall = wall_offset / np.maximum(rays @ wall_normal, 0.1)
    downwards = rays @ floor_normal
    to_floor = np.where(downwards < -1e-3, floor_offset / np.minimum(downwards, -1e-3), np.inf)
    is_floor = to_floor < to_wall
    points = rays * np.where(is_floor, to_floor, to_wall)[..., None]

    across = np.cross(floor_normal, wall_normal)
    texels = _TEXTURE_SIDE / _TEXTURE_METRES
    x = points @ across * texels
    y = np.where(is_floor, points @ wall_normal, points @ floor_normal) * texels
    colour = np.where(
        is_floor[..., None],
        _sample(_texture(random, value=(0.25, 0.6)), x, y) * 0.9,
        _sample(_texture(random, value=(0.4, 0.85)), x, y),
    )
    light = illuminate(clip_id)
    colour = colour * light.colour * np.where(is_floor, 0.85, 0.95)[..., None]

    size = (camera.size, camera.size)
    points = cv2.resize(points.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return Room(
        cv2.resize(colour.astype(np.float32), size, interpolation=cv2.INTER_AREA).clip(0, 255),
        np.ascontiguousarray(points[..., 2]),
        points,
        cv2.resize(is_floor.astype(np.float32), size, interpolation=cv2.INTER_AREA),
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


def _texture(random: np.random.Generator, value: tuple[float, float]) -> np.ndarray:
    """A texture (256, 256, 3) that repeats without seams: a base colour, patches, noise in octaves, posters."""
    side = _TEXTURE_SIDE
    base = _colour(random, (0.03, 0.25), value)
    texture = np.ones((side, side, 3), np.float32)
    for cells, strength in ((4, 0.12), (16, 0.12), (64, 0.10), (256, 0.07)):
        grid = random.normal(0, strength, (cells, cells, 1)) + random.normal(0, strength / 4, (cells, cells, 3))
        grid = np.pad(grid.astype(np.float32), ((2, 2), (2, 2), (0, 0)), mode="wrap")
        step = side // cells
        large = cv2.resize(grid, ((cells + 4) * step,) * 2, interpolation=cv2.INTER_CUBIC)
        texture += large[2 * step : 2 * step + side, 2 * step : 2 * step + side]
    texture *= base
    for _ in range(random.integers(3, 8)):
        height, width = random.integers(16, 90, 2)
        top, left = random.integers(0, side - height), random.integers(0, side - width)
        patch = texture[top : top + height, left : left + width]
        patch += 0.65 * (_colour(random, (0.1, 0.7), (0.2, 0.9)) - patch)
    return texture.clip(0, 255).astype(np.float32)


def _sample(texture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    side = len(texture)
    wrapped = np.pad(texture, ((0, 1), (0, 1), (0, 0)), mode="wrap")
    return cv2.remap(wrapped, (x % side).astype(np.float32), (y % side).astype(np.float32), cv2.INTER_LINEAR)


def shade(hits: Hits, body: Capsules, clothing: Clothing, light: Light) -> np.ndarray:
    """The colours (N, 3) float32, 0 … 255, of the places hit on the body."""
    part = hits.part[hits.rows, hits.columns]
    # wave vectors turned to the camera's coordinates: one product per point instead of a rotation
    waves = np.einsum("kij,kwj->kwi", body.frame, clothing.waves[PART_MATERIALS])
    phases = np.einsum("kwi,ki->kw", waves, body.start).astype(np.float32)
    waves, points = waves.astype(np.float32), hits.points
    wave = [(waves[:, w][part] * points).sum(1) - phases[:, w][part] for w in range(2)]
    contrast = clothing.contrast.astype(np.float32)[PART_MATERIALS]
    pattern = 1 + contrast[part] * np.sin(wave[0]) * np.cos(wave[1])
    facing = 0.5 + 0.5 * (hits.normals @ light.direction.astype(np.float32))
    lamp = np.float32(light.ambient) + np.float32(1 - light.ambient) * facing * facing
    rim = 0.75 + 0.25 * np.abs(hits.normals[:, 2])  # cloth is darker at grazing angles
    colours = (1.25 * clothing.colours * light.colour).astype(np.float32)[PART_MATERIALS]
    return (colours[part] * (pattern * lamp * rim)[:, None]).clip(0, 255)


def contact_shadow(room: Room, joints: np.ndarray, camera: Camera) -> np.ndarray:
    """How much light (H, W) the floor keeps beneath a person: soft dark spots under both feet of (20, 3) joints."""
    light = np.ones(room.depth.shape, np.float32)
    normal = room.floor_normal
    for ankle, foot in ((LEFT_ANKLE, LEFT_FOOT), (RIGHT_ANKLE, RIGHT_FOOT)):
        middle = (joints[ankle] + joints[foot]) / 2
        height = middle @ normal - room.floor_offset
        spot = middle - height * normal
        x, y = camera.project(spot)
        reach = camera.focal * _SHADOW_REACH / spot[2]
        left, right, top, bottom = (
            int(np.clip(edge, 0, camera.size)) for edge in (x - reach, x + reach, y - reach, y + reach)
        )
        window = np.s_[top:bottom, left:right]
        distance2 = ((room.points[window] - spot.astype(np.float32)) ** 2).sum(-1)
        strength = np.float32(0.4 / (1 + 20 * max(height, 0)))
        light[window] *= 1 - room.is_floor[window] * strength * np.exp(distance2 / np.float32(-0.03))
    return light
