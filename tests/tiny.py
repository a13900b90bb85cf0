"""Tiny networks, and tiny records whose frames say which they are: grey levels hold column, row and index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import keras
import numpy as np

from dmcl_tf.data import records, table
from dmcl_tf.datasets import DATASETS, splits

MODALITIES = ("rgb", "depth", "flow")
SIZE = 48  # pixels; five grey levels per column and row
STEP = 5


def marked_frame(index: int, size: int = SIZE) -> np.ndarray:
    """A frame whose channels are 5 × column, 5 × row and 5 × `index`, which `read_marks` reads again."""
    frame = np.empty((size, size, 3), np.uint8)
    frame[..., 0] = np.minimum(STEP * np.arange(size), 255)
    frame[..., 1] = np.minimum(STEP * np.arange(size), 255)[:, None]
    frame[..., 2] = STEP * index
    return frame


def read_marks(clip: np.ndarray) -> tuple[list[int], int, int, bool]:
    """The frame indices of a clip (T, H, W, 3) of marked frames, its first row and column, and whether it is mirrored.

    Every pixel must agree: a clip whose frames were cut or mirrored differently is none.
    """
    levels = np.rint(np.asarray(clip, np.float64) / STEP).astype(int)
    indices = [int(np.median(frame[..., 2])) for frame in levels]
    mirrored = bool(levels[0, 0, 0, 0] > levels[0, 0, -1, 0])
    upright = levels[:, :, ::-1] if mirrored else levels
    height, width = upright.shape[1:3]
    top = int(np.median(upright[..., 1] - np.arange(height)[:, None]))  # the decoder is a level or two off at places
    left = int(np.median(upright[..., 0] - np.arange(width)))
    for index, frame in zip(indices, upright):
        expected = marked_frame(index)[top : top + height, left : left + width] // STEP
        assert np.abs(frame - expected).max() <= 1, "the frames of a clip differ in more than their index"
    return indices, top, left, mirrored


def encode_jpeg(image: np.ndarray) -> bytes:
    """The JPEG string of an RGB or grey image (H, W, 3 or 1), with as little loss as the format allows."""
    settings = (cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    return cv2.imencode(".jpg", image[..., ::-1], settings)[1].tobytes()


def write_records(
    directory: Path,
    videos: Mapping[str, int],
    *,
    modalities: Sequence[str] = MODALITIES,
    classes: int = 3,
    size: int = SIZE,
    lengths: Sequence[int] = (10, 17, 40),
    frame: Callable[[str, int, int], np.ndarray] | None = None,
    flow: Mapping[str, object] | None = None,
) -> table.Records:
    """Writes records of own videos, `videos[split]` of each split, and their table.

    Video k of a split is called `<split>-k`, is of class `k mod classes` and has `lengths[k mod …]` frames, marked ones
    unless `frame(modality, k, index)` draws them.
    """
    class_names = tuple(f"class {label}" for label in range(classes))
    rows = []
    for split, count in videos.items():
        for k in range(count):
            length, video_id = lengths[k % len(lengths)], f"{split}-{k}"
            frames = {
                modality: [frame(modality, k, i) if frame else marked_frame(i, size) for i in range(length)]
                for modality in modalities
            }
            images = {modality: [encode_jpeg(image) for image in frames[modality]] for modality in modalities}
            grey = tuple(m for m in modalities if all(image.shape[2] == 1 for image in frames[m]))
            about = records.About(video_id, length, length, size, size, "drawn", grey=grey)
            serialized = records.encode_video(about, images)
            path = records.record_path(directory, video_id)
            records.write_record(path, serialized)
            checksum, attributes = table.checksum(serialized), {"split": split}
            sizes = (length, length, path.stat().st_size)
            rows.append(
                table.Video(
                    video_id, class_names[k % classes], *sizes, checksum, "drawn", " ".join(grey), attributes=attributes
                )
            )
    description = table.Description(
        dataset="custom",
        title="Tiny",
        origin="drawn",
        class_names=class_names,
        modalities=tuple(modalities),
        frame_size=size,
        jpeg_quality=100,
        flow=dict(flow) if flow else None,
    )
    table.write_table(table.Records(directory, description, tuple(rows)), {})
    return table.Records.load(directory)


def split(info: table.Records) -> splits.Splits:
    """The splits that the table of `write_records` says."""
    return splits.make_splits(DATASETS["custom"], info, DATASETS["custom"].protocol())


def linear_networks(modalities: Sequence[str], classes: int) -> dict[str, keras.Model]:
    """Networks of one linear layer on the mean of a clip: the least that has features, logits, a kernel and a bias."""
    members = {}
    for modality in modalities:
        clips = keras.Input((None, None, None, 3))
        features = keras.layers.GlobalAveragePooling3D()(clips)
        outputs = {"features": features, "logits": keras.layers.Dense(classes)(features)}
        members[modality] = keras.Model(clips, outputs, name=modality)
    return members
