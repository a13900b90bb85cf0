"""Furniture out of blocks.

A piece has coordinates of its own, in metres: x across, y up from the floor, z inwards. A piece for the wall has its
back at z = 0 and stands at negative z; a free piece has its middle at the origin. Both face negative z.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Block:
    """A box of one material, which may be turned about the upright axis.

    Attributes:
        centre: metres.
        size: metres, whole extents along its own axes.
        colour: (3,) RGB, 0 … 255 and more where it shines.
        texture: a name of `surfaces.textures`, or "" for none.
        infrared: how much of a depth sensor's light it sends back, relative to matt things of its colour.
        turn: radians from x towards z.
    """

    centre: Vector
    size: Vector
    colour: np.ndarray
    texture: str = ""
    infrared: float = 1.0
    turn: float = 0.0


Piece = list[Block]
Maker = Callable[[np.random.Generator, "Palette"], Piece]


@dataclass(frozen=True)
class Palette:
    """The materials of one room, RGB 0 … 255: wood, what is painted or laminated, metal, a colour that recurs."""

    wood: np.ndarray
    laminate: np.ndarray
    metal: np.ndarray
    accent: np.ndarray


def draw_colour(
    random: np.random.Generator,
    *,
    hue: tuple[float, float] = (0, 1),
    saturation: tuple[float, float],
    value: tuple[float, float],
) -> np.ndarray:
    """RGB (3,), 0 … 255, drawn uniformly in hue, saturation and value."""
    drawn = [random.uniform(*limits) for limits in (hue, saturation, value)]
    return 255 * np.array(colorsys.hsv_to_rgb(*drawn))


def palette(random: np.random.Generator) -> Palette:
    """Draws the materials of a room."""
    return Palette(
        wood=draw_colour(random, hue=(0.06, 0.11), saturation=(0.08, 0.26), value=(0.5, 0.9)),
        laminate=draw_colour(random, saturation=(0.0, 0.06), value=(0.7, 0.98)),
        metal=draw_colour(random, saturation=(0.0, 0.08), value=(0.3, 0.7)),
        accent=draw_colour(random, saturation=(0.1, 0.4), value=(0.25, 0.75)),
    )


def placed(piece: Piece, x: float, z: float, turn: float = 0.0) -> Piece:
    """The piece turned about its own origin, by radians from x towards z, and moved."""
    cosine, sine = np.cos(turn), np.sin(turn)
    moved = []
    for block in piece:
        a, y, b = block.centre
        centre = (x + cosine * a - sine * b, y, z + sine * a + cosine * b)
        moved.append(replace(block, centre=centre, turn=block.turn + turn))
    return moved


def width(piece: Piece) -> float:
    """Extent of an unturned piece across, metres."""
    left = min(block.centre[0] - block.size[0] / 2 for block in piece)
    return max(block.centre[0] + block.size[0] / 2 for block in piece) - left


def _surface(random: np.random.Generator, materials: Palette) -> tuple[np.ndarray, str]:
    return (materials.wood, "wood") if random.random() < 0.5 else (materials.laminate, "")


def _dark(random: np.random.Generator) -> np.ndarray:
    return draw_colour(random, saturation=(0.0, 0.2), value=(0.04, 0.14))


def _carton(random: np.random.Generator) -> np.ndarray:
    return draw_colour(random, hue=(0.07, 0.1), saturation=(0.2, 0.33), value=(0.5, 0.8))


def door(random: np.random.Generator, materials: Palette) -> Piece:
    """A leaf with frame and handle."""
    leaf, texture = _surface(random, materials)
    frame = materials.laminate * 0.85 if texture else materials.metal
    side = random.choice([-1, 1])
    return [
        Block((0, 1.02, -0.015), (0.9, 2.04, 0.03), leaf, texture),
        Block((-0.485, 1.04, -0.025), (0.07, 2.08, 0.05), frame),
        Block((0.485, 1.04, -0.025), (0.07, 2.08, 0.05), frame),
        Block((0, 2.095, -0.025), (1.04, 0.07, 0.05), frame),
        Block((0.36 * side, 1.03, -0.07), (0.13, 0.025, 0.04), materials.metal, infrared=0.4),
    ]


def window(random: np.random.Generator, materials: Palette) -> Piece:
    """A bright pane, from which no sensor reads depth, in a frame; often with curtains or a blind."""
    wide, low, high = random.uniform(1.0, 1.7), random.uniform(0.85, 1.0), random.uniform(1.95, 2.2)
    middle, tall, frame = (low + high) / 2, high - low, materials.laminate
    glass = np.full(3, random.uniform(230, 330))
    piece = [
        Block((0, middle, -0.01), (wide, tall, 0.02), glass, "outdoors", infrared=0.0),
        Block((0, low - 0.02, -0.09), (wide + 0.16, 0.04, 0.18), frame),
        Block((0, high + 0.03, -0.03), (wide + 0.12, 0.06, 0.06), frame),
        *(Block((x, middle, -0.03), (0.06, tall, 0.06), frame) for x in (-wide / 2 - 0.03, 0, wide / 2 + 0.03)),
    ]
    cover = random.random()
    if cover < 0.35:
        cloth = draw_colour(random, saturation=(0.0, 0.25), value=(0.6, 0.95))
        for side in (-1, 1):
            piece.append(Block((side * wide / 2, 1.2, -0.14), (0.42, 2.3, 0.08), cloth, "folds"))
    elif cover < 0.6:
        drop = random.uniform(0.3, 1.0) * tall
        piece.append(Block((0, high - drop / 2, -0.08), (wide, drop, 0.03), materials.laminate, "slats"))
    return piece


def shelf(random: np.random.Generator, materials: Palette) -> Piece:
    """An open shelf with books, folders and boxes."""
    wide, tall, deep, boards = random.uniform(0.75, 1.2), random.uniform(1.2, 2.1), 0.3, int(random.integers(4, 6))
    wood, texture = _surface(random, materials)
    piece = [Block((0, tall / 2, -0.01), (wide, tall, 0.02), wood * 0.7, texture)]
    piece += [Block((s * wide / 2, tall / 2, -deep / 2), (0.03, tall, deep), wood, texture) for s in (-1, 1)]
    heights = np.linspace(0.05, tall - 0.01, boards)
    piece += [Block((0, y, -deep / 2), (wide, 0.025, deep), wood, texture) for y in heights]
    for y in heights[:-1]:
        left = -wide / 2 + 0.03
        while left < wide / 2 - 0.15:
            full = min(random.uniform(0.15, 0.6), wide / 2 - 0.03 - left)
            high = random.uniform(0.55, 0.85) * (heights[1] - heights[0])
            kind = random.random()
            shade, look = (np.full(3, 150.0), "books") if kind < 0.55 else (_carton(random), "card")
            if kind < 0.85:
                piece.append(Block((left + full / 2, y + 0.013 + high / 2, -0.14), (full, high, 0.2), shade, look))
            left += full + random.uniform(0.02, 0.2)
    return piece


def cabinet(random: np.random.Generator, materials: Palette) -> Piece:
    """A closed cabinet with doors and handles, low or as high as a person; a low one often carries something."""
    wide, deep = random.uniform(0.7, 1.2), random.uniform(0.38, 0.5)
    tall = random.uniform(0.7, 1.1) if random.random() < 0.6 else random.uniform(1.7, 2.0)
    face, texture = _surface(random, materials)
    piece = [Block((0, tall / 2, -deep / 2), (wide, tall, deep), face, texture)]
    piece.append(Block((0, tall / 2, -deep), (0.025, tall - 0.08, 0.004), face * 0.4))
    for side in (-1, 1):
        piece.append(Block((0.07 * side, tall * 0.6, -deep - 0.015), (0.02, 0.14, 0.03), materials.metal, "", 0.5))
    if tall < 1.3 and random.random() < 0.6:
        piece += [replace(block, centre=_raised(block, tall, -deep / 2)) for block in carton(random, materials)]
    return piece


def desk(random: np.random.Generator, materials: Palette) -> Piece:
    """A desk, often with a screen, papers and a box."""
    wide, deep, high = random.uniform(1.1, 1.6), random.uniform(0.6, 0.75), random.uniform(0.71, 0.75)
    top, texture = _surface(random, materials)
    piece = [Block((0, high, -deep / 2), (wide, 0.03, deep), top, texture)]
    legs = (0.04, high - 0.03, deep - 0.1) if random.random() < 0.4 else (0.05, high - 0.03, 0.05)
    places = [-deep / 2] if legs[2] > 0.1 else [-0.08, -deep + 0.08]
    colours = top * 0.9 if legs[2] > 0.1 else materials.metal
    piece += [Block((s * (wide / 2 - 0.06), high / 2, z), legs, colours) for s in (-1, 1) for z in places]
    if random.random() < 0.7:
        x = random.uniform(-0.3, 0.3) * wide
        piece.append(Block((x, high + 0.05, -0.25), (0.22, 0.07, 0.18), _dark(random), "", 0.3))
        piece.append(Block((x, high + 0.3, -0.22), (0.56, 0.36, 0.05), _dark(random), "", 0.06))
    if random.random() < 0.5:
        x = random.uniform(-0.35, 0.35) * wide
        piece.append(Block((x, high + 0.02, -deep * 0.7), (0.3, 0.02, 0.21), np.full(3, 235.0), "print"))
    if random.random() < 0.4:
        box_width, box_height = random.uniform(0.18, 0.32), random.uniform(0.1, 0.25)
        piece.append(
            Block(
                (0.35 * wide, high + 0.015 + box_height / 2, -deep / 2), (box_width, box_height, 0.22), _carton(random)
            )
        )
    return piece


def chair(random: np.random.Generator, materials: Palette) -> Piece:
    """A chair with four legs or a column."""
    cloth = materials.accent if random.random() < 0.6 else _dark(random) + 40
    seat, back = 0.45, random.uniform(0.28, 0.42)
    piece = [
        Block((0, seat, 0), (0.44, 0.05, 0.44), cloth, "cloth"),
        Block((0, seat + 0.12 + back / 2, 0.21), (0.42, back, 0.04), cloth, "cloth"),
    ]
    if random.random() < 0.5:
        piece += [
            Block((x, 0.21, z), (0.03, 0.43, 0.03), materials.metal) for x in (-0.19, 0.19) for z in (-0.19, 0.19)
        ]
        piece += [Block((x, 0.52, 0.21), (0.03, 0.2, 0.03), materials.metal) for x in (-0.19, 0.19)]
    else:
        piece += [Block((0, 0.25, 0), (0.06, 0.38, 0.06), materials.metal)]
        piece += [Block((0, 0.06, 0), size, materials.metal) for size in ((0.55, 0.05, 0.06), (0.06, 0.05, 0.55))]
        piece += [Block((0, 0.52, 0.21), (0.08, 0.2, 0.03), materials.metal)]
    return piece


def carton(random: np.random.Generator, materials: Palette) -> Piece:
    """A box of cardboard or plastic, closed with tape."""
    wide, high, deep = random.uniform(0.3, 0.55), random.uniform(0.2, 0.42), random.uniform(0.25, 0.45)
    shade, texture = (_carton(random), "card") if random.random() < 0.7 else (materials.accent, "")
    return [
        Block((0, high / 2, 0), (wide, high, deep), shade, texture),
        Block((0, high * 0.8, 0), (0.06, high * 0.42, deep + 0.006), shade * 1.15),
    ]


def table(random: np.random.Generator, materials: Palette) -> Piece:
    """A low table."""
    wide, high, deep = random.uniform(0.5, 0.8), random.uniform(0.38, 0.5), random.uniform(0.4, 0.55)
    top, texture = _surface(random, materials)
    piece = [Block((0, high, 0), (wide, 0.035, deep), top, texture)]
    x, z = wide / 2 - 0.04, deep / 2 - 0.04
    piece += [Block((a, high / 2, b), (0.04, high, 0.04), materials.metal) for a in (-x, x) for b in (-z, z)]
    return piece


def drawers(random: np.random.Generator, materials: Palette) -> Piece:
    """A pedestal with three drawers."""
    face, texture = _surface(random, materials)
    piece = [Block((0, 0.28, 0), (0.42, 0.54, 0.5), face, texture)]
    piece += [Block((0, y, -0.252), (0.4, 0.012, 0.004), face * 0.4) for y in (0.2, 0.38)]
    piece += [Block((0, y, -0.262), (0.14, 0.02, 0.02), materials.metal, "", 0.5) for y in (0.13, 0.3, 0.48)]
    return piece


def whiteboard(random: np.random.Generator, materials: Palette) -> Piece:
    """A glossy board with a tray."""
    wide, tall = random.uniform(1.1, 1.8), random.uniform(0.8, 1.1)
    white = draw_colour(random, saturation=(0.0, 0.03), value=(0.88, 0.98))
    return [
        Block((0, 1.5, -0.015), (wide, tall, 0.03), materials.metal + 60),
        Block((0, 1.5, -0.02), (wide - 0.06, tall - 0.06, 0.03), white, "paint", 0.5),
        Block((0, 1.5 - tall / 2, -0.05), (wide * 0.5, 0.03, 0.08), materials.metal),
    ]


def poster(random: np.random.Generator, materials: Palette) -> Piece:
    """A print, framed or not."""
    wide, tall = random.uniform(0.4, 0.8), random.uniform(0.5, 0.9)
    paper = draw_colour(random, saturation=(0.0, 0.25), value=(0.65, 0.95))
    piece = [Block((0, 1.5, -0.006), (wide, tall, 0.012), paper, "print")]
    if random.random() < 0.4:
        piece.append(Block((0, 1.5, -0.004), (wide + 0.06, tall + 0.06, 0.008), materials.metal))
    return piece


def screen(random: np.random.Generator, materials: Palette) -> Piece:
    """A large dark screen on the wall, from which depth is rarely read."""
    wide = random.uniform(0.9, 1.4)
    return [
        Block((0, 1.45, -0.04), (wide, wide * 0.58, 0.06), _dark(random), "", 0.06),
        Block((0, 1.45, -0.01), (0.3, 0.3, 0.02), materials.metal),
    ]


def radiator(random: np.random.Generator, materials: Palette) -> Piece:
    """A ribbed radiator."""
    wide = random.uniform(0.7, 1.3)
    return [Block((0, 0.42, -0.07), (wide, 0.6, 0.08), np.full(3, random.uniform(190, 240)), "folds")]


def desk_with_chair(random: np.random.Generator, materials: Palette) -> Piece:
    """A desk at the wall and the chair that belongs to it, pushed in or not."""
    turned = placed(chair(random, materials), random.uniform(-0.2, 0.2), -random.uniform(0.75, 1.05), np.pi)
    return desk(random, materials) + placed(turned, 0, 0, random.uniform(-0.15, 0.15))


AT_THE_WALL: dict[Maker, float] = {
    door: 1.0,
    window: 0.8,
    shelf: 1.0,
    cabinet: 1.0,
    desk: 0.5,
    desk_with_chair: 0.7,
    whiteboard: 0.6,
    poster: 1.0,
    screen: 0.5,
    radiator: 0.4,
}  # and how often, relative to each other
FREE: list[Maker] = [chair, carton, table, drawers]


def _raised(block: Block, high: float, z: float) -> Vector:
    return (block.centre[0], block.centre[1] + high, block.centre[2] + z)
