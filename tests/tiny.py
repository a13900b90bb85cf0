"""Tiny networks, and tiny records whose frames say which they are: grey levels hold column, row and index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf

from dmcl_tf.data import records

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
    shards: int = 2,
    frame: Callable[[str, int, int], np.ndarray] | None = None,
) -> records.DatasetInfo:
    """Writes records of `videos[split]` videos each and their `dataset.json`.

    Video k of a split is called `<split>-k`, has label k mod `classes` and `lengths[k mod …]` frames, marked ones
    unless `frame(modality, k, index)` draws them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written, clips = {}, {"validation": {}, "test": {}}
    for split in records.SPLITS:
        count = videos.get(split, 0)
        written[split] = []
        for shard in range(shards if count else 0):
            path = directory / records.shard_name(split, shard, shards)
            members = range(shard, count, shards)
            with tf.io.TFRecordWriter(str(path)) as writer:
                for k in members:
                    length = lengths[k % len(lengths)]
                    images = {
                        modality: [
                            encode_jpeg(frame(modality, k, i) if frame else marked_frame(i, size))
                            for i in range(length)
                        ]
                        for modality in modalities
                    }
                    writer.write(records.encode_video(f"{split}-{k}", k % classes, size, size, images))
                    if split in clips:
                        clips[split][f"{split}-{k}"] = records.draw_clips(f"{split}-{k}", length, clips=3).tolist()
            written[split].append(records.Shard(path.name, len(members), path.stat().st_size))
    class_names = tuple(f"class {label}" for label in range(classes))
    return records.DatasetInfo(
        dataset="tiny",
        title="Tiny",
        origin="drawn",
        protocol={},
        class_names=class_names,
        modalities=tuple(modalities),
        frame_size=size,
        jpeg_quality=100,
        flow=None,
        counts={
            split: {
                name: sum(k % classes == label for k in range(videos.get(split, 0)))
                for label, name in enumerate(class_names)
            }
            for split in records.SPLITS
        },
        shards={split: tuple(members) for split, members in written.items()},
        clips=clips,
        versions={},
    ).save(directory)


def linear_networks(modalities: Sequence[str], classes: int) -> dict[str, keras.Model]:
    """Networks of one linear layer on the mean of a clip: the least that has logits, a kernel and a bias."""
    members = {}
    for modality in modalities:
        clips = keras.Input((None, None, None, 3))
        logits = keras.layers.Dense(classes)(keras.layers.GlobalAveragePooling3D()(clips))
        members[modality] = keras.Model(clips, logits, name=modality)
    return members
