"""From the table of videos to batches of clips (tf.data).

A video is one file, read whole; labels and lengths come from the table. Frames are chosen before anything is decoded,
and only the crop of a chosen frame is decoded. Order and augmentation are functions of (seed, epoch), so that an
interrupted run continues with what it would have seen, and the videos of any batch can be named afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import tensorflow as tf

from dmcl_tf.config import Config
from dmcl_tf.data import augmentation
from dmcl_tf.data.records import FOOT, HEAD, draw_clips
from dmcl_tf.data.table import Description, Records, Video
from dmcl_tf.datasets.splits import SPLITS, Splits, draw_fraction
from dmcl_tf.errors import InputError


def training_dataset(records: Records, splits: Splits, config: Config, first_epoch: int = 0) -> tf.data.Dataset:
    """All epochs of a run from `first_epoch` on, `steps_per_epoch` batches each.

    Elements are dicts: `clips`, modality → (B, T, H, W, 3) float32; `label`, (B,) int64.
    """
    videos = training_videos(splits, config)
    paths = tf.constant([str(records.path(video)) for video in videos])
    labels = tf.constant(splits.labels(videos))
    lengths = tf.constant([video.length for video in videos], tf.int64)

    def epoch_dataset(epoch):
        seed = _seeds(config, epoch)[2]

        def clip(position, index):
            drawn = augmentation.draw(config, lengths[index], tf.random.experimental.stateless_fold_in(seed, position))
            return {"clips": _training_clips(paths[index], config, drawn), "label": labels[index]}

        order = epoch_order(len(videos), config, epoch)
        clips = order.enumerate().map(clip, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        # what needs no arithmetic stays bytes until it is in a batch: a quarter of the memory to copy
        return clips.batch(config.batch_size, drop_remainder=True).map(batch_of_floats)

    def batch_of_floats(batch):
        return {**batch, "clips": {m: network_input(c, config.value_range) for m, c in batch["clips"].items()}}

    epochs = tf.data.Dataset.range(first_epoch, config.epochs)
    return epochs.flat_map(epoch_dataset).prefetch(tf.data.AUTOTUNE)


def training_videos(splits: Splits, config: Config) -> tuple[Video, ...]:
    """The videos that a run trains on: all of the training split, or the share that it asks for."""
    return draw_fraction(splits, config.train_fraction, config.seed)


def epoch_order(videos: int, config: Config, epoch: tf.Tensor | int) -> tf.data.Dataset:
    """The order in which an epoch shows the training videos, as their places 0 … `videos` - 1 in a list by name.

    All are shuffled, or with `config.shuffle_buffer` as the authors do: once for all epochs, then in each epoch within
    a buffer of that many.
    """
    seed = _seeds(config, epoch)[1]
    if config.shuffle_buffer:
        order = tf.data.Dataset.from_tensor_slices(np.random.RandomState(0).permutation(videos).astype(np.int64))
        return order.shuffle(config.shuffle_buffer, seed=seed[0])
    order = tf.random.experimental.stateless_shuffle(tf.range(videos, dtype=tf.int64), seed)
    return tf.data.Dataset.from_tensor_slices(order)


def _seeds(config: Config, epoch) -> tf.Tensor:
    """Distinct seeds (3, 2) of an epoch: the second for the order of the videos, the third for the clips."""
    seed = tf.stack([tf.constant(config.seed, tf.int64), tf.cast(epoch, tf.int64)])
    return tf.random.experimental.stateless_split(seed, 3)


def batch_videos(splits: Splits, config: Config, step: int) -> list[Video]:
    """The videos of the batch of a run's step 0, 1, …"""
    epoch, batch = divmod(step, steps_per_epoch(splits, config))
    videos = training_videos(splits, config)
    order = epoch_order(len(videos), config, epoch).skip(batch * config.batch_size).take(config.batch_size)
    return [videos[place] for place in order.as_numpy_iterator()]


def steps_per_epoch(splits: Splits, config: Config) -> int:
    """Full batches in an epoch.

    Raises:
        InputError: where a batch is larger than the training split, or than the share of it to train on.
    """
    videos = len(training_videos(splits, config))
    if videos < config.batch_size:
        share = "" if config.train_fraction == 1 else f" of --train_fraction={config.train_fraction}"
        raise InputError(
            f"{videos} training videos{share} are fewer than --batch_size={config.batch_size}: choose a smaller batch"
        )
    return videos // config.batch_size


def check_lengths(splits: Splits, config: Config) -> None:
    """Checks that every video has a frame for each frame of a clip.

    Raises:
        InputError: naming the first that has not.
    """
    for split in SPLITS:
        for video in getattr(splits, split):
            if video.length < config.clip_frames:
                raise InputError(
                    f"--clip_frames={config.clip_frames}: {video.video_id} has {video.length} frames; choose shorter "
                    "clips, or leave short videos out of the records"
                )


def check_negation(description: Description, config: Config) -> None:
    """Checks that the first channel of flow is u where `config.negate_flow` asks for the opposite sign.

    Raises:
        InputError: it is not, or may not be.
    """
    if not (config.negate_flow and "flow" in config.modalities and description.flow):
        return
    encoding = description.flow.get("encoding")
    if encoding not in ("uv_magnitude", "uv"):
        raise InputError(
            f"--negate_flow: the flow of these records is encoded as {encoding or 'nobody knows what'}, whose u cannot "
            "be negated: leave it out, or make records with --flow_encoding=uv_magnitude"
        )


def evaluation_dataset(
    records: Records, splits: Splits, split: str, config: Config, batch_size: int
) -> tf.data.Dataset:
    """A split once, in its order, each video as its fixed clips, cropped centrally.

    Elements are dicts: `clips`, modality → (B, K, T, H, W, 3) uint8, for `network_input`; `label`, (B,) int64; `index`,
    (B,) int64, the place of the video in the split.
    """
    videos = getattr(splits, split)
    frames = np.stack([draw_clips(v.video_id, v.length, frames=config.clip_frames) for v in videos])
    rows = {
        "path": [str(records.path(video)) for video in videos],
        "frames": frames,
        "label": splits.labels(videos),
        "index": np.arange(len(videos)),
    }

    def clips(row):
        clips = _evaluation_clips(row.pop("path"), row.pop("frames"), config)
        return {"clips": clips, **row}

    dataset = tf.data.Dataset.from_tensor_slices(rows).map(clips, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(batch_size).prefetch(1)


def network_input(clips: tf.Tensor, value_range: str) -> tf.Tensor:
    """Grey levels 0–255 of any type → what the networks are fed: float32, as they are or scaled to [-1, 1]."""
    clips = tf.cast(clips, tf.float32)
    return clips / 127.5 - 1.0 if value_range == "-1..1" else clips


def read_frames(path: tf.Tensor, modalities: Sequence[str]) -> dict[str, tf.Tensor]:
    """The JPEG strings (L,) of each modality in the record at a path, without looking at the framing's checksums."""
    content = tf.io.read_file(path)
    serialized = tf.strings.substr(content, HEAD, tf.strings.length(content) - HEAD - FOOT)
    lists = {modality: tf.io.FixedLenSequenceFeature([], tf.string) for modality in modalities}
    return tf.io.parse_single_sequence_example(serialized, sequence_features=lists)[1]


def _training_clips(path: tf.Tensor, config: Config, drawn: augmentation.Augmentation) -> dict[str, tf.Tensor]:
    frames = read_frames(path, config.modalities)
    size = config.crop_size
    clips = {}
    for modality in config.modalities:
        images = tf.unstack(tf.gather(frames[modality], drawn.frames), config.clip_frames)
        # one above the other, since TensorFlow mirrors tensors of rank 3 several times faster than those of rank 4
        column = tf.concat([_decode(image, drawn.top, drawn.left, size) for image in images], axis=0)
        if modality == "flow" and config.negate_flow:
            column = tf.cond(drawn.flip, partial(_negate_horizontal, column), partial(tf.identity, column))
        column = tf.cond(drawn.flip, partial(tf.reverse, column, [1]), partial(tf.identity, column))
        clip = tf.reshape(column, [config.clip_frames, size, size, 3])
        if modality == "rgb" and config.color_probability > 0:
            clip = tf.cond(
                drawn.color,
                partial(augmentation.distort_colors, clip, drawn.color_seed),
                partial(tf.cast, clip, tf.float32),
            )
            clip = tf.ensure_shape(clip, [config.clip_frames, size, size, 3])
        clips[modality] = clip
    return clips


def _evaluation_clips(path: tf.Tensor, clip_frames: tf.Tensor, config: Config) -> dict[str, tf.Tensor]:
    frames = read_frames(path, config.modalities)
    # a video's clips share most of their frames: each is decoded once
    used, positions = tf.unique(tf.reshape(clip_frames, [-1]))
    corner, size = (config.frame_size - config.crop_size) // 2, config.crop_size
    output = {}
    for modality in config.modalities:
        decoded = tf.map_fn(
            lambda image: _decode(image, corner, corner, size),
            tf.gather(frames[modality], used),
            fn_output_signature=tf.TensorSpec([size, size, 3], tf.uint8),
        )
        output[modality] = tf.reshape(tf.gather(decoded, positions), (*clip_frames.shape, size, size, 3))
    return output


def _decode(image: tf.Tensor, top, left, size: int) -> tf.Tensor:
    """The crop of a JPEG string, (size, size, 3) uint8; grey images are replicated over the channels."""
    crop = tf.image.decode_and_crop_jpeg(image, tf.stack([top, left, size, size]), channels=3)
    return tf.ensure_shape(crop, [size, size, 3])


def _negate_horizontal(flow: tf.Tensor) -> tf.Tensor:
    """Turns the sign of u, the first of the uint8 channels, whose zero is 128."""
    negated = tf.minimum(256 - tf.cast(flow[..., :1], tf.int16), 255)
    return tf.concat([tf.cast(negated, tf.uint8), flow[..., 1:]], axis=-1)
