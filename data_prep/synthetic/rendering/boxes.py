"""Ray casting of boxes: what a room is made of, from its walls to the legs of its chairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.synthetic.rendering.camera import Camera

_NEAREST = 0.1  # metres: nothing nearer is seen
_f32 = np.float32


@dataclass(frozen=True)
class Boxes:
    """K boxes, turned anyhow, in the camera's frame.

    Attributes:
        centre: (K, 3) metres.
        half: (K, 3) metres, half of the extent along each of the box's own axes.
        axes: (K, 3, 3) whose rows are those axes, unit vectors.
    """

    centre: np.ndarray
    half: np.ndarray
    axes: np.ndarray

    def subset(self, chosen: np.ndarray) -> Boxes:
        """The boxes of an index or mask (K,)."""
        return Boxes(self.centre[chosen], self.half[chosen], self.axes[chosen])


@dataclass(frozen=True)
class Surfaces:
    """What the N rays of a picture meet, row by row; every ray must meet a box.

    Attributes:
        box: (N,) index of the box.
        points: (N, 3) float32 metres, where it is met.
        normals: (N, 3) float32, unit vectors out of the box.
        texel: (N, 2) float32 metres, position on the face that is met: along it, and up or inwards.
    """

    box: np.ndarray
    points: np.ndarray
    normals: np.ndarray
    texel: np.ndarray


def cast_boxes(boxes: Boxes, camera: Camera, *, samples: int) -> Surfaces:
    """Casts `samples`² rays per pixel, by the method of slabs (Kay, Kajiya 1986), inside each box's rectangle."""
    columns, rows = camera.rays(samples)
    side = len(columns)
    depth = np.full((side, side), np.inf, np.float32)
    nearest = np.full((side, side), -1, np.int16)
    origin = -np.einsum("kij,kj->ki", boxes.axes, boxes.centre)
    for k, (left, top, right, bottom) in enumerate(_rectangles(boxes, camera, samples)):
        if left >= right or top >= bottom:
            continue
        u, v, window = columns[left:right], rows[top:bottom, None], np.s_[top:bottom, left:right]
        enter, leave = np.full((bottom - top, right - left), _NEAREST, np.float32), depth[window]
        for axis, half, start in zip(boxes.axes[k].astype(np.float32), boxes.half[k], origin[k]):
            # an exact zero would make 0 · ∞ on a face
            slope = 1 / ((u * axis[0] + (v * axis[1] + axis[2])) + _f32(1e-9))
            one, other = slope * _f32(-half - start), slope * _f32(half - start)
            enter, leave = np.maximum(enter, np.minimum(one, other)), np.minimum(leave, np.maximum(one, other))
        met = (enter < leave) & (enter > _NEAREST)
        depth[window][met] = enter[met]
        nearest[window][met] = k
    return _complete(boxes, columns, rows, depth, nearest.ravel())


def _complete(boxes: Boxes, columns: np.ndarray, rows: np.ndarray, depth: np.ndarray, box: np.ndarray) -> Surfaces:
    """Adds points, normals and positions on the faces."""
    points = np.stack([columns * depth, rows[:, None] * depth, depth], axis=-1).reshape(-1, 3)
    axes, half = boxes.axes.astype(np.float32)[box], boxes.half.astype(np.float32)[box]
    local = np.einsum("nij,nj->ni", axes, points - boxes.centre.astype(np.float32)[box])
    face = (np.abs(local) / half).argmax(1)
    n = np.arange(len(box))
    normals = axes[n, face] * np.sign(local[n, face])[:, None]
    along = np.where(face == 0, local[:, 2], local[:, 0])
    upwards = np.where(face == 1, local[:, 2], local[:, 1])
    return Surfaces(box, points, normals, np.stack([along, upwards], axis=1))


def blocked(points: np.ndarray, towards: np.ndarray, boxes: Boxes, *, reach: float = np.inf) -> np.ndarray:
    """Which rays meet a box: (N,) bool.

    Args:
        points: (N, 3) metres, where the rays start.
        towards: (3,) or (N, 3), their directions.
        boxes: what may be in the way; a ray that starts on a box's face is not blocked by leaving it.
        reach: how far the rays go, in lengths of `towards`.
    """
    points, towards = points.astype(np.float32), np.atleast_2d(towards)
    answer = np.zeros(len(points), bool)
    for k in range(len(boxes.centre)):
        axes = boxes.axes[k]
        starts = axes.astype(np.float32) @ points.T - (axes @ boxes.centre[k]).astype(np.float32)[:, None]
        slopes = (1 / (towards @ axes.T + 1e-9)).astype(np.float32).T
        enter, leave = _f32(0), _f32(reach)
        for half, start, slope in zip(boxes.half[k] - 1e-3, starts, slopes):
            middle, around = start * -slope, _f32(half) * np.abs(slope)
            enter, leave = np.maximum(enter, middle - around), np.minimum(leave, middle + around)
        answer |= enter < leave
    return answer


def _rectangles(boxes: Boxes, camera: Camera, samples: int) -> list[tuple[int, int, int, int]]:
    """(left, top, right, bottom) in rays that hold each box's picture; all of it for boxes beside the camera."""
    side = camera.size * samples
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = boxes.centre[:, None] + (signs * boxes.half[:, None]) @ boxes.axes
    ahead = corners[..., 2] > _NEAREST
    pixels = camera.project(np.where(ahead[..., None], corners, [0, 0, 1])) * samples
    low = np.floor(pixels.min(1) - 1).clip(0, side).astype(int)
    high = np.ceil(pixels.max(1) + 1).clip(0, side).astype(int)
    beside, behind = ~ahead.all(1), ~ahead.any(1)
    low[beside], high[beside] = 0, side
    high[behind] = 0
    return [(*a, *b) for a, b in zip(low.tolist(), high.tolist())]
