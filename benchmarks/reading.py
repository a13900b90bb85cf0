"""Reading one file per video against reading shards of many, from a warm and from a cold page cache.

    python -m benchmarks.reading

Both deliver the same serialized videos in a shuffled order, parsed into the JPEG strings of each modality, nothing
decoded. Files are read as training reads them, each whole and in any order. Shards are read as is usual for TFRecord
files: several at a time, their videos mixed in a shuffle buffer. A cold pass begins by dropping the files from the page
cache. What the frames show does not matter, so they are random bytes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks.turns import Ratios, Step, machine, print_ratio, print_turns, take_turns, turn_flags
from dmcl_tf.data.pipeline import parse_frames, read_frames
from dmcl_tf.data.records import About, encode_video, record_path, write_record
from dmcl_tf.errors import run_script

_MODALITIES = ("rgb", "depth", "flow")
_FRAME_BYTES = 8192  # about those of a JPEG of 256²
_BUFFER = 100  # videos, the authors' shuffle buffer


def write_files(folder: Path, videos: int, frames: int) -> list[str]:
    """Writes videos of random bytes, a file of each; returns their paths."""
    random, paths = np.random.default_rng(0), []
    for index in range(videos):
        images = {m: [random.bytes(_FRAME_BYTES) for _ in range(frames)] for m in _MODALITIES}
        about = About(f"video{index}", frames, frames, 256, 256)
        path = record_path(folder, about.video_id)
        write_record(path, encode_video(about, images))
        paths.append(str(path))
    return paths


def write_shards(folder: Path, files: Sequence[str], shards: int) -> list[str]:
    """The same videos as some shards; returns their paths."""
    paths = [str(folder / f"shard{index}.tfrecord") for index in range(shards)]
    for index, path in enumerate(paths):
        # a file of one record is in the format of a file of many
        Path(path).write_bytes(b"".join(Path(file).read_bytes() for file in files[index::shards]))
    return paths


def files_dataset(paths: Sequence[str]) -> tf.data.Dataset:
    """Every video once, by its file."""
    dataset = tf.data.Dataset.from_tensor_slices(list(paths)).shuffle(len(paths))
    return dataset.map(lambda path: read_frames(path, _MODALITIES), num_parallel_calls=tf.data.AUTOTUNE).prefetch(8)


def shards_dataset(paths: Sequence[str]) -> tf.data.Dataset:
    """Every video once, from shards."""
    shards = tf.data.Dataset.from_tensor_slices(list(paths)).shuffle(len(paths))
    dataset = shards.interleave(tf.data.TFRecordDataset, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
    dataset = dataset.shuffle(_BUFFER)
    return dataset.map(lambda video: parse_frames(video, _MODALITIES), num_parallel_calls=tf.data.AUTOTUNE).prefetch(8)


def forget(paths: Sequence[str]) -> None:
    """Drops files from the page cache."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _passes(dataset: tf.data.Dataset, forgotten: Sequence[str]) -> Step:
    def step():
        forget(forgotten)
        return sum(1 for _ in dataset)

    return step


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_integer("videos", 200, "Videos.", 1, flag_values=flag_values)
    flags.DEFINE_integer("frames", 40, "Frames of each, in each of three modalities.", 1, flag_values=flag_values)
    flags.DEFINE_integer("shards", 8, "Files in which the other contestant keeps them.", 1, flag_values=flag_values)
    turn_flags(flag_values)
    flags.DEFINE_string("folder", None, "Where to write; default: that of temporary files.", flag_values=flag_values)


def main(values: flags.FlagValues) -> Ratios:
    """Prints the table, and returns its ratios."""
    with tempfile.TemporaryDirectory(dir=values.folder) as name:
        files = write_files(Path(name), values.videos, values.frames)
        shards = write_shards(Path(name), files, values.shards)
        by_file, by_shard = files_dataset(files), shards_dataset(shards)
        contestants = {
            "files, warm": lambda: _passes(by_file, ()),
            "shards, warm": lambda: _passes(by_shard, ()),
            "files, cold": lambda: _passes(by_file, files),
            "shards, cold": lambda: _passes(by_shard, shards),
        }
        turns = take_turns(contestants, rounds=values.rounds, seconds=values.seconds)
        megabytes = sum(os.path.getsize(path) for path in files) / 1e6
    print(machine())
    print(f"a sample is a video of {values.frames} frames of 3 modalities, {megabytes / values.videos:.2f} MB")
    print_turns(turns)
    pairs = [(f"files, {cache}", f"shards, {cache}") for cache in ("warm", "cold")]
    return {key: value for pair in pairs for key, value in print_ratio(turns, *pair).items()}


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
