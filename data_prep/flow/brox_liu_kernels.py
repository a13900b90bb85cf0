"""The loops of the variational method, compiled by Numba; `brox_liu` says what they are for.

Fields are `(…, H, W)` float32 until the linear system is solved. There, the pixels of the two colours of a checkerboard
lie apart, `(2, …, n)`: with an odd number of pixels per row, the pixels of even position in memory are one colour, and
the neighbours of a run of pixels of one colour, in any direction, are one run of the other. Pixels added to that end
have no weights. Indices are unsigned, as in `tvl1_kernels`.
"""

from __future__ import annotations

import numpy as np

from data_prep.flow.compiled import compiled
from data_prep.flow.sampling import interpolate, locate

# What the solver keeps of a pixel: the weights of its neighbours, the inverse of its 2 × 2 matrix times the
# over-relaxation, the right side, and the increment.
LEFT, RIGHT, ABOVE, BELOW, INVERSE_U, INVERSE_V, INVERSE_UV, SIDE_U, SIDE_V, U, V = range(11)
PARTS = 11

_RUN = 1024  # pixels that a loop passes over, about
_1, _2, _3, _4 = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
_ONE, _HALF, _ZERO = np.float32(1), np.float32(0.5), np.float32(0)
_OVER_RELAXATION = np.float32(1.8)
_REST = np.float32(1) - _OVER_RELAXATION
_NEAR, _FAR = np.float32(0.6 * 8 / 12), np.float32(0.6 / 12)  # weights of the differences in a derivative


def new_board(height: int, width: int) -> np.ndarray:
    """Returns an empty checkerboard `(2, PARTS, n)`: a row more than the image's at both ends."""
    row = width | 1
    return np.zeros((2, PARTS, (height + height % 2) * row // 2 + row + 1), np.float32)


@compiled
def warp(images, flow, pitch, warped, inside):
    """Interpolates where the flow `(2, H, W)` points to.

    Args:
        images: `(C, n)`, each laid out as in `sampling`.
        flow: in pixels.
        pitch: of the images.
        warped: `(C, H, W)`, filled.
        inside: `(H, W)`, filled with 1 where the flow points into the images, else 0.
    """
    channels, height, width = warped.shape
    corner, across, down = np.empty(width, np.int32), np.empty(width, np.float32), np.empty((4, width), np.float32)
    columns, flat = np.empty(4 * width, np.float32), flow.reshape(2, height * width)
    for y in range(height):
        locate(flat, np.uint64(y * width), y, height, pitch, corner, across, down, inside[y])
        for channel in range(channels):
            interpolate(images[channel], pitch, corner, across, down, columns, warped[channel, y])


@compiled
def data_term(first, first_dx, first_dy, warped, inside, increment, epsilon2, terms):
    """The data term of each pixel: a, b, c of its matrix [[a, b], [b, c]], then its two right sides, `(5, H, W)`.

    Derivatives are those of 0.4 of the first image and 0.6 of the warped one.

    Args:
        first: features `(C, H, W)` of the first image.
        first_dx: what they add to the derivative along x; `first_dy` along y.
        warped: features `(C, H + 4, W + 4)` of the warped image, with two repeated pixels on every side.
        inside: `(H, W)`, 0 for pixels without a data term.
        increment: `(2, H, W)`, the one so far.
        epsilon2: ε².
        terms: `(5, H, W)`, filled.
    """
    channels, height, width = first.shape
    share = _HALF / np.float32(channels)
    terms[:] = _ZERO
    for channel in range(channels):
        for y in range(np.uint64(height)):
            j, k = y + _2, y + _4
            for x in range(np.uint64(width)):
                i, m = x + _2, inside[y, x]
                near, far = warped[channel, j, x + _3] - warped[channel, j, x + _1], warped[channel, j, x + _4]
                gx = m * (first_dx[channel, y, x] + _NEAR * near - _FAR * (far - warped[channel, j, x]))
                near, far = warped[channel, y + _3, i] - warped[channel, y + _1, i], warped[channel, k, i]
                gy = m * (first_dy[channel, y, x] + _NEAR * near - _FAR * (far - warped[channel, y, i]))
                gt = m * (warped[channel, j, i] - first[channel, y, x])
                residual = gt + gx * increment[0, y, x] + gy * increment[1, y, x]
                weight = share / np.sqrt(residual * residual + epsilon2)
                terms[0, y, x] += weight * gx * gx
                terms[1, y, x] += weight * gx * gy
                terms[2, y, x] += weight * gy * gy
                terms[3, y, x] -= weight * gx * gt
                terms[4, y, x] -= weight * gy * gt


@compiled
def couplings(flow, alpha, epsilon2, to_right, to_below):
    """How strongly smoothness ties pixels of a flow `(2, H, W)` to their right and lower neighbours; 0 at borders."""
    height, width = np.uint64(flow.shape[1]), np.uint64(flow.shape[2])
    for y in range(height):
        below = min(y + _1, height - _1)
        for x in range(width - _1):
            u, v = flow[0, y, x], flow[1, y, x]
            across_u, across_v = flow[0, y, x + _1] - u, flow[1, y, x + _1] - v
            down_u, down_v = flow[0, below, x] - u, flow[1, below, x] - v
            squares = across_u * across_u + across_v * across_v + (down_u * down_u + down_v * down_v)
            to_right[y, x] = to_below[y, x] = _HALF * alpha / np.sqrt(squares + epsilon2)
        last = width - _1
        down_u, down_v = flow[0, below, last] - flow[0, y, last], flow[1, below, last] - flow[1, y, last]
        to_below[y, last] = _HALF * alpha / np.sqrt(down_u * down_u + down_v * down_v + epsilon2)
        to_right[y, last] = _ZERO
    for x in range(width):
        to_below[height - _1, x] = _ZERO


@compiled
def assemble(terms, flow, to_right, to_below, board):
    """Puts the linear system onto the checkerboard: the data term, and smoothness, also that of `flow`."""
    height, width = np.uint64(flow.shape[1]), np.uint64(flow.shape[2])
    odd_row = width | _1
    margin = (odd_row + _1) >> _1
    parts = np.zeros((PARTS, width + _1), np.float32)
    across = np.zeros((2, width + _1), np.float32)  # what smoothness moves over a pixel's left edge, for u and v
    for y in range(height):
        above, below = y - _1 if y > 0 else y, min(y + _1, height - _1)
        for x in range(width - _1):
            weight = to_right[y, x]
            parts[LEFT, x + _1] = weight
            across[0, x + _1] = weight * (flow[0, y, x + _1] - flow[0, y, x])
            across[1, x + _1] = weight * (flow[1, y, x + _1] - flow[1, y, x])
        uppermost = _ZERO if y == 0 else _ONE
        for x in range(width):
            wa, wb = uppermost * to_below[above, x], to_below[y, x]
            coupled = parts[LEFT, x] + to_right[y, x] + wa + wb
            a, b, c = terms[0, y, x] + coupled, terms[1, y, x], terms[2, y, x] + coupled
            scale = _OVER_RELAXATION / (a * c - b * b)
            parts[RIGHT, x], parts[ABOVE, x], parts[BELOW, x] = to_right[y, x], wa, wb
            parts[INVERSE_U, x], parts[INVERSE_V, x], parts[INVERSE_UV, x] = c * scale, a * scale, -b * scale
        for x in range(width):
            wa, wb = parts[ABOVE, x], parts[BELOW, x]
            u, v = flow[0, y, x], flow[1, y, x]
            down_u = wa * (flow[0, above, x] - u) + wb * (flow[0, below, x] - u)
            down_v = wa * (flow[1, above, x] - v) + wb * (flow[1, below, x] - v)
            parts[SIDE_U, x] = terms[3, y, x] + across[0, x + _1] - across[0, x] + down_u
            parts[SIDE_V, x] = terms[4, y, x] + across[1, x + _1] - across[1, x] + down_v
        start = y * odd_row
        colour = start & _1  # of the first pixel of the row
        first, second = margin + (start >> _1), margin + ((start + _1) >> _1)
        for part in range(SIDE_V + 1):
            for k in range(width >> _1):
                board[colour, part, first + k] = parts[part, _2 * k]
                board[_1 - colour, part, second + k] = parts[part, _2 * k + _1]
            if width & _1:
                board[colour, part, first + (width >> _1)] = parts[part, width - _1]


@compiled
def _relax(board, colour, other, start, end, left, right, above, below):
    """One step of a run of pixels of one colour; the arguments behind it are the neighbours' distances."""
    for i in range(start, end):
        wl, wr, wa, wb = (
            board[colour, LEFT, i],
            board[colour, RIGHT, i],
            board[colour, ABOVE, i],
            board[colour, BELOW, i],
        )
        u = board[colour, SIDE_U, i]
        u += wl * board[other, U, i - left] + wr * board[other, U, i + right]
        u += wa * board[other, U, i - above] + wb * board[other, U, i + below]
        v = board[colour, SIDE_V, i]
        v += wl * board[other, V, i - left] + wr * board[other, V, i + right]
        v += wa * board[other, V, i - above] + wb * board[other, V, i + below]
        mixed = board[colour, INVERSE_UV, i]
        board[colour, U, i] = _REST * board[colour, U, i] + board[colour, INVERSE_U, i] * u + mixed * v
        board[colour, V, i] = _REST * board[colour, V, i] + board[colour, INVERSE_V, i] * v + mixed * u


@compiled
def solve(board, height, width, iterations, increment):
    """Solves for the `increment` `(2, H, W)` by successive over-relaxation, starting from zero."""
    row = width | 1
    margin = (row + 1) // 2
    far, near = np.uint64(margin), np.uint64(margin - 1)
    begin, finish = margin, margin + (height + height % 2) * row // 2
    for colour in range(2):
        for part in (U, V):
            for k in range(board.shape[2]):
                board[colour, part, k] = _ZERO
    # Each half of an iteration works a row behind the one before, so that all find their pixels in the cache.
    for front in range(begin, finish + (2 * iterations - 1) * margin, _RUN):
        for half in range(2 * iterations):
            start, end = max(begin, front - half * margin), min(finish, front - half * margin + _RUN)
            if start >= end:
                continue
            if half % 2 == 0:
                _relax(board, 0, 1, np.uint64(start), np.uint64(end), _1, np.uint64(0), far, near)
            else:
                _relax(board, 1, 0, np.uint64(start), np.uint64(end), np.uint64(0), _1, near, far)
    for y in range(np.uint64(height)):
        start = y * np.uint64(row)
        for colour in range(_2):
            x0 = (colour + start) & _1
            k0 = np.uint64(margin) + ((start + x0) >> _1)
            for component in range(_2):
                for k in range((np.uint64(width) + _1 - x0) >> _1):
                    increment[component, y, x0 + _2 * k] = board[colour, U + component, k0 + k]
