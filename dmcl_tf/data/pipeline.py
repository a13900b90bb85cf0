"""From the table of videos to batches of clips (tf.data).

A video is one file, read whole; labels and lengths come from the table. Frames are chosen before anything is decoded,
and only the crop of a chosen frame is decoded. What comes out are bytes, one channel of grey modalities, and the drawn
numbers; `training_input` and `network_input` make of them what the networks are fed, on the device that computes.
Order and augmentation are functions of (seed, epoch), so that an interrupted run continues with what it would have
seen, and the videos of any batch can be named afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import tensorflow as tf

from dmcl_tf.config import Config
from dmcl_tf.data import augmentation
from dmcl_tf.data.records import FOOT, HEAD, draw_clips
from dmcl_tf.data.table import Description, Records, Video
from dmcl_tf.datasets.splits import SPLITS, Splits, draw_fraction
from dmcl_tf.errors import InputError

Mirror = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
_DRAWN = "skeleton"  # the modality whose channels are views, of which one is not mirrored
_COLORED = "rgb"  # the modality whose colours are distorted; its clips have three channels even where they are grey


def training_dataset(
    records: Records,
    splits: Splits,
    config: Config,
    first_epoch: int = 0,
    first_batch: int = 0,
    *,
    modalities: Sequence[str] = (),
    worker: int = 0,
    workers: int = 1,
    replicas: int = 1,
) -> tf.data.Dataset:
    """The batches of a run from one of an epoch on, `steps_per_epoch` in each epoch, or what a worker sees of them.

    Every batch is cut into as many equal pieces as there are replicas, and a worker reads those of its own replicas, in
    turn: which videos a batch holds, and how they are augmented, does not depend on who reads them.

    Args:
        records: the videos.
        splits: of the records.
        config: of the run.
        first_epoch: the epoch to begin in.
        first_batch: the batch of that epoch to begin with.
        modalities: of the clips; none given: those that the networks of the run see.
        worker: which of the workers reads.
        workers: how many there are.
        replicas: of all workers together.

    Elements are dicts for `training_input`: `clips`, modality → (B, T, H, W, C) uint8, of one channel where records are
    grey, else three; `flip`, (B,) bool; `color_order`, (B,) int32; `color_strengths`, (B, 4) float32; `label`, (B,)
    int64.
    """
    videos = training_videos(splits, config)
    paths = tf.constant([str(records.path(video)) for video in videos])
    labels = tf.constant(splits.labels(videos))
    lengths = tf.constant([video.length for video in videos], tf.int64)
    grey = records.grey_modalities - {_COLORED}
    steps, share = steps_per_epoch(splits, config), config.batch_size // workers

    def epoch_dataset(epoch):
        seed = _seeds(config, epoch)[2]

        def clip(position, index):
            drawn = augmentation.draw(config, lengths[index], tf.random.experimental.stateless_fold_in(seed, position))
            return {
                "clips": _training_clips(paths[index], config, modalities or config.inputs, grey, drawn),
                "flip": drawn.flip,
                "color_order": drawn.color_order,
                "color_strengths": drawn.color_strengths,
                "label": labels[index],
            }

        order = epoch_order(len(videos), config, epoch).enumerate().take(steps * config.batch_size)
        order = order.skip(tf.where(epoch == first_epoch, tf.constant(first_batch * config.batch_size, tf.int64), 0))
        if workers > 1:
            order = order.filter(lambda position, _: position // share % workers == worker)
        clips = order.map(clip, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return clips.batch(config.batch_size // replicas, drop_remainder=True)

    epochs = tf.data.Dataset.range(first_epoch, config.epochs)
    return epochs.flat_map(epoch_dataset).prefetch(2).with_options(_options())


def _options() -> tf.data.Options:
    """Every core decodes from the beginning on: nothing is left to tune, and nobody to wait for at the end."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


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


def check_negation(description: Description, config: Config, inputs: Collection[str]) -> None:
    """Checks that the first channel of flow is u where `config.negate_flow` asks for the opposite sign.

    Args:
        description: of the records.
        config: of the run.
        inputs: the modalities that its networks and its teacher see.

    Raises:
        InputError: it is not, or may not be.
    """
    if not (config.negate_flow and "flow" in inputs and description.flow):
        return
    encoding = description.flow.get("encoding")
    if encoding not in ("uv_magnitude", "uv"):
        raise InputError(
            f"--negate_flow: the flow of these records is encoded as {encoding or 'nobody knows what'}, whose u cannot "
            "be negated: leave it out, or make records with --flow_encoding=uv_magnitude"
        )


def evaluation_dataset(
    records: Records,
    splits: Splits,
    split: str,
    config: Config,
    batch_size: int,
    *,
    worker: int = 0,
    workers: int = 1,
) -> tf.data.Dataset:
    """A split once, in its order, each video as its fixed clips, cropped centrally; or a worker's share of it.

    Elements are dicts: `clips`, modality → (B, K, T, H, W, C) uint8, for `network_input`, of one channel where the
    records are grey, else three; `label`, (B,) int64; `index`, (B,) int64, the place of the video in the split.
    """
    videos, grey = getattr(splits, split), records.grey_modalities - {_COLORED}
    frames = np.stack([draw_clips(v.video_id, v.length, frames=config.clip_frames) for v in videos])
    rows = {
        "path": np.array([str(records.path(video)) for video in videos], object),
        "frames": frames,
        "label": splits.labels(videos),
        "index": np.arange(len(videos)),
    }
    rows = {name: values[worker::workers] for name, values in rows.items()}
    rows["path"] = tf.constant(rows["path"], tf.string)  # also where it is empty

    def clips(row):
        clips = _evaluation_clips(row.pop("path"), row.pop("frames"), config, grey)
        return {"clips": clips, **row}

    dataset = tf.data.Dataset.from_tensor_slices(rows).map(clips, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(batch_size).prefetch(1).with_options(_options())


def training_input(batch: Mapping, config: Config) -> dict[str, tf.Tensor]:
    """A batch of `training_dataset` → what the networks are fed: modality → (B, T, H, W, 3) float32.

    Mirrors, negates mirrored flow where the run does, distorts colours, fills grey clips up to three channels and
    brings all to the range of values. One function of whole batches, for the device that trains.
    """
    inputs = {}
    for modality, clips in batch["clips"].items():
        if modality == _COLORED and config.color_probability > 0:
            clips = augmentation.mirror(clips, batch["flip"])
            clips = augmentation.distort_colors(clips, batch["color_order"], batch["color_strengths"])
            inputs[modality] = network_input(clips, config.value_range)
        else:
            negate = modality == "flow" and config.negate_flow
            mirror = augmentation.mirror_skeleton if modality == _DRAWN else augmentation.mirror
            inputs[modality] = _mirrored_input(clips, batch["flip"], mirror, negate, config.value_range)
    return inputs


@tf.function(jit_compile=True, autograph=False)
def _mirrored_input(clips: tf.Tensor, flip: tf.Tensor, mirror: Mirror, negate: bool, value_range: str) -> tf.Tensor:
    """Clips without colours to distort; compiled into one pass, which is three to four times as fast."""
    clips = mirror(clips, flip)
    return network_input(augmentation.negate_horizontal(clips, flip) if negate else clips, value_range)


def network_input(clips: tf.Tensor, value_range: str) -> tf.Tensor:
    """Grey levels 0–255 of any type → what the networks are fed: float32, as they are or scaled to [-1, 1].

    Args:
        clips: (…, H, W, C); one channel becomes three equal ones.
        value_range: of the run.
    """
    clips = tf.cast(clips, tf.float32)
    if value_range == "-1..1":
        clips = clips / 127.5 - 1.0
    return tf.repeat(clips, 3, axis=-1) if clips.shape[-1] == 1 else clips


def read_frames(path: tf.Tensor, modalities: Sequence[str]) -> dict[str, tf.Tensor]:
    """The JPEG strings (L,) of each modality in the record at a path, without looking at the framing's checksums."""
    content = tf.io.read_file(path)
    return parse_frames(tf.strings.substr(content, HEAD, tf.strings.length(content) - HEAD - FOOT), modalities)


def parse_frames(serialized: tf.Tensor, modalities: Sequence[str]) -> dict[str, tf.Tensor]:
    """The JPEG strings (L,) of each modality in a serialized record."""
    lists = {modality: tf.io.FixedLenSequenceFeature([], tf.string) for modality in modalities}
    return tf.io.parse_single_sequence_example(serialized, sequence_features=lists)[1]


def _training_clips(
    path: tf.Tensor,
    config: Config,
    modalities: Sequence[str],
    grey: Collection[str],
    drawn: augmentation.Augmentation,
) -> dict[str, tf.Tensor]:
    frames = read_frames(path, modalities)
    window, clips = tf.stack([drawn.top, drawn.left, config.crop_size, config.crop_size]), {}
    for modality in modalities:
        images, is_grey = tf.unstack(tf.gather(frames[modality], drawn.frames), config.clip_frames), modality in grey
        clip = tf.stack([_decode(image, window, is_grey) for image in images])
        clips[modality] = tf.ensure_shape(clip, (config.clip_frames, *_crop_shape(config, is_grey)))
    return clips


def _evaluation_clips(
    path: tf.Tensor, clip_frames: tf.Tensor, config: Config, grey: Collection[str]
) -> dict[str, tf.Tensor]:
    frames = read_frames(path, config.inputs)
    # a video's clips share most of their frames: each is decoded once
    used, positions = tf.unique(tf.reshape(clip_frames, [-1]))
    corner, size = (config.frame_size - config.crop_size) // 2, config.crop_size
    output = {}
    for modality in config.inputs:
        is_grey = modality in grey
        shape = _crop_shape(config, is_grey)
        decoded = tf.map_fn(
            lambda image, is_grey=is_grey, shape=shape: tf.ensure_shape(
                _decode(image, [corner, corner, size, size], is_grey), shape
            ),
            tf.gather(frames[modality], used),
            fn_output_signature=tf.TensorSpec(shape, tf.uint8),
        )
        output[modality] = tf.reshape(tf.gather(decoded, positions), (*clip_frames.shape, *shape))
    return output


def _decode(image: tf.Tensor, window, grey: bool) -> tf.Tensor:
    """A window (top, left, height, width) of a JPEG string, in its own channels if it should be grey, else in three.

    Where it has colours after all, its shape is not the expected one, so that the graph fails instead of dropping them.
    """
    return tf.image.decode_and_crop_jpeg(image, window, channels=0 if grey else 3)


def _crop_shape(config: Config, grey: bool) -> tuple[int, int, int]:
    return config.crop_size, config.crop_size, 1 if grey else 3
