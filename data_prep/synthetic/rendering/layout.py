"""Where everything stands: walls, floor and ceiling around a performance, furniture at the walls and on the floor.

A room's own coordinates are metres across (x), up from the floor (y) and inwards (z); the camera is at x = z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.synthetic.rendering.body import HIP_CENTRE
from data_prep.synthetic.rendering.boxes import Boxes, blocked
from data_prep.synthetic.rendering.furniture import (
    AT_THE_WALL,
    FREE,
    Block,
    Palette,
    Piece,
    carton,
    chair,
    draw_colour,
    palette,
    placed,
    table,
    width,
)

SHELL = 5  # the first blocks of a room: floor, ceiling, back wall, left and right wall
_NEAREST_WALL = (4.2, 5.2)  # metres from the camera
_BEHIND_PERSON = 0.9  # metres that stay free between a performance and the wall
_CLEARANCE = 0.12  # metres between joints and furniture
_MOST_HIDDEN = 0.16  # share of the joints of a clip, legs included, that one piece may hide
_MOST_HIDDEN_ABOVE = 0.02  # the same of trunk, arms and head
_ABOVE = slice(0, 12)  # those joints


@dataclass(frozen=True)
class Frame:
    """A room's coordinates in the camera's frame.

    Attributes:
        axes: (3, 3) whose rows are across, up and inwards, unit vectors.
        floor: metres, the floor's place along up; negative, as the camera is above it.
    """

    axes: np.ndarray
    floor: float

    def inside(self, points: np.ndarray) -> np.ndarray:
        """Room coordinates (…, 3) of points (…, 3) of the camera's frame."""
        return points @ self.axes.T - np.array([0, self.floor, 0])

    def boxes(self, blocks: Piece) -> Boxes:
        """The blocks in the camera's frame."""
        centre = (np.array([block.centre for block in blocks]) + np.array([0, self.floor, 0])) @ self.axes
        half = np.array([block.size for block in blocks]) / 2
        return Boxes(centre, half, _turns(blocks) @ self.axes)


def _turns(blocks: Piece) -> np.ndarray:
    """(K, 3, 3) whose rows are the blocks' axes in the room's coordinates."""
    turn = np.array([block.turn for block in blocks])
    cosine, sine, zero, one = np.cos(turn), np.sin(turn), np.zeros_like(turn), np.ones_like(turn)
    return np.stack([cosine, zero, sine, zero, one, zero, -sine, zero, cosine], axis=1).reshape(-1, 3, 3)


def lay_out(random: np.random.Generator, joints: np.ndarray, camera_height: float) -> Piece:
    """The blocks of a room around (L, 20, 3) joints in its coordinates; the first `SHELL` are what encloses it.

    What is drawn depends on `random` alone; walls are moved back, and pieces moved or left away, where the person would
    walk through them or be hidden by more than a part of the legs.
    """
    back = max(random.uniform(*_NEAREST_WALL), joints[..., 2].max() + _BEHIND_PERSON)
    left = min(-random.uniform(1.3, 3.2), joints[..., 0].min() - 0.5)
    right = max(random.uniform(1.3, 3.2), joints[..., 0].max() + 0.5)
    materials = palette(random)
    tall = max(random.uniform(2.5, 3.0), camera_height + 0.3, joints[..., 1].max() + 0.3)
    blocks = _shell(random, left, right, back, tall) + _skirting(random, left, right, back)
    x = left + random.uniform(0.1, 1.5)
    makers, weights = list(AT_THE_WALL), np.array(list(AT_THE_WALL.values()))
    while x < right - 0.6:
        made = makers[random.choice(len(makers), p=weights / weights.sum())](random, materials)
        wide = width(made)
        if x + wide < right:
            blocks += _if_free(placed(made, x + wide / 2, back), joints, camera_height)
        x += wide + random.uniform(0.6, 3.6)
    for wall, turn in ((left, np.pi / 2), (right, -np.pi / 2)):
        for z in (random.uniform(2.2, 3.0), random.uniform(3.4, 4.4)):
            made = makers[random.choice(len(makers), p=weights / weights.sum())](random, materials)
            if random.random() < 0.35 and z + width(made) / 2 < back - 0.4:
                blocks += _if_free(placed(made, wall, z, turn), joints, camera_height)
    return blocks + _on_the_floor(random, joints, camera_height, materials)


def _shell(random: np.random.Generator, left: float, right: float, back: float, tall: float) -> Piece:
    wall = draw_colour(random, hue=(0.05, 0.6), saturation=(0.0, 0.04), value=(0.8, 1.0))
    other = wall if random.random() < 0.8 else draw_colour(random, saturation=(0.03, 0.2), value=(0.65, 0.95))
    kind = random.choice(["carpet", "planks", "tiles"], p=[0.55, 0.25, 0.2])
    if kind == "planks":
        floor = draw_colour(random, hue=(0.05, 0.1), saturation=(0.1, 0.25), value=(0.25, 0.5))
    elif kind == "tiles":
        floor = draw_colour(random, saturation=(0.0, 0.08), value=(0.35, 0.65))
    else:
        floor = draw_colour(random, hue=(0.0, 0.7), saturation=(0.02, 0.15), value=(0.1, 0.3))
    far = 30.0  # metres: these blocks cover whatever the camera can see
    return [
        Block((0, -0.5, 0), (far, 1, far), floor, kind),
        Block((0, tall + 0.5, 0), (far, 1, far), np.full(3, 235.0), "paint"),
        Block((0, 1, back + 0.5), (far, far, 1), wall, "paint"),
        Block((left - 0.5, 1, 0), (1, far, far), other, "paint"),
        Block((right + 0.5, 1, 0), (1, far, far), other if random.random() < 0.7 else wall, "paint"),
    ]


def _skirting(random: np.random.Generator, left: float, right: float, back: float) -> Piece:
    shade = draw_colour(random, saturation=(0.0, 0.1), value=(0.4, 1.0))
    high, middle = random.uniform(0.06, 0.12), (left + right) / 2
    socket = (random.uniform(left, right), 0.3, back)
    return [
        Block((middle, high / 2, back), (right - left, high, 0.03), shade),
        Block((left, high / 2, back / 2), (0.03, high, back), shade),
        Block((right, high / 2, back / 2), (0.03, high, back), shade),
        Block(socket, (0.16, 0.08, 0.02), np.full(3, 215.0)),
    ]


def _on_the_floor(random: np.random.Generator, joints: np.ndarray, camera_height: float, materials: Palette) -> Piece:
    """Pieces beside the person, and mostly one in front of the legs."""
    x, z = np.median(joints[:, HIP_CENTRE, 0]), np.median(joints[:, HIP_CENTRE, 2])
    blocks: Piece = []
    for _ in range(int(random.choice(3, p=[0.5, 0.4, 0.1]))):
        made = FREE[random.integers(len(FREE))](random, materials)
        side, away, inwards = random.choice([-1, 1]), random.uniform(0.7, 1.3), random.uniform(-0.3, 0.9)
        turned = placed(made, 0, 0, random.uniform(-np.pi, np.pi))
        blocks += _first_free(
            [(x + side * (away + step), z + inwards) for step in (0, 0.3, 0.6)], turned, joints, camera_height
        )
    front = [chair, table, carton, chair][random.integers(4)](random, materials)
    turned = placed(front, 0, 0, random.choice([0, np.pi]) + random.uniform(-0.6, 0.6))
    aside, gap = random.uniform(-0.5, 0.5), random.uniform(0.35, 0.7)
    if random.random() < 0.6:
        near = max(joints[..., 2].min() - gap, 0.9)
        places = [(x + aside + np.sign(aside) * step, near) for step in (0, 0.2, 0.4, 0.6)]
        blocks += _first_free(places, turned, joints, camera_height)
    return blocks


def _first_free(places: list[tuple[float, float]], piece: Piece, joints: np.ndarray, camera_height: float) -> Piece:
    for x, z in places:
        found = _if_free(placed(piece, x, z), joints, camera_height)
        if found:
            return found
    return []


def _if_free(piece: Piece, joints: np.ndarray, camera_height: float) -> Piece:
    """The piece, or nothing where the person walks through it or is hidden by it."""
    boxes = Boxes(
        np.array([block.centre for block in piece]),
        np.array([block.size for block in piece]) / 2 + _CLEARANCE,
        _turns(piece),
    )
    points = joints.reshape(-1, 3)
    local = np.einsum("kij,nkj->nki", boxes.axes, points[:, None] - boxes.centre)
    if (np.abs(local) < boxes.half).all(2).any():
        return []
    boxes = Boxes(boxes.centre, boxes.half - _CLEARANCE, boxes.axes)
    hidden = blocked(points, np.array([0, camera_height, 0]) - points, boxes, reach=1.0).reshape(joints.shape[:2])
    return [] if hidden.mean() > _MOST_HIDDEN or hidden[:, _ABOVE].mean() > _MOST_HIDDEN_ABOVE else piece
