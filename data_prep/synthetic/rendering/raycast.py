"""Analytic ray casting of capsules: which one each ray meets first, and how far away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.synthetic.rendering.body import Capsules
from data_prep.synthetic.rendering.camera import Camera

BACKGROUND = -1


@dataclass(frozen=True)
class Hits:
    """What the rays of a picture meet.

    Attributes:
        depth: (H, W) float32, z in metres, infinite where nothing is met.
        part: (H, W) int16, index of the capsule, `BACKGROUND` where nothing is met.
        rows: (N,) rows of the rays that meet the body; `columns` likewise.
        points: (N, 3) where those meet it, metres.
        along: (N,) position on the capsule's axis, 0 … 1.
        normals: (N, 3) unit normals there.
    """

    depth: np.ndarray
    part: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    points: np.ndarray
    along: np.ndarray
    normals: np.ndarray


def cast(body: Capsules, camera: Camera, *, samples: int = 1) -> Hits:
    """Casts `samples`² rays per pixel at a body.

    Each capsule is tried only inside the rectangle its picture can cover. With a ray's direction d = (x/z, y/z, 1),
    the parameter at the hit is the depth itself, and the discriminant of the infinite cylinder is the quadratic form
    dᵀ·M·d; the hit on that cylinder decides which of cylinder, first or second cap is met.
    """
    columns, rows = camera.rays(samples)
    side = len(columns)
    depth = np.full(side * side, np.inf, np.float32)
    part = np.full(side * side, BACKGROUND, np.int16)
    for k, (left, top, right, bottom) in enumerate(_boxes(body, camera, samples)):
        if left >= right or top >= bottom:
            continue
        a, b, r2 = body.start[k], body.axis[k], body.radius[k] ** 2
        axis2, start2, start_axis = b @ b, a @ a, a @ b
        # |t·d − a|² less its part along the axis equals r²: (dᵀ·Q·d)·t² − 2·(l·d)·t + constant = 0
        square = axis2 * np.eye(3) - np.outer(b, b)
        linear = axis2 * a - start_axis * b
        form = np.outer(linear, linear) - (axis2 * start2 - start_axis**2 - r2 * axis2) * square
        u, v = columns[left:right], rows[top:bottom]
        discriminant = np.multiply.outer(_f32(2 * form[0, 1]) * v, u)
        discriminant += u * (_f32(form[0, 0]) * u + _f32(2 * form[0, 2]))
        discriminant += (v * (_f32(form[1, 1]) * v + _f32(2 * form[1, 2])) + _f32(form[2, 2]))[:, None]
        met = np.flatnonzero(discriminant > 0)
        if not len(met):
            continue
        y, x = np.divmod(met, right - left)
        u, v, root = u[x], v[y], np.sqrt(discriminant.ravel()[met])
        ray_axis, ray_start = _dot(b, u, v), _dot(a, u, v)
        length2 = u * u + v * v + 1
        quadratic = np.maximum(_f32(axis2) * length2 - ray_axis * ray_axis, _f32(1e-12))
        t = (_dot(linear, u, v) - root) / quadratic
        height = t * ray_axis - _f32(start_axis)
        capped = np.flatnonzero((height <= 0) | (height >= _f32(axis2)))
        if len(capped):
            second = height[capped] > 0
            towards = ray_start[capped] + np.where(second, ray_axis[capped], _f32(0))
            distance2 = np.where(second, _f32(start2 + 2 * start_axis + axis2 - r2), _f32(start2 - r2))
            inside = towards * towards - length2[capped] * distance2
            cap = (towards - np.sqrt(np.maximum(inside, 0))) / length2[capped]
            t[capped] = np.where(inside > 0, cap, _f32(np.inf))
        pixel = (y + top) * side + (x + left)
        nearer = t < depth[pixel]
        pixel = pixel[nearer]
        depth[pixel] = t[nearer]
        part[pixel] = k
    return _complete(body, columns, rows, depth, part)


def in_front(hits: Hits, depth: np.ndarray) -> Hits:
    """The hits that are nearer than something else, whose depth (H, W) is given in metres."""
    hidden = hits.depth >= depth
    kept = np.flatnonzero(~hidden[hits.rows, hits.columns])
    return Hits(
        np.where(hidden, np.float32(np.inf), hits.depth),
        np.where(hidden, np.int16(BACKGROUND), hits.part),
        *(values[kept] for values in (hits.rows, hits.columns, hits.points, hits.along, hits.normals)),
    )


_f32 = np.float32  # NumPy 1 would carry a float64 scalar's precision, and its cost, into the arrays


def _dot(vector: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y, z = vector.astype(np.float32)
    return x * u + (y * v + z)


def _complete(body: Capsules, columns: np.ndarray, rows: np.ndarray, depth: np.ndarray, part: np.ndarray) -> Hits:
    """Adds points, positions along the axes and normals to flat `depth` and `part`."""
    side = len(columns)
    hit = np.flatnonzero(part != BACKGROUND)
    hit_rows, hit_columns = np.divmod(hit, side)
    k, z = part[hit], depth[hit]
    points = np.stack([columns[hit_columns] * z, rows[hit_rows] * z, z], axis=1)
    axis = body.axis.astype(np.float32)
    offset, hit_axis = points - body.start.astype(np.float32)[k], axis[k]
    along = (offset * hit_axis).sum(1) / (axis * axis).sum(1)[k]
    along = np.clip(along, 0, 1)
    normals = (offset - along[:, None] * hit_axis) / body.radius.astype(np.float32)[k, None]
    return Hits(depth.reshape(side, side), part.reshape(side, side), hit_rows, hit_columns, points, along, normals)


def _boxes(body: Capsules, camera: Camera, samples: int) -> list[tuple[int, int, int, int]]:
    """(left, top, right, bottom) in rays, for each capsule; they may be larger than its picture, not smaller."""
    ends = np.stack([body.start, body.start + body.axis])
    centres = camera.project(ends) * samples
    z = ends[..., 2]
    slant = np.hypot(np.hypot(ends[..., 0], ends[..., 1]), z) / z
    reach = camera.focal * samples * body.radius * slant**2 / np.maximum(z - body.radius * slant, 0.05) + 1
    low = np.floor((centres - reach[..., None]).min(0)).clip(0, camera.size * samples).astype(int)
    high = np.ceil((centres + reach[..., None]).max(0)).clip(0, camera.size * samples).astype(int)
    return [(*a, *b) for a, b in zip(low.tolist(), high.tolist())]
