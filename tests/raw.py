"""Raw videos, images and volumes as cameras and data sets give them, in miniature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dmcl_tf.errors import InputError

HEIGHT, WIDTH = 24, 32


def colour_frame(index: int, seed: int = 0) -> np.ndarray:
    """A smooth picture (24, 32, 3) of its own for each index and seed."""
    small = np.random.RandomState(100 * seed + index).randint(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(small, (WIDTH, HEIGHT))


def depth_frame(index: int, seed: int = 0) -> np.ndarray:
    """Millimetres (24, 32) uint16: a person at about 2 m that moves, without readings around."""
    depth = np.zeros((HEIGHT, WIDTH), np.uint16)
    left = (4 + index + 3 * seed) % (WIDTH - 14)
    depth[4:20, left : left + 12] = 2000 + 40 * np.arange(12, dtype=np.uint16)
    return depth


def write_video(path: Path, frames: int | Sequence[np.ndarray] = 12, seed: int = 0) -> Path:
    """Writes an AVI of motion JPEG, in which every frame can be decoded by itself."""
    images = [colour_frame(index, seed) for index in range(frames)] if isinstance(frames, int) else frames
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (width, height))
    assert writer.isOpened()
    for image in images:
        writer.write(image)
    writer.release()
    return path


def write_image(path: Path, image: np.ndarray) -> Path:
    """Writes an image in the format of the name's ending; names need not be ASCII."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def write_volume(
    path: Path, volume: np.ndarray, *, version: str, variable: str = "curFrame", **others: np.ndarray
) -> Path:
    """Writes H × W × T as MATLAB does: format "5", or "7.3", which is HDF5 with the dimensions reversed."""
    variables = {variable: volume, **others}
    path.parent.mkdir(parents=True, exist_ok=True)
    if version == "5":
        from scipy.io import savemat

        savemat(str(path), variables)
        return path
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in variables.items():
            dataset = file.create_dataset(name, data=values.T)
            dataset.attrs["MATLAB_class"] = np.bytes_(str(values.dtype))
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(124) + b"\x00\x02IM"
    with path.open("r+b") as file:
        file.write(header)
    return path


def images_of(source) -> list[np.ndarray]:
    """The images of all frames of a source, each of which can be read."""
    frames = list(source.frames())
    assert not any(isinstance(frame, InputError) for frame in frames)
    return [frame.image for frame in frames]
