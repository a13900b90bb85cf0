"""Which video goes into which shard, and the writing of shards from stored frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from data_prep.plan import is_complete_shard, recorded_shards
from data_prep.running.processes import Run, run_parallel
from data_prep.video.extract_video import ExtractedVideo, remove_frames
from data_prep.video.frames import is_complete_jpeg
from dmcl_tf.data.records import Shard, encode_video, shard_name
from dmcl_tf.errors import InputError
from dmcl_tf.files import atomic_path

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


def video_record(video: ExtractedVideo, *, frames_dir: Path, modalities: Sequence[str], size: int) -> bytes:
    """Returns the serialized record of one video, from its stored frames.

    Raises:
        InputError: a stored frame is missing or cut off, as after a power failure.
    """
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
    for modality, images in frames.items():
        for index, image in enumerate(images):
            if not is_complete_jpeg(image):
                raise InputError(
                    f"{folder / modality / f'{index:06d}.jpg'}: empty or cut off; delete the folder {folder} and run "
                    "the same command again"
                )
    return encode_video(video.video_id, video.label, size, size, frames)


def write_shard(
    shard: tuple[str, Sequence[ExtractedVideo]],
    *,
    frames_dir: Path,
    output: Path,
    modalities: Sequence[str],
    size: int,
    keep_frames: bool = True,
) -> Shard:
    """Writes one shard, given by name and videos, from the stored frames as they are; one video is held at a time.

    Frames that are not to be kept are removed once the shard is complete.

    Raises:
        InputError: a stored frame is missing.
    """
    name, videos = shard
    with atomic_path(output / name) as unfinished, tf.io.TFRecordWriter(str(unfinished)) as writer:
        for video in videos:
            writer.write(video_record(video, frames_dir=frames_dir, modalities=modalities, size=size))
    if not keep_frames:
        for video in videos:
            remove_frames(frames_dir / video.video_id)
    return Shard(name, len(videos), (output / name).stat().st_size)


def write_shards(
    shards: Mapping[str, Sequence[ExtractedVideo]],
    *,
    frames_dir: Path,
    output: Path,
    modalities: Sequence[str],
    size: int,
    workers: int,
    keep_frames: bool = True,
    run: Run = run_parallel,
) -> dict[str, Shard]:
    """Writes the shards that are not there yet, and again those whose size is not the recorded one.

    Args:
        shards: the videos of each, by name.
        frames_dir: where the frames are.
        output: where the shards go.
        modalities: the feature lists of each record.
        size: height and width of the stored frames.
        workers: shards that are written at once.
        keep_frames: whether frames stay when their shard is complete.
        run: how the work is run.

    Returns:
        All shards by name, in the order given.
    """
    recorded = recorded_shards(output)
    written, missing = {}, []
    for name, videos in shards.items():
        path = output / name
        if is_complete_shard(path, recorded.get(name)):
            written[name] = Shard(name, len(videos), path.stat().st_size)
            if not keep_frames:  # in case that their removal was interrupted
                for video in videos:
                    remove_frames(frames_dir / video.video_id)
        else:
            missing.append((name, videos))
    work = partial(
        write_shard,
        frames_dir=frames_dir,
        output=output,
        modalities=modalities,
        size=size,
        keep_frames=keep_frames,
    )
    processes = workers if len(missing) > _SHARDS_WORTH_A_PROCESS * workers else 1
    for shard in run(work, missing, workers=processes, description="records", unit="shard"):
        written[shard.name] = shard
    return {name: written[name] for name in shards}
