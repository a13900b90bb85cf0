"""What a person wears, and the light: clothes per subject, the lamp per view and subject."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.synthetic.clip_id import ClipId, generator
from data_prep.synthetic.rendering.body import MATERIALS, PART_MATERIALS, Capsules
from data_prep.synthetic.rendering.furniture import draw_colour
from data_prep.synthetic.rendering.raycast import Hits
from data_prep.synthetic.rendering.sensor import reflected

EXPOSURE = 1.25  # how bright a white surface in full light is, relative to white
_INFRARED = np.array([1.0 if name != "hair" else 0.35 for name in MATERIALS], np.float32)


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


def dress(clip_id: ClipId) -> Clothing:
    """The clothing of a clip's subject, a function of the subject alone."""
    random = generator("clothing", clip_id.subject)
    shirt = draw_colour(random, saturation=(0.15, 0.85), value=(0.3, 0.95))
    trousers = draw_colour(random, saturation=(0.1, 0.6), value=(0.2, 0.6))
    skin = np.array([226, 178, 148]) * random.uniform(0.45, 1.05) ** np.array([0.8, 1.0, 1.15])
    hair = np.array([70, 50, 35]) * random.uniform(0.3, 2.2)
    shoes = draw_colour(random, saturation=(0.0, 0.4), value=(0.1, 0.6))
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
    colours = (EXPOSURE * clothing.colours * light.colour).astype(np.float32)[PART_MATERIALS]
    return (colours[part] * (pattern * lamp * rim)[:, None]).clip(0, 255)


def body_echo(hits: Hits, clothing: Clothing) -> np.ndarray:
    """What a depth sensor gets back (N,) from the places hit on the body, see `sensor.reflected`; little from hair."""
    part = hits.part[hits.rows, hits.columns]
    colours, gains = clothing.colours.astype(np.float32)[PART_MATERIALS], _INFRARED[PART_MATERIALS]
    return reflected(colours[part], hits.points, hits.normals, gains[part])
