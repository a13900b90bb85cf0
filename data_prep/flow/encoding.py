"""Optical flow as three-channel images, and back. How the paper's authors stored theirs as JPEG is not released."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np


def bound_in_pixels(bound: float, height: int, width: int) -> float:
    """Scales a bound given for a 256-pixel frame to frames of another size."""
    return bound * max(height, width) / 256


def encode_flow(flow: np.ndarray, bound: float, encoding: str = "uv_magnitude") -> np.ndarray:
    """Encodes flow as an image: `(H, W, 2)` pixels → `(H, W, 3)` uint8, after clipping u and v to ±bound.

    `uv_magnitude`: u and v become round(128 + 127·u / bound): 128 is no motion, 1 and 255 are the bounds. The third
    channel is round(255·√(u² + v²) / (√2·bound)): 0 is no motion, and 255 is reached where u and v are both at a
    bound, so nothing saturates twice.

    `uv`: the same with a third channel of 128 throughout.

    `hsv`: red, green, blue of the colour whose hue is the direction (0° to the right, 90° down), of full saturation,
    and whose value is the magnitude as above. Deviation from the usual drawing, which scales the value by each frame's
    largest magnitude: that would lose the speed.

    Args:
        flow: displacements (x, y) in pixels.
        bound: largest displacement kept, in pixels.
        encoding: a name in `ENCODINGS`.
    """
    return ENCODINGS[encoding][0](np.clip(flow, np.float32(-bound), np.float32(bound)), bound)


def decode_flow(image: np.ndarray, bound: float, encoding: str = "uv_magnitude") -> np.ndarray:
    """Inverts `encode_flow` up to its rounding: `(H, W, 3)` uint8 → `(H, W, 2)` float32 pixels."""
    return ENCODINGS[encoding][1](image, bound)


def _displacements(flow: np.ndarray, bound: float) -> list[np.ndarray]:
    return [128 + part * np.float32(127 / bound) for part in cv2.split(flow)]


def _magnitude(flow: np.ndarray, bound: float, top: float) -> np.ndarray:
    """Between 0 and `top`, which is reached where u and v are both at a bound."""
    return cv2.magnitude(*cv2.split(flow)) * np.float32(top / (np.sqrt(2) * bound))


def _to_uint8(*channels: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(cv2.merge(channels))  # rounds to the nearest


def _encode_uv_magnitude(flow: np.ndarray, bound: float) -> np.ndarray:
    return _to_uint8(*_displacements(flow, bound), _magnitude(flow, bound, 255))


def _encode_uv(flow: np.ndarray, bound: float) -> np.ndarray:
    return _to_uint8(*_displacements(flow, bound), np.full(flow.shape[:2], 128, np.float32))


def _decode_uv(image: np.ndarray, bound: float) -> np.ndarray:
    return (image[..., :2].astype(np.float32) - 128) * np.float32(bound / 127)


def _encode_hsv(flow: np.ndarray, bound: float) -> np.ndarray:
    direction = np.degrees(np.arctan2(flow[..., 1], flow[..., 0])) % 360
    value = np.minimum(_magnitude(flow, bound, 1), 1)
    hsv = np.dstack([direction, np.ones_like(value), value]).astype(np.float32)
    return _to_uint8(*cv2.split(255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)))


def _decode_hsv(image: np.ndarray, bound: float) -> np.ndarray:
    hsv = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    direction, magnitude = np.radians(hsv[..., 0]), hsv[..., 2] * np.float32(np.sqrt(2) * bound)
    return np.dstack([magnitude * np.cos(direction), magnitude * np.sin(direction)])


# (clipped flow, bound) → image, and back
_Function = Callable[[np.ndarray, float], np.ndarray]
ENCODINGS: dict[str, tuple[_Function, _Function]] = {
    "uv_magnitude": (_encode_uv_magnitude, _decode_uv),
    "uv": (_encode_uv, _decode_uv),
    "hsv": (_encode_hsv, _decode_hsv),
}
