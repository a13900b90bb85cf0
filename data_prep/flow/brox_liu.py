"""Coarse-to-fine variational optical flow in the manner of Liu, the method that the paper's flow was computed with.

Sources: Brox, Bruhn, Papenberg, Weickert, "High accuracy optical flow estimation based on a theory for warping" (ECCV
2004); Liu, "Beyond pixels", appendix A (MIT 2009). The flow w minimises, over the pixels p,

    mean over features c of √((c₂(p + w) - c₁(p))² + ε²)  +  α √(|∇u|² + |∇v|² + ε²)

where the features are the grey level in [0, 1] and its two derivatives (brightness and gradient constancy). At each
level of a pyramid, outer iterations warp the second frame, inner ones re-weight the two penalties, and successive
over-relaxation (SOR) solves the linear system of the increment that results.

Deviations from Liu's published code: grey frames only (no colour differences as features); bicubic instead of bilinear
warping, which finds a translation by a fraction of a pixel ten times as exactly; pixels that move out of the frame have
no data term; SOR visits the pixels of one colour of a checkerboard, then those of the other, and solves for u and v of
a pixel at once, as whole arrays are fast in NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

_EPSILON = 0.001  # of both penalties
_OVER_RELAXATION = 1.8
_DERIVATIVE = np.array([1, -8, 0, 8, -1], np.float32) / 12
_SMOOTHING = np.array([0.02, 0.11, 0.74, 0.11, 0.02], np.float32)
_IDENTITY = np.ones(1, np.float32)


@dataclass(frozen=True)
class BroxLiuParameters:
    """Parameters of the method, with the values that the published demo of Liu's code uses."""

    alpha: float = 0.012  # weight of the smoothness term
    ratio: float = 0.75  # size of a pyramid level relative to the next finer one
    minimum_width: int = 20  # of the coarsest level, in pixels
    outer_iterations: int = 7  # warpings at the finest level; one more at each coarser one
    inner_iterations: int = 1  # re-weightings per warping
    sor_iterations: int = 30  # at the finest level; three more at each coarser one


def make_brox_liu(parameters: Mapping[str, Any]):
    """Returns the method with the given `BroxLiuParameters`, as a `FlowFunction`."""
    values = BroxLiuParameters(**parameters)
    return lambda first, second: coarse_to_fine_flow(first, second, values)


def coarse_to_fine_flow(first: np.ndarray, second: np.ndarray, parameters: BroxLiuParameters) -> np.ndarray:
    """Returns the flow `(H, W, 2)` float32 in pixels from `first` to `second`, grey frames `(H, W)` uint8."""
    pyramids = [_pyramid(image.astype(np.float32) / 255, parameters) for image in (first, second)]
    flow = np.zeros((*pyramids[0][-1].shape, 2), np.float32)
    for level in reversed(range(len(pyramids[0]))):
        images = [pyramid[level] for pyramid in pyramids]
        height, width = images[0].shape
        scale = np.array((width / flow.shape[1], height / flow.shape[0]), np.float32)
        flow = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * scale
        flow = _refine(_features(images[0]), _features(images[1]), flow, level, parameters)
    return flow


def _pyramid(image: np.ndarray, parameters: BroxLiuParameters) -> list[np.ndarray]:
    """The image and ever smaller versions of it, each blurred as much as the next step of sampling asks for."""
    levels = [image]
    blur = 0.6 * np.sqrt(parameters.ratio**-2 - 1)
    while min(levels[-1].shape) * parameters.ratio >= parameters.minimum_width:
        height, width = (round(side * parameters.ratio) for side in levels[-1].shape)
        blurred = cv2.GaussianBlur(levels[-1], (0, 0), blur, borderType=cv2.BORDER_REPLICATE)
        levels.append(cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR))
    return levels


def _filter(image: np.ndarray, along_x: np.ndarray, along_y: np.ndarray) -> np.ndarray:
    return cv2.sepFilter2D(image, cv2.CV_32F, along_x, along_y, borderType=cv2.BORDER_REPLICATE)


def _features(image: np.ndarray) -> np.ndarray:
    """Grey level and its derivatives along x and y: `(H, W)` → `(H, W, 3)`."""
    return np.dstack([image, _filter(image, _DERIVATIVE, _IDENTITY), _filter(image, _IDENTITY, _DERIVATIVE)])


def _refine(
    first: np.ndarray, second: np.ndarray, flow: np.ndarray, level: int, parameters: BroxLiuParameters
) -> np.ndarray:
    """The outer and inner fixed-point iterations of one pyramid level; features `(H, W, 3)`, flow `(H, W, 2)`."""
    height, width = flow.shape[:2]
    grid = np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))
    last = np.array((width - 1, height - 1), np.float32)
    smooth_first = _filter(first, _SMOOTHING, _SMOOTHING)
    for _ in range(parameters.outer_iterations + level):
        target = grid + flow
        warped = cv2.remap(second, target, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        smooth_warped = _filter(warped, _SMOOTHING, _SMOOTHING)
        between = 0.4 * smooth_first + 0.6 * smooth_warped
        inside = ((target >= 0) & (target <= last)).all(axis=-1, keepdims=True).astype(np.float32)
        dx = _filter(between, _DERIVATIVE, _IDENTITY) * inside
        dy = _filter(between, _IDENTITY, _DERIVATIVE) * inside
        dt = (smooth_warped - smooth_first) * inside
        increment = np.zeros_like(flow)
        for _ in range(parameters.inner_iterations):
            residual = dt + dx * increment[..., :1] + dy * increment[..., 1:]
            weight = 0.5 / np.sqrt(residual**2 + np.float32(_EPSILON**2))
            matrix = [(weight * product).mean(axis=-1) for product in (dx * dx, dx * dy, dy * dy)]
            to_right, to_below = _couplings(flow + increment, parameters.alpha)
            right_side = _diffuse(flow, to_right, to_below)
            right_side -= np.dstack([(weight * product).mean(axis=-1) for product in (dx * dt, dy * dt)])
            increment = _solve(matrix, right_side, to_right, to_below, parameters.sor_iterations + 3 * level)
        flow = flow + increment
    return flow


def _couplings(flow: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """How strongly smoothness ties each pixel to its right and lower neighbour, two `(H, W)`; 0 across the border."""
    squares = np.zeros(flow.shape[:2], np.float32)
    squares[:, :-1] += (np.diff(flow, axis=1) ** 2).sum(axis=-1)
    squares[:-1] += (np.diff(flow, axis=0) ** 2).sum(axis=-1)
    to_right = np.float32(0.5 * alpha) / np.sqrt(squares + np.float32(_EPSILON**2))
    to_below = to_right.copy()
    to_right[:, -1] = 0
    to_below[-1] = 0
    return to_right, to_below


def _diffuse(flow: np.ndarray, to_right: np.ndarray, to_below: np.ndarray) -> np.ndarray:
    """What smoothness asks of each pixel: the weighted differences to its four neighbours, `(H, W, 2)`."""
    result = np.zeros_like(flow)
    across = to_right[:, :-1, None] * np.diff(flow, axis=1)
    result[:, :-1] += across
    result[:, 1:] -= across
    down = to_below[:-1, :, None] * np.diff(flow, axis=0)
    result[:-1] += down
    result[1:] -= down
    return result


class _Checkerboard:
    """Splits fields `(…, H, W)` into the two colours of a checkerboard, `(…, n)` each, and joins them again.

    With an odd row length, the pixels of even position in memory are one colour, and the neighbours of the pixels of
    a colour, in any direction, are one contiguous piece of the other: rows are padded to that.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.row = width + 1 - width % 2
        self.count = (height + height % 2) * self.row // 2
        self.margin = (self.row + 1) // 2
        near, far = self.margin - 1, self.margin
        # of left, right, upper and lower neighbour, relative to the own position within the colour
        self.offsets = ((-1, 0, -far, near), (0, 1, -near, far))

    def split(self, field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        padding = [(0, 0)] * (field.ndim - 2) + [(0, self.height % 2), (0, self.row - self.width)]
        flat = np.pad(field, padding).reshape(*field.shape[:-2], -1)
        return np.ascontiguousarray(flat[..., 0::2]), np.ascontiguousarray(flat[..., 1::2])

    def join(self, even: np.ndarray, odd: np.ndarray) -> np.ndarray:
        return np.stack([even, odd], -1).reshape(*even.shape[:-1], -1, self.row)[..., : self.height, : self.width]


def _solve(
    matrix: list[np.ndarray], right_side: np.ndarray, to_right: np.ndarray, to_below: np.ndarray, iterations: int
) -> np.ndarray:
    """Solves for the increment `(H, W, 2)` by successive over-relaxation, starting from zero.

    Args:
        matrix: `[a, b, c]`, each `(H, W)`: the data term's part [[a, b], [b, c]] at each pixel.
        right_side: `(H, W, 2)`.
        to_right: couplings of `_couplings`.
        to_below: likewise.
        iterations: sweeps over all pixels.
    """
    board = _Checkerboard(*to_right.shape)
    from_left, from_above = np.roll(to_right, 1, axis=1), np.roll(to_below, 1, axis=0)
    weights = np.stack([from_left, to_right, from_above, to_below])
    coupled = weights.sum(axis=0)
    a, b, c = matrix[0] + coupled, matrix[1], matrix[2] + coupled
    inverse = np.stack([c, a, -b]) * (_OVER_RELAXATION / (a * c - b * b))
    colours = list(zip(*map(board.split, (weights, inverse, right_side.transpose(2, 0, 1))), board.offsets))
    n, margin = board.count, board.margin
    fields = [np.zeros((2, n + 2 * margin), np.float32) for _ in colours]
    own_parts = [field[:, margin : margin + n] for field in fields]
    total, product = np.empty((2, n), np.float32), np.empty((2, n), np.float32)
    for _ in range(iterations):
        for own, other, (weight, inverse, right, offsets) in zip(own_parts, fields[::-1], colours):
            np.copyto(total, right)
            for w, offset in zip(weight, offsets):
                start = margin + offset
                total += np.multiply(other[:, start : start + n], w, out=product)
            own *= np.float32(1 - _OVER_RELAXATION)
            own += np.multiply(total, inverse[:2], out=product)
            own += np.multiply(total[::-1], inverse[2], out=product)
    return np.ascontiguousarray(board.join(*own_parts).transpose(1, 2, 0))
