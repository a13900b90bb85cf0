"""What surfaces look like: tiles of texture that repeat without seams, the same in every room."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from data_prep.synthetic.clip_id import generator

_SIDE = 256  # texels


@dataclass(frozen=True)
class Texture:
    """Gains (256, 256, 3) float32 around 1 by which a surface's colour is multiplied, and the tile's side in metres."""

    gains: np.ndarray
    metres: float


@lru_cache(maxsize=1)
def textures() -> dict[str, Texture]:
    """The textures by name; columns are along a face, rows up or inwards."""
    random = generator("textures")
    grain = random.standard_normal((_SIDE, _SIDE)).astype(np.float32)
    made = {
        "paint": (1 + _octaves(random, {4: 0.010, 16: 0.006}), 3.0),
        "carpet": (1 + 0.04 * grain + _octaves(random, {4: 0.02, 64: 0.02}), 2.56),
        "planks": (_planks(random), 2.4),
        "tiles": (_tiles(random), 2.4),
        "wood": (1 + _streaks(random, 0.04), 1.28),
        "card": (1 + _octaves(random, {8: 0.03, 64: 0.02}), 1.28),
        "cloth": (1 + 0.06 * grain + _octaves(random, {16: 0.05}), 1.28),
        "folds": (1 + 0.12 * np.sin(np.arange(_SIDE) * (2 * np.pi * 10 / _SIDE))[None], 1.28),
        "slats": (1 + 0.1 * np.sign(np.sin(np.arange(_SIDE) * (2 * np.pi * 16 / _SIDE)))[:, None], 1.28),
        "books": (_books(random), 1.28),
        "print": (_print(random), 1.6),
        "outdoors": (_outdoors(random), 2.56),
    }
    return {name: Texture(_three_channels(gains), metres) for name, (gains, metres) in made.items()}


def sample(texture: Texture, texel: np.ndarray) -> np.ndarray:
    """Gains (N, 3) at positions (N, 2) in metres, interpolated linearly."""
    place = (texel * np.float32(_SIDE / texture.metres)) % _SIDE
    wrapped = np.pad(texture.gains, ((0, 1), (0, 1), (0, 0)), mode="wrap")
    # cv2.remap takes pictures of at most 32,767 rows
    rows = [cv2.remap(wrapped, *part[None].transpose(2, 0, 1), cv2.INTER_LINEAR)[0] for part in _chunks(place)]
    return np.concatenate(rows)


def _chunks(place: np.ndarray) -> list[np.ndarray]:
    return np.split(place, range(32_000, len(place), 32_000))


def _three_channels(gains: np.ndarray) -> np.ndarray:
    gains = gains if gains.ndim == 3 else gains[..., None]
    return np.ascontiguousarray(np.broadcast_to(gains, (_SIDE, _SIDE, 3)), np.float32)


def _octaves(random: np.random.Generator, strengths: dict[int, float]) -> np.ndarray:
    """Smooth noise (256, 256): for each number of cells along a side, its standard deviation at the nodes."""
    total = np.zeros((_SIDE, _SIDE), np.float32)
    for cells, strength in strengths.items():
        grid = np.pad(random.normal(0, strength, (cells, cells)).astype(np.float32), 2, mode="wrap")
        step = _SIDE // cells
        large = cv2.resize(grid, ((cells + 4) * step,) * 2, interpolation=cv2.INTER_CUBIC)
        total += large[2 * step : 2 * step + _SIDE, 2 * step : 2 * step + _SIDE]
    return total


def _streaks(random: np.random.Generator, strength: float) -> np.ndarray:
    """Noise (256, 256) drawn out along the rows, as the grain of wood is."""
    noise = np.tile(random.standard_normal((_SIDE, _SIDE)).astype(np.float32), 3)
    noise = cv2.blur(noise, (61, 3))[:, _SIDE : 2 * _SIDE]
    return strength * noise / noise.std()


def _planks(random: np.random.Generator) -> np.ndarray:
    """Floor boards 15 cm wide and 1.2 m long, each of its own shade, with dark joints."""
    gains: np.ndarray = 1 + _streaks(random, 0.03)
    for row in range(0, _SIDE, 16):
        shift = int(random.integers(_SIDE))
        for half in (0, 1):
            columns = (np.arange(_SIDE // 2) + shift + half * _SIDE // 2) % _SIDE
            gains[row : row + 16, columns] *= random.normal(1, 0.05)
            gains[row : row + 16, columns[0]] *= 0.82
        gains[row] *= 0.85
    return gains


def _tiles(random: np.random.Generator) -> np.ndarray:
    """Square tiles of 30 cm with joints."""
    gains: np.ndarray = 1 + np.kron(random.normal(0, 0.03, (8, 8)), np.ones((32, 32))) + _octaves(random, {32: 0.02})
    gains[::32] *= 0.87
    gains[:, ::32] *= 0.87
    return gains


def _books(random: np.random.Generator) -> np.ndarray:
    """Spines of books, 2 to 5 cm wide, some with a title."""
    gains, left = np.ones((_SIDE, _SIDE, 3), np.float32), 0
    while left < _SIDE:
        right = left + int(random.integers(4, 11))
        gains[:, left:right] = random.uniform(0.3, 1.2) * random.uniform(0.75, 1.15, 3)
        gains[:, left] *= 0.5
        if random.random() < 0.5:
            gains[20:32, left + 1 : right] = random.uniform(0.6, 1.3)
            gains[148:160, left + 1 : right] = random.uniform(0.6, 1.3)
        left = right
    return gains


def _print(random: np.random.Generator) -> np.ndarray:
    """What posters and pages show: blocks of colour and lines of text."""
    gains = np.ones((_SIDE, _SIDE, 3), np.float32)
    for _ in range(40):
        top, left = random.integers(0, _SIDE - 16, 2)
        height, width = random.integers(6, 60, 2)
        gains[top : top + height, left : left + width] = random.uniform(0.4, 1.05) * random.uniform(0.75, 1.05, 3)
    for _ in range(60):
        top, left = random.integers(0, _SIDE - 4, 2)
        gains[top : top + 2, left : left + int(random.integers(10, 50))] *= 0.5
    return gains


def _outdoors(random: np.random.Generator) -> np.ndarray:
    """An overexposed view: sky above, something darker and blurred below."""
    height = np.linspace(0.55, 1.15, _SIDE, dtype=np.float32)[:, None, None]
    blobs = 1 + _octaves(random, {8: 0.12, 16: 0.08})[..., None] * (1.3 - height)
    return height * blobs * np.array([0.96, 1.0, 1.03], np.float32)
