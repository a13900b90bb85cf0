"""The TFRecord format: one `SequenceExample` per video, in shards described by `dataset.json`.

Context features: `video_id` (bytes), `label`, `length` (frames), `height`, `width` (pixels). One feature list per
modality, named after it, with `length` JPEG strings; element i of every modality shows the same moment.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from dmcl_tf.errors import InputError

SPLITS = ("train", "validation", "test")

_CONTEXT = {
    "video_id": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "length": tf.io.FixedLenFeature([], tf.int64),
    "height": tf.io.FixedLenFeature([], tf.int64),
    "width": tf.io.FixedLenFeature([], tf.int64),
}


def encode_video(video_id: str, label: int, height: int, width: int, frames: Mapping[str, Sequence[bytes]]) -> bytes:
    """Returns one video as a serialized `SequenceExample`; the same arguments always give the same bytes.

    Args:
        video_id: unique in the data set.
        label: 0 … number of classes - 1.
        height: of every frame, in pixels.
        width: of every frame, in pixels.
        frames: JPEG strings in temporal order by modality, equally many for each.

    Raises:
        ValueError: the modalities differ in their number of frames, or there are none.
    """
    lengths = {modality: len(images) for modality, images in frames.items()}
    if len(set(lengths.values())) != 1 or not min(lengths.values()):
        raise ValueError(f"{video_id}: every modality needs equally many frames, at least one; got {lengths}")
    example = tf.train.SequenceExample()
    example.context.feature["video_id"].bytes_list.value.append(video_id.encode())
    sizes = {"label": label, "length": next(iter(lengths.values())), "height": height, "width": width}
    for name, value in sizes.items():
        example.context.feature[name].int64_list.value.append(value)
    for modality, images in frames.items():
        feature_list = example.feature_lists.feature_list[modality].feature
        for image in images:
            feature_list.add().bytes_list.value.append(image)
    return example.SerializeToString(deterministic=True)  # the order of map entries is otherwise free


def parse_video(serialized: tf.Tensor, modalities: Iterable[str]) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """Parses one serialized video; works eagerly and in `tf.data`.

    Returns:
        The context: scalars `video_id` (string), `label`, `length`, `height`, `width` (int64).
        The frames: by modality, `(length,)` JPEG strings, still encoded.
    """
    return tf.io.parse_single_sequence_example(
        serialized,
        context_features=_CONTEXT,
        sequence_features={modality: tf.io.FixedLenSequenceFeature([], tf.string) for modality in modalities},
    )


def parse_context(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """The context of one serialized video, as `parse_video` returns it, without its frames."""
    return tf.io.parse_single_sequence_example(serialized, context_features=_CONTEXT)[0]


def draw_clips(video_id: str, length: int, *, clips: int = 10, frames: int = 8) -> np.ndarray:
    """Draws the fixed clips by which a validation or test video is judged.

    A video of L frames is cut into as many segments as a clip has frames; index j is uniform in
    [ceil(j·L/frames), ceil((j+1)·L/frames)), the sampling of the paper. The seed is the CRC-32 of `video_id`, so that
    every experiment sees the same clips. Deviation: the authors draw once without a seed and keep the result.

    Returns:
        `(clips, frames)` int64 frame indices, the same for all modalities.

    Raises:
        ValueError: fewer video frames than frames of a clip, which would leave segments empty.
    """
    if length < frames:
        raise ValueError(f"{video_id}: {length} frames are too few for clips of {frames}")
    bounds = -(-np.arange(frames + 1, dtype=np.int64) * length // frames)  # ceiling division
    random = np.random.RandomState(zlib.crc32(video_id.encode()))
    return random.randint(bounds[:-1], bounds[1:], size=(clips, frames), dtype=np.int64)


def shard_name(split: str, index: int, shards: int) -> str:
    """Returns e.g. `train-00000-of-00012.tfrecord`."""
    return f"{split}-{index:05d}-of-{shards:05d}.tfrecord"


def find_corrupt_shard(paths: Iterable[Path | str]) -> Path | None:
    """Reads shards to their end and returns the first that is cut off or whose checksums are wrong, else None."""
    for path in paths:
        try:
            for _ in tf.data.TFRecordDataset(str(path)):
                pass
        except tf.errors.DataLossError:
            return Path(path)
    return None


class VideoContext(NamedTuple):
    """What a record says about its video, without the frames."""

    video_id: str
    label: int
    length: int


def read_contexts(info: DatasetInfo, split: str) -> list[VideoContext]:
    """Reads a split through, in the order of its records.

    Raises:
        InputError: a shard is missing or has another size.
        tf.errors.DataLossError: a shard is corrupt.
    """
    videos = tf.data.TFRecordDataset([str(path) for path in info.shard_paths(split)])
    contexts = videos.map(parse_context, num_parallel_calls=tf.data.AUTOTUNE).as_numpy_iterator()
    total = sum(shard.videos for shard in info.shards[split])
    progress = tqdm(contexts, total=total, desc=f"read {split} records", unit="video", leave=False, dynamic_ncols=True)
    return [VideoContext(c["video_id"].decode(), int(c["label"]), int(c["length"])) for c in progress]


@dataclass(frozen=True)
class Shard:
    """One complete file of records."""

    name: str
    videos: int
    bytes: int


@dataclass(frozen=True)
class DatasetInfo:
    """What `dataset.json` says about a folder of records.

    Attributes:
        dataset: the data set's name under `--dataset`.
        title: its name in prose.
        origin: where the raw frames came from, in prose.
        protocol: the settings that made the splits.
        class_names: by label.
        modalities: the feature lists of every record.
        frame_size: height and width of every frame in pixels.
        jpeg_quality: of every frame.
        flow: algorithm, preset, parameters, bound and encoding of the optical flow; for flow that came with the data
            set the algorithm "given" and its encoding where it is known; None without flow.
        counts: videos by split and class name.
        shards: the files of each split.
        clips: by split (validation and test) and video id, the `(clips, frames)` indices of `draw_clips`.
        versions: of the packages that made the records.
        skipped: `{"video_id", "reason"}` of each video left out.
        warnings: `{"video_id", "reason"}` of each peculiarity of a video that was kept.
        depth: the modalities that hold distances, and how these became 8 bits; None without depth.
        groups: by split and video id, the group of each video whose accuracy is reported by group, such as "view 3".
        apart: by split and video id, what no test video may share with the others by the protocol, such as "subject 5";
            empty where the protocol keeps nothing apart.
        directory: where it was loaded from or saved to.
    """

    dataset: str
    title: str
    origin: str
    protocol: Mapping[str, object]
    class_names: tuple[str, ...]
    modalities: tuple[str, ...]
    frame_size: int
    jpeg_quality: int
    flow: Mapping[str, object] | None
    counts: Mapping[str, Mapping[str, int]]
    shards: Mapping[str, tuple[Shard, ...]]
    clips: Mapping[str, Mapping[str, Sequence[Sequence[int]]]]
    versions: Mapping[str, str]
    skipped: tuple[Mapping[str, str], ...] = ()
    warnings: tuple[Mapping[str, str], ...] = ()
    depth: Mapping[str, object] | None = None
    groups: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    apart: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    directory: Path | None = None

    def save(self, directory: Path) -> DatasetInfo:
        """Writes `directory/dataset.json` atomically; returns this description with `directory` set."""
        path = Path(directory) / "dataset.json"
        content = dataclasses.asdict(dataclasses.replace(self, directory=None))
        del content["directory"]
        text = json.dumps(content, indent=1, ensure_ascii=False)
        text = re.sub(r"\[[\s\d,]+\]", lambda match: re.sub(r"\s+", " ", match[0]), text)  # each clip on one line
        partial = path.with_name(path.name + ".partial")
        try:
            partial.write_text(text + "\n", encoding="utf-8")
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        return dataclasses.replace(self, directory=Path(directory))

    @classmethod
    def load(cls, directory: Path | str) -> DatasetInfo:
        """Reads `directory/dataset.json`.

        Raises:
            InputError: it is missing, unreadable or not of this format.
        """
        path = Path(directory) / "dataset.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            shards = {
                split: tuple(Shard(**shard) for shard in members) for split, members in content.pop("shards").items()
            }
            lists = {name: tuple(content.pop(name)) for name in ("class_names", "modalities", "skipped", "warnings")}
            return cls(**content, **lists, shards=shards, directory=Path(directory))
        except OSError as error:
            raise InputError(
                f"{path}: {error.strerror or error}; no complete records: make them with data_prep/make_tfrecords.py"
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"{path} is not a description of records ({error}); delete it and run data_prep/make_tfrecords.py again"
            ) from error

    def check(self, modalities: Sequence[str], frame_size: int) -> None:
        """Checks that the records hold all of `modalities` in frames of `frame_size` pixels.

        Raises:
            InputError: they do not; it names what is there, what was asked for and the command that makes it.
        """
        if set(modalities) <= set(self.modalities) and frame_size == self.frame_size:
            return
        raise InputError(
            f"{self.directory}: records of {','.join(self.modalities)} at {self.frame_size} pixels, but "
            f"{','.join(modalities)} at {frame_size} pixels are asked for; make them with python "
            f"data_prep/make_tfrecords.py --dataset={self.dataset} --modalities={','.join(modalities)} "
            f"--size={frame_size} and another --output"
        )

    def shard_paths(self, split: str) -> list[Path]:
        """Returns the files of a split, each checked to have its recorded size.

        Raises:
            InputError: a shard is missing or has another size.
        """
        paths = []
        for shard in self.shards[split]:
            path = self.directory / shard.name
            size = path.stat().st_size if path.is_file() else None
            if size != shard.bytes:
                found = "is missing" if size is None else f"has {size} bytes instead of {shard.bytes}"
                raise InputError(f"{path} {found}: delete it and run data_prep/make_tfrecords.py again")
            paths.append(path)
        return paths

    def corruption(self, *splits: str) -> InputError:
        """What to raise when reading some of the splits failed for wrong checksums: it names the shard."""
        corrupt = find_corrupt_shard(path for split in splits for path in self.shard_paths(split))
        return InputError(f"{corrupt} is corrupt: delete it and run data_prep/make_tfrecords.py again")
