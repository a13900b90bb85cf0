"""From TFRecords to batches of clips (tf.data).

Frames are chosen before anything is decoded, and only the crop of a chosen frame is decoded. Order and augmentation
are functions of (seed, epoch), so that an interrupted run continues with what it would have seen.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import tensorflow as tf

from dmcl_tf.config import Config
from dmcl_tf.data import augmentation, records
from dmcl_tf.data import subset as training_subset
from dmcl_tf.errors import InputError

_ID_BYTES = 256  # a file name has 255 at most
_FILES_AT_ONCE = 8  # shards read in turn, so that a small shuffle buffer mixes widely


def training_dataset(info: records.DatasetInfo, config: Config, first_epoch: int = 0) -> tf.data.Dataset:
    """All epochs of a run from `first_epoch` on, `steps_per_epoch` batches each.

    Elements are dicts: `clips`, modality → (B, T, H, W, 3) float32; `label`, (B,) int64; `video_id`, (B,) strings.
    With a `train_fraction` below 1 the records are read through once here, for the names of its videos.

    Raises:
        InputError: a shard is not what it should be, or flow is to be negated that has no channel u.
    """
    check_negation(info, config)
    paths = [str(path) for path in info.shard_paths("train")]
    chosen = None
    if config.train_fraction < 1:
        chosen = tf.constant(training_subset.video_ids(info, config.train_fraction, config.seed))

    def epoch_dataset(epoch):
        # distinct streams for the files' order, the videos' order and the clips
        seeds = tf.random.experimental.stateless_split(tf.stack([tf.constant(config.seed, tf.int64), epoch]), 3)
        files = tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths), seed=seeds[0, 0])
        videos = files.interleave(tf.data.TFRecordDataset, cycle_length=_FILES_AT_ONCE, block_length=1)
        if chosen is not None:
            videos = videos.filter(lambda video: tf.reduce_any(records.parse_context(video)["video_id"] == chosen))
        videos = videos.shuffle(config.shuffle_buffer, seed=seeds[1, 0])

        def clip(position, serialized):
            return _training_clip(serialized, config, tf.random.experimental.stateless_fold_in(seeds[2], position))

        clips = videos.enumerate().map(clip, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        # what needs no arithmetic stays bytes until it is in a batch: a quarter of the memory to copy
        return clips.batch(config.batch_size, drop_remainder=True).map(batch_of_floats)

    def batch_of_floats(batch):
        return {**batch, "clips": {m: network_input(c, config.value_range) for m, c in batch["clips"].items()}}

    epochs = tf.data.Dataset.range(first_epoch, config.epochs)
    return epochs.flat_map(epoch_dataset).prefetch(tf.data.AUTOTUNE)


def check_negation(info: records.DatasetInfo, config: Config) -> None:
    """Checks that the first channel of flow is u where `config.negate_flow` asks for the opposite sign.

    Raises:
        InputError: it is not, or may not be.
    """
    if not (config.negate_flow and "flow" in config.modalities and info.flow):
        return
    encoding = info.flow.get("encoding")
    if encoding not in ("uv_magnitude", "uv"):
        raise InputError(
            f"{info.directory}: its flow is encoded as {encoding or 'nobody knows what'}, so --negate_flow cannot "
            "negate u: leave it out, or make records with --flow_encoding=uv_magnitude"
        )


def steps_per_epoch(info: records.DatasetInfo, config: Config) -> int:
    """Full batches in an epoch.

    Raises:
        InputError: where a batch is larger than the training split, or than the share of it to train on.
    """
    videos = training_subset.size(info, config.train_fraction)
    if videos < config.batch_size:
        share = "" if config.train_fraction == 1 else f" of --train_fraction={config.train_fraction}"
        raise InputError(
            f"{info.directory}: {videos} training videos{share} are fewer than --batch_size={config.batch_size}; "
            "choose a smaller batch"
        )
    return videos // config.batch_size


def check_clip_frames(info: records.DatasetInfo, config: Config) -> None:
    """Checks that the fixed clips of the records have `config.clip_frames` frames.

    Raises:
        InputError: they have not.
    """
    for split, clips_of_videos in info.clips.items():
        for clips in clips_of_videos.values():
            if len(clips[0]) != config.clip_frames:
                raise InputError(
                    f"{info.directory}: its {split} clips have {len(clips[0])} frames, but --clip_frames="
                    f"{config.clip_frames} is asked for"
                )


def evaluation_dataset(
    info: records.DatasetInfo, config: Config, split: str, batch_size: int, *, shuffle_buffer: int = 0
) -> tf.data.Dataset:
    """A split once, each video as its fixed clips, cropped centrally.

    In the order of its records, or shuffled within a buffer of `shuffle_buffer` videos.

    Elements are dicts: `clips`, modality → (B, clips, T, H, W, 3) uint8, for `network_input`; `label`; `video_id`.
    """
    check_clip_frames(info, config)
    video_ids = list(info.clips[split])
    clips = np.asarray([info.clips[split][video_id] for video_id in video_ids], np.int32)
    rows = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant(video_ids), tf.range(len(video_ids))), -1
    )
    videos = tf.data.TFRecordDataset([str(path) for path in info.shard_paths(split)])
    if shuffle_buffer:
        videos = videos.shuffle(shuffle_buffer, seed=0)
    videos = videos.map(
        lambda serialized: _evaluation_clips(serialized, config, clips, rows), num_parallel_calls=tf.data.AUTOTUNE
    )
    return videos.batch(batch_size).prefetch(1)


def encode_video_ids(batch: dict) -> dict:
    """The same batch with its video ids (B,) as numbers (B, 256), zero-padded UTF-8: strings do not travel to GPUs."""
    codes = tf.io.decode_raw(batch["video_id"], tf.uint8, fixed_length=_ID_BYTES)
    return {**batch, "video_id": tf.cast(codes, tf.int32)}


def decode_video_ids(codes: np.ndarray) -> list[str]:
    """The inverse of `encode_video_ids`: (B, 256) or flat numbers → B names."""
    rows = np.reshape(np.asarray(codes, np.uint8), (-1, _ID_BYTES))
    return [bytes(row).rstrip(b"\0").decode(errors="replace") for row in rows]


def network_input(clips: tf.Tensor, value_range: str) -> tf.Tensor:
    """Grey levels 0–255 of any type → what the networks are fed: float32, as they are or scaled to [-1, 1]."""
    clips = tf.cast(clips, tf.float32)
    return clips / 127.5 - 1.0 if value_range == "-1..1" else clips


def _training_clip(serialized: tf.Tensor, config: Config, seed: tf.Tensor) -> dict:
    context, frames = records.parse_video(serialized, config.modalities)
    drawn = augmentation.draw(config, context["length"], seed)
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
        if modality == "rgb":
            clip = tf.cond(
                drawn.color,
                partial(augmentation.distort_colors, clip, drawn.color_seed),
                partial(tf.cast, clip, tf.float32),
            )
            clip = tf.ensure_shape(clip, [config.clip_frames, size, size, 3])
        clips[modality] = clip
    return {"clips": clips, "label": context["label"], "video_id": context["video_id"]}


def _evaluation_clips(serialized: tf.Tensor, config: Config, clips: np.ndarray, rows) -> dict:
    context, frames = records.parse_video(serialized, config.modalities)
    # a video's clips share most of their frames: each is decoded once
    used, positions = tf.unique(tf.reshape(tf.gather(clips, rows.lookup(context["video_id"])), [-1]))
    corner = (config.frame_size - config.crop_size) // 2
    output = {}
    for modality in config.modalities:
        decoded = tf.map_fn(
            lambda image: _decode(image, corner, corner, config.crop_size),
            tf.gather(frames[modality], used),
            fn_output_signature=tf.TensorSpec([config.crop_size, config.crop_size, 3], tf.uint8),
        )
        shape = (*clips.shape[1:], config.crop_size, config.crop_size, 3)
        output[modality] = tf.reshape(tf.gather(decoded, positions), shape)
    return {"clips": output, "label": context["label"], "video_id": context["video_id"]}


def _decode(image: tf.Tensor, top, left, size: int) -> tf.Tensor:
    """The crop of a JPEG string, (size, size, 3) uint8; grey images are replicated over the channels."""
    crop = tf.image.decode_and_crop_jpeg(image, tf.stack([top, left, size, size]), channels=3)
    return tf.ensure_shape(crop, [size, size, 3])


def _negate_horizontal(flow: tf.Tensor) -> tf.Tensor:
    """Turns the sign of u, the first of the uint8 channels, whose zero is 128."""
    negated = tf.minimum(256 - tf.cast(flow[..., :1], tf.int16), 255)
    return tf.concat([tf.cast(negated, tf.uint8), flow[..., 1:]], axis=-1)
