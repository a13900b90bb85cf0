"""What a Kinect does to the picture: noise in colour; ragged edges, steps, holes and eight bits in depth.

The model of depth is that of the first Kinect, which projects a pattern of infrared dots and looks for it from beside:

- Readings are whole eighths of a pixel of disparity: with a focal length of 580 pixels and a base of 7.5 cm, the
  distances 348 / n metres. Steps grow with the square of the distance, 12 mm at 2 m and 46 mm at 4 m (Khoshelham,
  Elberink, Sensors 2012); disparities have Gaussian noise, and positions are uncertain by about a pixel
  (Barron, Malik, CVPR 2013; Handa et al., ICRA 2014).
- Nothing is measured where the projector does not reach, where too little light comes back (dark, glossy or grazing
  surfaces; glass), and at some pixels of edges.
"""

from __future__ import annotations

import cv2
import numpy as np

DEPTH_RANGE = 6.0  # metres shown as white; 0 is "not measured", black
_BASELINE = 0.075  # metres between the infrared projector and its camera
_STEPS = 348.0  # metres: readings are _STEPS / n
_STEP_NOISE = 0.2  # standard deviation, steps
_SHIFT = 1.0  # standard deviation of where a reading is taken, pixels of a picture with a focal length of 580
_FOCAL = 580.0  # pixels
_FAINTEST = 0.022  # echo that is still measured
_FLICKER = 0.12  # standard deviation of the echo's logarithm from frame to frame
_EDGE_STEP = 0.15  # metres between neighbours that make an edge
_EDGE_HOLES = 0.15  # share of pixels at edges that are not measured
_SOFTNESS = 0.55  # pixels, standard deviation: lens, demosaicing and compression soften edges
_COLOUR_NOISE = 1.0  # standard deviation, grey levels


def colour_picture(colour: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """uint8 RGB (H, W, 3) from ideal float32 RGB 0 … 255, softened, with noise partly correlated over channels."""
    height, width, _ = colour.shape
    grey = random.standard_normal((height, width, 1), np.float32)
    chroma = random.standard_normal((height, width, 3), np.float32)
    noisy = cv2.GaussianBlur(colour, (0, 0), _SOFTNESS) + _COLOUR_NOISE * (0.8 * grey + 0.6 * chroma)
    return np.rint(noisy.clip(0, 255)).astype(np.uint8)


def reflected(colour: np.ndarray, points: np.ndarray, normals: np.ndarray, infrared: np.ndarray) -> np.ndarray:
    """The echo (N,) of surfaces: 1 from a white one that is two metres away and faces the sensor.

    Args:
        colour: (N, 3) RGB under white light, 0 … 255; dyes are paler in infrared.
        points: (N, 3) metres.
        normals: (N, 3) unit vectors.
        infrared: (N,) gain of the material.
    """
    paleness = 0.3 + colour.mean(1) * np.float32(0.7 / 255)
    square = (points * points).sum(1)
    return infrared * paleness * np.abs((points * normals).sum(1)) * 4 / (square * np.sqrt(square))


def depth_picture(depth: np.ndarray, echo: np.ndarray, focal: float, random: np.random.Generator) -> np.ndarray:
    """uint8 (H, W) from ideal depth in metres: linear, near is dark, `DEPTH_RANGE` white, 0 = not measured.

    Args:
        depth: (H, W) float32 metres, finite.
        echo: (H, W) float32, see `reflected`.
        focal: focal length in pixels.
        random: source of the noise.
    """
    height, width = depth.shape
    shift = random.standard_normal((2, height, width), np.float32) * np.float32(_SHIFT * focal / _FOCAL)
    rows = np.arange(height, dtype=np.float32)[:, None] + shift[0]
    columns = np.arange(width, dtype=np.float32) + shift[1]
    seen = cv2.remap(depth, columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    steps = np.rint(_STEPS / seen + np.float32(_STEP_NOISE) * random.standard_normal(depth.shape, np.float32))
    measured = np.float32(_STEPS) / np.maximum(steps, 1)

    disparity = np.float32(focal * _BASELINE) / depth
    lit_from = disparity.copy()  # the greatest disparity seen so far along the row, less one pixel a step
    for distance in range(1, 1 + int(np.ceil(disparity.max() - disparity.min()))):
        np.maximum(lit_from[:, distance:], disparity[:, :-distance] - distance, out=lit_from[:, distance:])
    holes = lit_from > disparity + 0.5
    edge = depth - cv2.erode(depth, np.ones((3, 3), np.uint8)) > _EDGE_STEP
    holes |= edge & (random.random(depth.shape, np.float32) < _EDGE_HOLES)
    flicker = np.exp(np.float32(_FLICKER) * random.standard_normal(depth.shape, np.float32))
    holes |= echo * flicker < _FAINTEST
    measured[holes] = 0
    return np.rint((measured * np.float32(255 / DEPTH_RANGE)).clip(0, 255)).astype(np.uint8)
