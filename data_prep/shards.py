"""Which video goes into which shard, and the writing of shards from stored frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from data_prep.extract_video import ExtractedVideo
from data_prep.files import atomic_path
from data_prep.parallel import run_parallel
from data_prep.plan import recorded_shards
from dmcl_tf.errors import InputError
from dmcl_tf.records import Shard, encode_video, shard_name

_SHARDS_WORTH_A_PROCESS = 8  # fewer take less time than a process needs to import TensorFlow


def plan_shards(
    splits: Mapping[str, Sequence[ExtractedVideo]], videos_per_shard: int
) -> dict[str, list[ExtractedVideo]]:
    """Deals each split's videos out to shards.

    Training videos are put in a fixed random order first, so that a small shuffle buffer mixes the classes.

    Returns:
        The videos of each shard, by its name.
    """
    shards = {}
    for split, videos in splits.items():
        ordered = sorted(videos, key=lambda video: video.video_id)
        if split == "train":
            np.random.RandomState(0).shuffle(ordered)
        count = -(-len(ordered) // videos_per_shard)
        for index in range(count):
            shards[shard_name(split, index, count)] = ordered[index::count]
    return shards


def write_shard(
    shard: tuple[str, Sequence[ExtractedVideo]],
    *,
    frames_dir: Path,
    output: Path,
    modalities: Sequence[str],
    size: int,
) -> Shard:
    """Writes one shard, given by name and videos, from the stored frames as they are.

    Raises:
        InputError: a stored frame is missing.
    """
    name, videos = shard
    with atomic_path(output / name) as unfinished, tf.io.TFRecordWriter(str(unfinished)) as writer:
        for video in videos:
            folder = frames_dir / video.video_id
            try:
                frames = {
                    modality: [(folder / modality / f"{index:06d}.jpg").read_bytes() for index in range(video.length)]
                    for modality in modalities
                }
            except OSError as error:
                raise InputError(
                    f"{error.filename}: {error.strerror}; delete the folder {folder} and run the same command again"
                ) from error
            writer.write(encode_video(video.video_id, video.label, size, size, frames))
    return Shard(name, len(videos), (output / name).stat().st_size)


def write_shards(
    shards: Mapping[str, Sequence[ExtractedVideo]],
    *,
    frames_dir: Path,
    output: Path,
    modalities: Sequence[str],
    size: int,
    workers: int,
) -> dict[str, Shard]:
    """Writes the shards that are not there yet, and again those whose size is not the recorded one.

    Args:
        shards: the videos of each, by name.
        frames_dir: where the frames are.
        output: where the shards go.
        modalities: the feature lists of each record.
        size: height and width of the stored frames.
        workers: number of processes.

    Returns:
        All shards by name, in the order given.
    """
    recorded = recorded_shards(output)
    written, missing = {}, []
    for name, videos in shards.items():
        path = output / name
        size_now = path.stat().st_size if path.is_file() else None
        if size_now is None or (name in recorded and recorded[name].bytes != size_now):
            missing.append((name, videos))
        else:
            written[name] = Shard(name, len(videos), size_now)
    work = partial(write_shard, frames_dir=frames_dir, output=output, modalities=modalities, size=size)
    processes = workers if len(missing) > _SHARDS_WORTH_A_PROCESS * workers else 1
    for shard in run_parallel(work, missing, workers=processes, description="records", unit="shard"):
        written[shard.name] = shard
    return {name: written[name] for name in shards}
