"""What a Kinect does to the picture: noise in colour; noise, holes and eight bits in depth."""

from __future__ import annotations

import cv2
import numpy as np

DEPTH_RANGE = 6.0  # metres shown as white; 0 is "not measured", black
_BASELINE = 0.075  # metres between the infrared projector and its camera
_COLOUR_NOISE = 3.0  # standard deviation, grey levels
_EDGE_STEP = 0.15  # metres between neighbours that make an edge
_EDGE_HOLES = 0.15  # share of pixels at edges that are not measured


def colour_picture(colour: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """uint8 RGB (H, W, 3) from ideal float32 RGB 0 … 255, with Gaussian noise, partly correlated over channels."""
    height, width, _ = colour.shape
    grey = random.standard_normal((height, width, 1), np.float32)
    chroma = random.standard_normal((height, width, 3), np.float32)
    noisy = colour + _COLOUR_NOISE * (0.8 * grey + 0.6 * chroma)
    return np.rint(noisy.clip(0, 255)).astype(np.uint8)


def depth_picture(person: np.ndarray, room: np.ndarray, focal: float, random: np.random.Generator) -> np.ndarray:
    """uint8 (H, W) from ideal depth in metres: linear, near is dark, `DEPTH_RANGE` white, 0 = not measured.

    Noise grows with the square of the distance (about 1.5 cm at 3 m). Not measured: some pixels at silhouettes, and
    the strip beside a near thing that the infrared projector, which sits beside the camera, does not light.

    Args:
        person: (H, W) float32 metres, infinite where there is no person.
        room: (H, W) float32 metres, finite.
        focal: focal length in pixels.
        random: source of the noise.
    """
    depth = np.minimum(person, room)
    deviation = 0.0012 + 0.0019 * (depth - 0.4) ** 2
    measured = depth + deviation * random.standard_normal(depth.shape, np.float32)
    disparity = np.float32(focal * _BASELINE) / depth
    lit_from = disparity.copy()  # the greatest disparity seen so far along the row, less one pixel a step
    for shift in range(1, 1 + int(np.ceil(disparity.max() - disparity.min()))):
        np.maximum(lit_from[:, shift:], disparity[:, :-shift] - shift, out=lit_from[:, shift:])
    holes = lit_from > disparity + 0.5
    nearest = cv2.erode(person, np.ones((3, 3), np.uint8))
    edge = depth - nearest > _EDGE_STEP
    holes |= edge & (random.random(depth.shape, np.float32) < _EDGE_HOLES)
    measured[holes] = 0
    return np.rint((measured * (255 / DEPTH_RANGE)).clip(0, 255)).astype(np.uint8)
