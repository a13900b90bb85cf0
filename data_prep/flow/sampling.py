"""Cubic interpolation of an image where a flow points to, a row at a time, compiled by Numba.

Images lie in flat memory with a border of `BORDER` repeated pixels on every side: pixel (x, y) at
(y + BORDER)·pitch + x + BORDER, where pitch = W + 2·BORDER. Interpolation is OpenCV's `INTER_CUBIC`, but at the exact
place instead of the nearest 1/32 of a pixel.
"""

from __future__ import annotations

import numpy as np

from data_prep.flow.compiled import compiled

BORDER = 2

_1, _2, _3, _4 = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
_ZERO, _ONE = np.float32(0), np.float32(1)
_A = np.float32(-0.75)  # the parameter of cubic interpolation
_B, _C, _D = np.float32(_A + 2), np.float32(_A + 3), np.float32(2 * _A + 3)


@compiled
def cubic_weights(t):
    """Of the four pixels about a place that lies t behind the second of them."""
    t2 = t * t
    t3 = t2 * t
    return _A * (t3 - t2 - t2 + t), _B * t3 - _C * t2 + _ONE, _D * t2 - _B * t3 - _A * t, _A * (t2 - t3)


@compiled
def locate(flow, start, y, height, pitch, corner, across, down, inside):
    """Finds where the pixels of row `y` move to.

    Args:
        flow: `(≥ 2, n)`, u and v; the row begins at `start`.
        corner: `(W,)` int32, becomes the position of the first of the 4 × 4 pixels to interpolate from.
        across: `(W,)`, becomes the fraction of a pixel beyond the second of them, along x.
        down: `(4, W)`, becomes the weights along y.
        inside: `(W,)`, becomes 1 where the pixel stays within the image, else 0.
    """
    right, bottom = np.float32(pitch - 2 * BORDER - 1), np.float32(height - 1)
    for x in range(np.uint64(corner.size)):
        px = np.float32(np.int32(x)) + flow[0, start + x]
        py = np.float32(y) + flow[1, start + x]
        cx, cy = min(max(px, _ZERO), right), min(max(py, _ZERO), bottom)
        column, row = np.int32(cx), np.int32(cy)
        inside[x] = _ONE if (px == cx) & (py == cy) else _ZERO
        corner[x] = np.int32((row + BORDER - 1) * pitch + column + BORDER - 1)
        across[x] = cx - np.float32(column)
        down[0, x], down[1, x], down[2, x], down[3, x] = cubic_weights(cy - np.float32(row))


@compiled
def interpolate(image, pitch, corner, across, down, columns, result):
    """Interpolates a row at the places of `locate`; `columns` `(4 W,)` is for its own use."""
    row = np.uint64(pitch)
    for x in range(np.uint64(corner.size)):
        a, b, c, d = down[0, x], down[1, x], down[2, x], down[3, x]
        i = np.uint64(corner[x])
        j, k, m = i + row, i + row + row, i + row + row + row
        # all four before any is stored: the compiler makes one vector of them
        first = a * image[i] + b * image[j] + c * image[k] + d * image[m]
        second = a * image[i + _1] + b * image[j + _1] + c * image[k + _1] + d * image[m + _1]
        third = a * image[i + _2] + b * image[j + _2] + c * image[k + _2] + d * image[m + _2]
        fourth = a * image[i + _3] + b * image[j + _3] + c * image[k + _3] + d * image[m + _3]
        q = _4 * x
        columns[q], columns[q + _1], columns[q + _2], columns[q + _3] = first, second, third, fourth
    for x in range(np.uint64(corner.size)):
        a, b, c, d = cubic_weights(across[x])
        q = _4 * x
        result[x] = a * columns[q] + b * columns[q + _1] + c * columns[q + _2] + d * columns[q + _3]
