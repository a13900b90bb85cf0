"""One clip: its pictures, its true optical flow, its files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data_prep.synthetic.clip_id import ClipId, generator, parse_clip_id
from data_prep.synthetic.rendering.body import Capsules, body_size, capsules, clean_skeletons
from data_prep.synthetic.rendering.camera import Camera, frame_motion
from data_prep.synthetic.rendering.raycast import cast, in_front
from data_prep.synthetic.rendering.room import SAMPLES, Room, furnish
from data_prep.synthetic.rendering.scene import Clothing, Light, body_echo, dress, illuminate, shade
from data_prep.synthetic.rendering.sensor import colour_picture, depth_picture
from data_prep.synthetic.rendering.shadow import shadow
from data_prep.video.frames import encode_jpeg
from dmcl_tf.files import atomic_path

_JPEG_QUALITY = 95
_MILLISECONDS = 33  # between frames


@dataclass(frozen=True)
class Clip:
    """All that does not change during a clip, and its (L, 20, 3) mended skeletons."""

    clip_id: ClipId
    skeletons: np.ndarray
    camera: Camera
    clothing: Clothing
    light: Light
    body_scale: float

    def body(self, i: int) -> Capsules:
        """The person at frame i."""
        return capsules(self.skeletons[i], scale=self.body_scale)


def stage(skeletons: object, size: int, clip_id: str) -> Clip:
    """Sets up camera, clothes and light, all a function of the clip id.

    Args:
        skeletons: (L, 20, 3) metres, in the order and frame of the Kinect.
        size: side of the pictures in pixels.
        clip_id: `aAA_sSS_eEE_vVV`.

    Raises:
        InputError: skeletons without a person, or no such clip id.
    """
    parsed = parse_clip_id(clip_id)
    joints = clean_skeletons(skeletons)
    clothing = dress(parsed)
    camera = frame_motion(joints, size, generator("camera", clip_id))
    return Clip(parsed, joints, camera, clothing, illuminate(parsed), clothing.thickness * body_size(joints))


def render_frame(clip: Clip, room: Room, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Colour (H, W, 3) uint8 RGB and depth (H, W) uint8 of frame i, from the same rays."""
    body = clip.body(i)
    hits = in_front(cast(body, clip.camera, samples=SAMPLES), room.depth)
    size = (clip.camera.size, clip.camera.size)
    light = shadow(room, body, clip.skeletons[i], clip.light, clip.camera)
    colour = room.colour * np.repeat(np.repeat(light, SAMPLES, axis=0), SAMPLES, axis=1)[..., None]
    colour[hits.rows, hits.columns] = shade(hits, body, clip.clothing, clip.light)
    random = generator("noise", clip.clip_id, i)
    middle = np.s_[SAMPLES // 2 :: SAMPLES, SAMPLES // 2 :: SAMPLES]
    echo = np.zeros_like(room.depth)
    echo[hits.rows, hits.columns] = body_echo(hits, clip.clothing)
    echo = np.where(np.isfinite(hits.depth[middle]), echo[middle], room.echo)
    depth = np.minimum(hits.depth, room.depth)[middle]
    return (
        colour_picture(cv2.resize(colour, size, interpolation=cv2.INTER_AREA), random),
        depth_picture(depth, echo, clip.camera.focal, random),
    )


def render(clip: Clip) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields `render_frame` of every frame."""
    room = furnish(clip.clip_id, clip.skeletons, clip.camera, clip.light)
    for i in range(len(clip.skeletons)):
        yield render_frame(clip, room, i)


def true_flow(skeletons: object, i: int, size: int, clip_id: str) -> np.ndarray:
    """The optical flow from frame i to frame i + 1 of the rendered clip, from geometry.

    Each pixel's centre is traced to the body; the place it meets, fixed in its capsule's own coordinates (stretched
    along the axis where the bone changes its length), is moved to the next frame and projected. Places that become
    hidden have their flow all the same.

    Args:
        skeletons: (L, 20, 3) metres.
        i: frame, 0 … L - 2.
        size: side of the pictures in pixels.
        clip_id: as given to the renderer.

    Returns:
        (size, size, 2) float32 pixels, x to the right and y down; 0 on the background.

    Raises:
        InputError: see `stage`.
    """
    clip = stage(skeletons, size, clip_id)
    now, then = clip.body(i), clip.body(i + 1)
    hits = cast(now, clip.camera)
    part = hits.part[hits.rows, hits.columns]
    from_axis = hits.points - now.start[part] - hits.along[:, None] * now.axis[part]
    turn = then.frame @ now.frame.transpose(0, 2, 1)
    moved = then.start[part] + hits.along[:, None] * then.axis[part] + np.einsum("nij,nj->ni", turn[part], from_axis)
    flow = np.zeros((size, size, 2), np.float32)
    flow[hits.rows, hits.columns] = clip.camera.project(moved) - clip.camera.project(hits.points)
    return flow


def frame_names(clip_id: str, length: int) -> list[tuple[str, str]]:
    """File names of colour and depth of each frame, as NW-UCLA has them.

    Frame numbers are unpadded and start anywhere: in half of the clips they cross 99 → 100, in a quarter
    999 → 1000. Time stamps of colour and depth differ.
    """
    random = generator("names", clip_id)
    crossing = (100, 100, 1000, None)[random.integers(4)]
    if crossing is None or length < 2:
        first = int(random.integers(1, 1500))
    else:
        first = max(0, crossing - int(random.integers(1, length)))
    time = int(random.integers(10_000_000, 99_000_000))
    names = []
    for i in range(length):
        colour_time = time + _MILLISECONDS * i
        depth_time = colour_time + int(random.integers(1, _MILLISECONDS))
        number = first + i
        names.append((f"frame_{number}_tc_{colour_time}_rgb.jpg", f"frame_{number}_tc_{depth_time}_depth_vis.jpg"))
    return names


def write_clip(skeletons: object, clip_id: str, folder: Path, *, size: int) -> int:
    """Renders a clip into `folder`, which appears when it is complete; returns the number of frames.

    Raises:
        InputError: see `stage`.
    """
    clip = stage(skeletons, size, clip_id)
    names = frame_names(clip_id, len(clip.skeletons))
    with atomic_path(folder) as partial:
        partial.mkdir()
        for (colour_name, depth_name), (colour, depth) in zip(names, render(clip)):
            (partial / colour_name).write_bytes(encode_jpeg(colour[..., ::-1], _JPEG_QUALITY))
            (partial / depth_name).write_bytes(encode_jpeg(depth, _JPEG_QUALITY))
    return len(names)
