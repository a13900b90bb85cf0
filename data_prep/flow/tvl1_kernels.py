"""The loops of TV-L1, compiled by Numba; `tvl1` derives what they compute.

A field of a pyramid level, `(H, W)`, lies in a flat run of memory with a border of `BORDER` pixels on every side: pixel
(x, y) at (y + BORDER)·pitch + x + BORDER, where pitch = W + 2·BORDER. All fields of a level are the rows of one array,
the state `(FIELDS, …)` float32. A loop passes over several rows of the image and the border between them at once, as
short loops would spend their time on starting.

Indices are unsigned: for signed ones Numba tests whether they count from the end, and such loops are not vectorised.
The arithmetic is IEEE's, neither contracted nor reordered, so that results do not depend on the width of a processor's
vectors.
"""

from __future__ import annotations

import cv2
import numpy as np

from data_prep.flow.compiled import compiled
from data_prep.flow.sampling import BORDER, interpolate, locate

# The flow; its dual (x and y part of u's, then of v's); gradient, ρ and τ / ((τ + θ) |∇I|²); the mean of both images;
# 1 where the flow points into the image, else 0
U, V, UX, UY, VX, VY, GX, GY, RHO, GAIN, MEAN, INSIDE = range(12)
FIELDS = 12
CARRIED = 6  # the first fields are handed on from level to level

_BORDER = np.uint64(BORDER)
_1, _2 = np.uint64(1), np.uint64(2)
_RUN = 1024  # pixels that a loop passes over, about
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_FAR, _NEAR = np.float32(1 / 12), np.float32(8 / 12)  # weights of a derivative's differences
_FLAT = np.float32(1e-6)  # squared gradient up to which there is no data term


def state_shape(height: int, pitch: int) -> tuple[int, int]:
    """Returns the shape of the state of an image."""
    lines = -(-(height + 2 * BORDER) * pitch // 16)
    # Fields that start a multiple of 4096 bytes apart would evict each other from the cache.
    return FIELDS, 16 * (lines + (5 - lines) % 64)


def flow_of(state: np.ndarray, height: int, pitch: int) -> np.ndarray:
    """Returns the flow `(H, W, 2)` in a state."""
    rows = state[: V + 1, : (height + 2 * BORDER) * pitch].reshape(2, -1, pitch)
    return cv2.merge(tuple(rows[:, BORDER:-BORDER, BORDER:-BORDER]))  # faster than NumPy


@compiled
def _places(size, coarse_size):
    """Where the pixels of a row lie between the pixels of a coarser one: the left neighbours and how far from them."""
    left, share = np.empty(size, np.int64), np.empty(size, np.float32)
    for x in range(size):
        place = min(max((x + 0.5) * coarse_size / size - 0.5, 0.0), coarse_size - 1.0)
        left[x] = min(int(place), coarse_size - 2)
        share[x] = place - left[x]
    return left, share


@compiled
def enlarge(coarse, coarse_height, coarse_pitch, state, height, pitch, scales):
    """Hands flow and dual on to a finer level, by linear interpolation; the fields are multiplied by `scales`."""
    width, coarse_width = pitch - 2 * BORDER, coarse_pitch - 2 * BORDER
    left, right_share = _places(width, coarse_width)
    above, below_share = _places(height, coarse_height)
    row = np.empty(coarse_width, np.float32)
    for y in range(height):
        start = np.uint64((y + BORDER) * pitch + BORDER)
        upper = np.uint64((above[y] + BORDER) * coarse_pitch + BORDER)
        lower = upper + np.uint64(coarse_pitch)
        down = below_share[y]
        for field in range(scales.size):
            scale = scales[field]
            for x in range(np.uint64(coarse_width)):
                value = coarse[field, upper + x]
                row[x] = scale * (value + down * (coarse[field, lower + x] - value))
            for x in range(np.uint64(width)):
                i = np.uint64(left[x])
                value = row[i]
                state[field, start + x] = value + right_share[x] * (row[i + _1] - value)
    bottom = height + BORDER
    _clear_dual_at_border(state, bottom - height, bottom, bottom, pitch)


@compiled
def _update_flow(state, start, end, pitch, tau, limit):
    for i in range(start, end):
        u = state[U, i] + tau * (state[UX, i] - state[UX, i - _1] + state[UY, i] - state[UY, i - pitch])
        v = state[V, i] + tau * (state[VX, i] - state[VX, i - _1] + state[VY, i] - state[VY, i - pitch])
        gx, gy = state[GX, i], state[GY, i]
        step = min(max(state[GAIN, i] * (state[RHO, i] + gx * u + gy * v), -limit), limit)
        state[U, i] = u - step * gx
        state[V, i] = v - step * gy


@compiled
def _update_dual(state, start, end, pitch, sigma):
    for i in range(start, end):
        u, v = state[U, i], state[V, i]
        ux = state[UX, i] + sigma * (state[U, i + _1] - u)
        uy = state[UY, i] + sigma * (state[U, i + pitch] - u)
        vx = state[VX, i] + sigma * (state[V, i + _1] - v)
        vy = state[VY, i] + sigma * (state[V, i + pitch] - v)
        shrink = _ONE / max(np.sqrt(ux * ux + uy * uy + vx * vx + vy * vy), _ONE)
        state[UX, i] = ux * shrink
        state[UY, i] = uy * shrink
        state[VX, i] = vx * shrink
        state[VY, i] = vy * shrink


@compiled
def _clear_dual_at_border(state, top, bottom, last, pitch):
    """Takes out what would reach across the border: left and right of the rows up to `bottom`, and below `last`."""
    width = np.uint64(pitch) - _2 * _BORDER
    for y in range(top, bottom):
        left = np.uint64(y * pitch) + _BORDER
        right = left + width - _1
        state[UX, left - _1] = state[VX, left - _1] = state[UX, right] = state[VX, right] = _ZERO
    if bottom == last:
        for i in range(np.uint64((last - 1) * pitch), np.uint64(last * pitch)):
            state[UY, i] = state[VY, i] = _ZERO


@compiled
def iterate(state, height, pitch, iterations, tau, sigma, limit):
    """Takes the two steps in turn; `limit` = λτ."""
    first, last = BORDER, BORDER + height  # rows of the image
    rows, step = max(1, _RUN // pitch), np.uint64(pitch)
    # Each iteration works one row behind the one before it, on a few rows, so that all find their rows in the cache.
    for front in range(first + rows, last + iterations + rows + 1, rows):
        for i in range(iterations):
            top, bottom = max(first, front - i - rows), min(last, front - i)
            if top < bottom:
                start, end = np.uint64(top * pitch) + _BORDER, np.uint64(bottom * pitch) - _BORDER
                _update_flow(state, start, end, step, tau, limit)
            # The dual of a row needs the flow of the row below.
            top, bottom = max(first, front - i - rows - 1), min(last, front - i - 1)
            if top < bottom:
                start, end = np.uint64(top * pitch) + _BORDER, np.uint64(bottom * pitch) - _BORDER
                _update_dual(state, start, end, step, sigma)
                _clear_dual_at_border(state, top, bottom, last, pitch)


@compiled
def repeat_border(state, field, height, pitch):
    """Fills the border of a field with the pixels next to it."""
    step, width, rows = np.uint64(pitch), np.uint64(pitch - 2 * BORDER), np.uint64(height)
    for y in range(_BORDER, _BORDER + rows):
        left = y * step + _BORDER
        right = left + width - _1
        state[field, left - _1] = state[field, left - _2] = state[field, left]
        state[field, right + _1] = state[field, right + _2] = state[field, right]
    top, bottom = _BORDER * step, (rows + _1) * step
    for i in range(step):
        state[field, i] = state[field, i + step] = state[field, i + top]
        state[field, i + bottom + step] = state[field, i + bottom + _2 * step] = state[field, i + bottom]


@compiled
def _sorted(a, b, c):
    low, high = min(a, b), max(a, b)
    return min(low, c), min(max(low, c), high), max(high, c)


@compiled
def median_filter(state, field, height, pitch):
    """Each pixel of a field, whose border is filled, becomes the median of 3 × 3 pixels."""
    pitch = np.uint64(pitch)
    start, end = _BORDER * pitch + _BORDER, (_BORDER + np.uint64(height)) * pitch - _BORDER
    for i in range(start, end):
        above, below = i - pitch, i + pitch
        a0, a1, a2 = _sorted(state[field, above - _1], state[field, i - _1], state[field, below - _1])
        b0, b1, b2 = _sorted(state[field, above], state[field, i], state[field, below])
        c0, c1, c2 = _sorted(state[field, above + _1], state[field, i + _1], state[field, below + _1])
        # the median of the largest low, the median middle and the smallest high value of the columns
        low, middle, high = max(max(a0, b0), c0), _sorted(a1, b1, c1)[1], min(min(a2, b2), c2)
        state[MEAN, i] = _sorted(low, middle, high)[1]
    for i in range(start, end):
        state[field, i] = state[MEAN, i]


@compiled
def warp(state, first, second, height, pitch):
    """Compares the first image with the second where the flow points to: `RHO`, their difference, and `MEAN`."""
    width = np.uint64(pitch - 2 * BORDER)
    corner, down, columns = np.empty(width, np.int32), np.empty((4, width), np.float32), np.empty(4 * width, np.float32)
    across, inside, warped = (np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32))
    for y in range(height):
        start = np.uint64((y + BORDER) * pitch + BORDER)
        locate(state, start, y, height, pitch, corner, across, down, inside)
        interpolate(second, pitch, corner, across, down, columns, warped)
        for x in range(width):
            i = start + x
            state[INSIDE, i] = inside[x]
            state[RHO, i] = warped[x] - first[i]
            state[MEAN, i] = _HALF * (warped[x] + first[i])


@compiled
def linearise(state, height, pitch, share):
    """Makes the data term of what `warp` found, `MEAN` with its border: ρ as if the flow were 0, and all beside it."""
    pitch = np.uint64(pitch)
    start, end, twice = _BORDER * pitch + _BORDER, (_BORDER + np.uint64(height)) * pitch - _BORDER, pitch + pitch
    for i in range(start, end):
        inside = state[INSIDE, i]
        near, far = state[MEAN, i + _1] - state[MEAN, i - _1], state[MEAN, i + _2] - state[MEAN, i - _2]
        gx = inside * (_NEAR * near - _FAR * far)
        near, far = state[MEAN, i + pitch] - state[MEAN, i - pitch], state[MEAN, i + twice] - state[MEAN, i - twice]
        gy = inside * (_NEAR * near - _FAR * far)
        squared = gx * gx + gy * gy
        state[GX, i] = gx
        state[GY, i] = gy
        state[RHO, i] = inside * state[RHO, i] - gx * state[U, i] - gy * state[V, i]
        state[GAIN, i] = share / squared if squared > _FLAT else _ZERO
